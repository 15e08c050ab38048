"""Rendered commands on the node, and what Snakemake does around a shell command."""

from __future__ import annotations

import json
import os
import re
from dataclasses import replace
from pathlib import Path

import pytest

from snakemake_executor_azurebatch.node import protocol
from snakemake_executor_azurebatch.node.errors import StageError
from snakemake_executor_azurebatch.node.protocol import DIRECTORY, Command, Manifest, Product, Shell
from snakemake_executor_azurebatch.node.rendered import (
    MOST_ARGUMENT_CHARACTERS,
    Repetition,
    argv,
    find_shell,
    write_benchmark,
)

from .harness import WORKDIR, Site

BASH = Shell("bash", ["-c"], "set -euo pipefail; ")
SH = Shell("sh", ["-e", "-c"])
HEADER = "s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time"


def command(script: str, **fields: object) -> Command:
    return replace(Command("shell", script, shells=[BASH, SH]), **fields)  # type: ignore[arg-type]


def rendered(site: Site, script: str, outputs: list[Product], **fields: object) -> Manifest:
    own = {name: fields.pop(name) for name in list(fields) if name in Command.__dataclass_fields__}
    return site.manifest(script, command=command(script, **own), outputs=outputs, **fields)


def test_the_promised_pythons_run_it(site: Site, python: str) -> None:
    site.python = python
    script = "set -o | grep pipefail > out.txt; printf '%s' \"$OMP_NUM_THREADS ${SMK_STAGE_PYTHON-none}\" >> out.txt"
    manifest = rendered(site, script, [Product("out.txt"), Product("made", touch=True)])
    manifest = replace(manifest, environment={"OMP_NUM_THREADS": "3"}, logs=[Product("logs/l", optional=True)])

    result = site.finish(site.start(manifest))

    assert result.exit_code == 0, result.stderr
    assert re.fullmatch(rb"pipefail\s+on\n3 none", site.outputs()["out.txt"])
    assert site.outputs()["made"] == b""
    assert [(log.path, log.size_bytes) for log in site.record().logs] == [("logs/l", 0)]


def test_it_runs_in_its_folder_with_its_tmpdir(site: Site, tmp_path: Path) -> None:
    manifest = rendered(
        site,
        'pwd > out.txt; test -d "$TMPDIR"',
        [Product("sub/out.txt")],
        folder="sub",
        tmpdir=str(tmp_path / "new/tmp"),
        environment={"TMPDIR": str(tmp_path / "new/tmp")},
    )

    assert site.finish(site.start(manifest)).exit_code == 0
    assert site.outputs()["sub/out.txt"].decode().endswith(f"{WORKDIR}/sub\n")


def test_a_tmpdir_of_the_workflow(site: Site) -> None:
    manifest = rendered(site, "test -d 'own tmp'", [], folder="sub", tmpdir="own tmp")

    assert site.finish(site.start(manifest)).exit_code == 0


def test_old_outputs_are_gone_but_for_those_that_are_updated(site: Site) -> None:
    old = {f"{WORKDIR.strip('/')}/{name}": b"old" for name in ("a", "db", "d/x", "logs/l")}
    manifest = rendered(
        site,
        "test ! -e a; test ! -e d; test ! -e logs/l; echo new >> db; echo a > a; mkdir d",
        [Product("a"), Product("db"), Product("d", DIRECTORY)],
        logs=[Product("logs/l", optional=True)],
        inputs=[site.file("db", b"given\n")],
        sources=site.sources(old),
    )

    result = site.finish(site.start(manifest))

    assert result.exit_code == 0, result.stderr
    assert site.outputs()["db"] == b"given\nnew\n"


def test_products_in_the_folder_of_another(site: Site) -> None:
    manifest = rendered(
        site,
        "echo told > d/sub/l; echo x > d/x",
        [Product("d", DIRECTORY), Product("d/x")],
        logs=[Product("d/sub/l", optional=True)],
    )

    result = site.finish(site.start(manifest))

    assert result.exit_code == 0, result.stderr
    assert site.outputs()["d/x"] == b"x\n"


def test_a_failed_command_touches_nothing_but_logs(site: Site) -> None:
    manifest = rendered(site, "exit 7", [Product("t", touch=True)], logs=[Product("l", optional=True)])

    assert site.finish(site.start(manifest)).exit_code == 7
    assert (site.record().outputs, [log.path for log in site.record().logs]) == ([], ["l"])


def test_every_repetition_is_measured(site: Site) -> None:
    manifest = rendered(
        site, "echo 0 >> o", [Product("o"), Product("b.tsv")], benchmark="b.tsv", repetitions=["echo 1 >> o"]
    )

    assert site.finish(site.start(manifest)).exit_code == 0
    header, *rows = site.outputs()["b.tsv"].decode().splitlines()
    assert header == HEADER
    assert [len(row.split("\t")) for row in rows] == [10, 10]
    assert site.outputs()["o"] == b"0\n1\n"


def test_a_command_that_is_too_long_for_an_argument(site: Site) -> None:
    long = f"echo {'x' * 200_000} | wc -c > o"

    assert site.finish(site.start(rendered(site, long, [Product("o")]))).exit_code == 0
    assert site.outputs()["o"].strip() == b"200001"


def test_no_shell_at_all(site: Site) -> None:
    manifest = rendered(site, "true", [])
    manifest = replace(manifest, command=replace(manifest.command, shells=[Shell("/opt/none/zzsh", ["-c"])]))

    assert site.finish(site.start(manifest)).exit_code == protocol.EXIT_SETUP
    assert "not in the image: /opt/none/zzsh" in str(site.record().error_message)


def test_the_manifest_keeps_shells() -> None:
    manifest = Manifest("t", "/w", "tasks/t", command("x"), outputs=[Product("a", touch=True)])

    assert Manifest.from_json(manifest.to_json()) == manifest


def test_a_program_is_found_by_path_and_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "mysh"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))

    assert find_shell([Shell(str(program), [])])[1] == str(program)
    assert find_shell([Shell("bash", []), Shell("/elsewhere/mysh", [])])[1] == str(program)
    with pytest.raises(StageError, match="bash, sh"):
        find_shell([BASH, SH])


@pytest.mark.parametrize("more", [0, 1])
def test_the_limit_is_snakemakes(tmp_path: Path, more: int) -> None:
    # Quotes count as what they become in a quoted argument.
    text = "'" * 10 + "x" * (MOST_ARGUMENT_CHARACTERS - 2 - 40 + more)
    words = argv(SH, "/bin/sh", text, str(tmp_path / "s"))

    assert words == (["/bin/sh", "-e", str(tmp_path / "s")] if more else ["/bin/sh", "-e", "-c", text])
    assert not more or (tmp_path / "s").read_text() == text + "\n"


@pytest.mark.parametrize(
    ("took", "row"),
    [
        (Repetition(1.23456, 0.5, 3 << 20), "1.23\t0:00:01\t3.00\tNA\tNA\tNA\tNA\tNA\t40.50\t0.50"),
        (Repetition(90061.0, None, None), "90061.00\t1 day, 1:01:01\tNA\tNA\tNA\tNA\tNA\tNA\tNA\tNA"),
        (Repetition(36000.0, None, None), "36000.00\t10:00:00\tNA\tNA\tNA\tNA\tNA\tNA\tNA\tNA"),
    ],
)
def test_benchmarks_as_snakemake_writes_them(tmp_path: Path, took: Repetition, row: str) -> None:
    path = tmp_path / "b.tsv"
    write_benchmark(str(path), [took])

    assert path.read_text() == f"{HEADER}\n{row}\n"


def test_benchmarks_as_json(tmp_path: Path) -> None:
    path = tmp_path / "b.jsonl"
    write_benchmark(str(path), [Repetition(2.0, None, None)] * 2)

    first, second = map(json.loads, path.read_text().splitlines())
    assert first == second == {**dict.fromkeys(HEADER.split("\t"), "NA"), "s": 2.0, "h:m:s": "0:00:02"}


def test_a_benchmark_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(StageError, match="cannot be written"):
        write_benchmark(os.fspath(tmp_path / "none/b.tsv"), [])
