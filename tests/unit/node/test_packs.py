"""Whole tasks whose small files lie in packs: the built stager, a real Azurite, a counting server in front of it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from snakemake_executor_azurebatch.node import protocol
from snakemake_executor_azurebatch.node.limits import MANY, SMALL_BYTES
from snakemake_executor_azurebatch.node.packing import GAP_BYTES
from snakemake_executor_azurebatch.node.packs_in import LITTLE_BYTES
from snakemake_executor_azurebatch.node.protocol import InputFile

from .forwarder import Forwarder
from .harness import Site, md5_of, products
from .test_cache import cache, files_of, forwarder  # noqa: F401 (fixtures)

CONTENTS = [b"", b"one\n", os.urandom(GAP_BYTES + 1), b"three\n", os.urandom(100)]


def packed(site: Site, contents: Sequence[bytes], name: str = "packs/one", **fields: object) -> list[InputFile]:
    """Upload a pack; its members as inputs ``in/0``, ``in/1`` and so on."""
    data, offset, items = b"".join(contents), 0, []
    site.upload(name, data)
    for number, content in enumerate(contents):
        item = InputFile(f"in/{number}", name, len(content), md5_of(content), offset=offset, pack_bytes=len(data))
        items.append(replace(item, **fields))  # type: ignore[arg-type]  # of the right types
        offset += len(content)
    return items


def test_every_promised_python_cuts_a_pack(site: Site, forwarder: Forwarder, python: str) -> None:  # noqa: F811
    site.python = python
    items = packed(site, CONTENTS, mode=0o750)
    items.append(replace(items[1], path="elsewhere/1"))
    outputs = [f"out/{number}" for number in range(len(CONTENTS))]
    script = "cp in/* out/; cat elsewhere/1; stat -c '%a %Y %h' in/*"
    result = site.run(script, inputs=items, outputs=products(*outputs))
    assert result.exit_code == 0, result.stderr
    assert result.stdout.splitlines() == ["one", *["750 978307200 1"] * len(CONTENTS)]
    assert list(site.outputs().values()) == CONTENTS
    assert forwarder.gets("packs/one") == 1
    assert site.record().downloaded_bytes == sum(map(len, CONTENTS))


def test_without_a_cache_only_what_is_needed_is_read(site: Site, forwarder: Forwarder) -> None:  # noqa: F811
    items = packed(site, CONTENTS)
    result = site.run("cat in/*", inputs=[items[1], items[3], items[0]])
    assert (result.exit_code, result.stdout) == (0, "one\nthree\n"), result.stderr
    assert forwarder.gets("packs/one") == 2
    assert site.record().downloaded_bytes == 10


def test_a_node_downloads_a_pack_once(site: Site, cache: Path, forwarder: Forwarder) -> None:  # noqa: F811
    items = packed(site, CONTENTS)
    first = site.run("echo more >> in/1; rm in/3", inputs=items)
    other = site.another("t2")
    second = other.run("cat in/1 in/3", inputs=[items[1], items[3]])
    assert (first.exit_code, second.exit_code, second.stdout) == (0, 0, "one\nthree\n"), first.stderr + second.stderr
    assert forwarder.gets("packs/one") == 1
    assert len(files_of(cache)) == 1
    records = [site.record(), other.record()]
    assert [(r.cache_hits, r.cache_bytes, r.downloaded_bytes) for r in records] == [
        (0, 0, sum(map(len, CONTENTS))),
        (2, 10, 0),
    ]


def test_of_a_large_pack_a_node_gets_what_it_needs(site: Site, cache: Path, forwarder: Forwarder) -> None:  # noqa: F811
    contents = [b"", b"one\n", *[os.urandom(SMALL_BYTES)] * (LITTLE_BYTES // SMALL_BYTES), b"last\n"]
    items = packed(site, contents)
    few = [items[0], items[1], items[-1]]
    first = site.run("cat in/*; echo more >> in/1", inputs=few)
    other = site.another("t2")
    second = other.run("cat in/*", inputs=few)
    assert (first.stdout, second.stdout) == ("one\nlast\n", "one\nlast\n"), first.stderr + second.stderr
    assert forwarder.gets("packs/one") == 2
    assert sorted(path.stat().st_size for path in files_of(cache)) == [0, 4, 5]
    records = [site.record(), other.record()]
    assert [(r.cache_hits, r.cache_bytes, r.downloaded_bytes) for r in records] == [(0, 0, 9), (3, 9, 0)]
    third = site.another("t3")
    assert third.run("cat in/1", inputs=items).stdout == "one\n"
    assert third.record().downloaded_bytes == sum(map(len, contents))


def test_a_pack_that_was_changed_in_the_cache_is_dropped(site: Site, cache: Path) -> None:  # noqa: F811
    items = packed(site, CONTENTS)
    assert site.run(inputs=items).exit_code == 0
    (kept,) = files_of(cache)
    times = kept.stat()
    kept.write_bytes(bytes(times.st_size))
    os.utime(kept, ns=(times.st_atime_ns, times.st_mtime_ns))  # so that only the content tells
    other = site.another("t2")
    result = other.run("cat in/1", inputs=items)
    assert (result.exit_code, result.stdout) == (0, "one\n"), result.stderr
    assert "cache: packs/one was changed on the node" in result.stderr
    assert files_of(cache) == []


@pytest.mark.parametrize("more", [b"", bytes(9 << 18)], ids=["whole", "alone"])
@pytest.mark.parametrize("has_cache", [False, True])
@pytest.mark.parametrize("spoil", [lambda data: data[:-1], lambda data: data[:-1] + b"x"], ids=["shorter", "changed"])
def test_a_pack_that_is_not_what_was_wanted_is_refused(
    site: Site, tmp_path: Path, has_cache: bool, more: bytes, spoil
) -> None:
    if has_cache:
        (tmp_path / "shared").mkdir()
        site.extra_environment["AZ_BATCH_NODE_SHARED_DIR"] = str(tmp_path / "shared")
    items = packed(site, [more, b"1", b"2"])
    site.upload("packs/one", spoil(more + b"12"))
    assert site.run("touch ran", inputs=items[-1:]).exit_code == protocol.EXIT_STAGE_IN
    record = site.record()
    assert (record.error_class, record.exit_code) == (protocol.ERROR_STAGE_IN, None)
    assert "packs/one" in (record.error_message or "")


def test_absolute_members_are_placed_once_and_never_replaced(site: Site, tmp_path: Path) -> None:
    items = packed(site, [b"a", b"b"])
    there = [replace(item, path=str(tmp_path / "db" / item.path)) for item in items]
    assert site.run(inputs=there).exit_code == 0
    assert site.another("t2").run(f"cat {tmp_path}/db/in/*", inputs=there).stdout == "ab"
    (tmp_path / "db" / "in" / "1").write_bytes(b"other")
    last = site.another("t3")
    assert last.run(inputs=there).exit_code == protocol.EXIT_STAGE_IN
    assert "is there already on the node, with another content" in (last.record().error_message or "")


def test_many_small_outputs_leave_in_packs(site: Site) -> None:
    names = [f"out/{number:03}" for number in range(70)]
    script = (
        "for i in $(seq -w 0 69); do head -c $((i * 3700)) /dev/urandom > out/0$i; done 2>/dev/null;"
        f"head -c {SMALL_BYTES + 1} /dev/urandom > out/large; : > out/007; chmod 700 out/008; mkdir folder; touch log"
    )
    script = script.replace("$((i * 3700))", "$(expr $i \\* 3700)")
    outputs = [*products(*names, "out/large"), *products("folder", kind=protocol.DIRECTORY)]
    result = site.run(script, outputs=outputs, logs=products("log"))
    assert result.exit_code == 0, result.stderr
    found = site.outputs()  # compared with sizes and digests of the record
    record = site.record()
    assert list(found)[:-1] == [*names, "out/large"]
    assert (found["out/007"], len(found["out/030"])) == (b"", 111_000)
    by_path = {stored.path: stored for stored in record.outputs}
    packs = {stored.blob for stored in record.outputs if stored.offset is not None}
    assert {path for path, stored in by_path.items() if stored.offset is None} == {"out/large", "folder"}
    assert {by_path["out/008"].mode, by_path["out/009"].mode} == {0o700, 0o644}
    assert packs == site.names("tasks/t1/packs/outputs.")
    assert len(packs) == 2  # 9 MB, and 8 MiB in one
    assert record.uploaded_bytes == sum(map(len, found.values()))
    assert [log.blob for log in record.logs] == ["tasks/t1/logs/log"]


def test_few_small_outputs_leave_alone(site: Site) -> None:
    names = [f"out/{number}" for number in range(MANY - 1)]
    assert site.run("touch out/$(seq -s ' out/' 0 14)", outputs=products(*names)).exit_code == 0
    assert site.names("tasks/t1/packs/") == set()
    assert set(site.outputs()) == set(names)


def test_two_attempts_never_share_a_pack(site: Site) -> None:
    names = [f"out/{number}" for number in range(MANY)]
    packs = set()
    for _ in range(2):
        assert site.run("touch out/$(seq -s ' out/' 0 15)", outputs=products(*names)).exit_code == 0
        packs |= {stored.blob for stored in site.record().outputs}
    assert len(packs) == 2
