"""Whole tasks within this process, where limits can be lowered."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator

import pytest

from snakemake_executor_azurebatch.node import blob, protocol
from snakemake_executor_azurebatch.node.blob import Consume, Container
from snakemake_executor_azurebatch.node.limits import Limits, RetryPolicy
from snakemake_executor_azurebatch.node.protocol import Manifest
from snakemake_executor_azurebatch.node.signals import Signals
from snakemake_executor_azurebatch.node.task import Task

from .harness import DESTINATION, Site, md5_of, products

SMALL = Limits(
    workers=3, range_threshold_bytes=1000, range_bytes=300, block_bytes=512, buffer_bytes=1024, stream_bytes=10
)


@pytest.fixture
def own_signals() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def run(site: Site, own_signals: None) -> Callable[[Manifest], int]:
    def run(manifest: Manifest) -> int:
        site.upload(protocol.manifest_blob(DESTINATION), manifest.to_json().encode())
        site.wd.mkdir(exist_ok=True)
        signals = Signals()
        with signals.installed():
            return Task(site.environment(), str(site.stager), signals, SMALL).run()

    return run


def test_large_and_small_files_and_folders(site: Site, run: Callable[[Manifest], int]) -> None:
    contents = {"s1": b"1", "s2": b"", "l1": bytes(range(256)) * 40, "l2": b"z" * 1001}
    folder = site.folder("d", {"f": b"f" * 5000, "g": None})
    outputs = [*products(*(f"out/{name}" for name in contents)), *products("d", kind=protocol.DIRECTORY)]
    inputs = [*(site.file(name, data) for name, data in contents.items()), folder]
    assert run(site.manifest("cp s? l? out/", inputs=inputs, outputs=outputs)) == 0
    found = site.outputs()
    assert {f"out/{name}": data for name, data in contents.items()} == {
        path: data for path, data in found.items() if path != "d"
    }
    assert [stored.path for stored in site.record().outputs] == [product.path for product in outputs]


def test_only_the_end_of_the_streams_is_kept(site: Site, run: Callable[[Manifest], int]) -> None:
    (site.task_dir / "stdout.txt").write_bytes(b"the beginning, the end")
    assert run(site.manifest("exit 5")) == 5
    (stream,) = site.record().streams
    assert (stream.path, stream.size_bytes, stream.md5) == ("stdout.txt", 10, md5_of(b"g, the end"))


def test_a_task_whose_record_cannot_be_stored_has_not_succeeded(
    site: Site, run: Callable[[Manifest], int], capsys: pytest.CaptureFixture[str]
) -> None:
    site.extra_environment = {protocol.ENV_WRITE_URL: site.url("r")}
    assert run(site.manifest("true")) == protocol.EXIT_STAGE_OUT
    assert run(site.manifest("exit 3")) == 3
    assert capsys.readouterr().err.count("no commit record: PUT tasks/t1/commit.json: Authorization") == 2


@pytest.mark.parametrize("script", ["echo 1 > o", "exit 4"])
def test_storage_is_waited_for_once_the_command_has_ended(
    site: Site, run: Callable[[Manifest], int], monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    send, refused = Container._once, []
    monkeypatch.setattr(blob, "RetryPolicy", lambda: RetryPolicy(attempts=1, first_wait_s=0.001, longest_wait_s=0.001))

    def refuse_at_first(self: Container, request: blob.Request, consume: Consume[object]) -> object:
        if request.method == "PUT" and refused.count(request.name) < 5:
            refused.append(request.name)
            raise blob._Transient(blob.BlobError(f"PUT {request.name}: busy"))
        return send(self, request, consume)

    monkeypatch.setattr(Container, "_once", refuse_at_first)
    is_good = script != "exit 4"

    assert run(site.manifest(script, outputs=products("o"))) == (0 if is_good else 4)

    assert f"{DESTINATION}/{'outputs/o' if is_good else 'commit.json'}" in refused
    assert site.outputs() == ({"o": b"1\n"} if is_good else {})


def test_a_failed_command_stays_the_reason_when_logs_cannot_be_stored(
    site: Site, run: Callable[[Manifest], int], capsys: pytest.CaptureFixture[str]
) -> None:
    site.extra_environment = {protocol.ENV_WRITE_URL: site.url("r")}
    assert run(site.manifest("touch a.log; exit 4", logs=products("a.log"))) == 4
    told = capsys.readouterr().err
    assert "failed (command): the command exited with 4" in told
    assert "logs could not be stored: PUT tasks/t1/logs/a.log: Authorization" in told


def test_a_log_of_the_wrong_kind_does_not_fail_the_task(
    site: Site, run: Callable[[Manifest], int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(site.manifest("mkdir a.log; echo > b.log", logs=products("a.log", "b.log"))) == 0
    assert [log.path for log in site.record().logs] == ["b.log"]
    assert "log a.log is a directory, but was declared as a file" in capsys.readouterr().err


@pytest.mark.parametrize("workdir", ["relative", "/a/../b", "/a/"])
def test_a_workdir_that_is_no_normal_path_is_refused(site: Site, run: Callable[[Manifest], int], workdir: str) -> None:
    assert run(site.manifest("true", workdir=workdir)) == protocol.EXIT_SETUP
    assert "is not an absolute, normal path" in (site.record().error_message or "")


def test_sh_is_used_where_there_is_no_bash(
    site: Site, run: Callable[[Manifest], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    tools = site.task_dir / "bin"
    tools.mkdir()
    (tools / "sh").symlink_to("/bin/sh")
    monkeypatch.setenv("PATH", str(tools))
    assert run(site.manifest('echo "${BASH_VERSION:-none}" > a', outputs=products("a"))) == 0
    (tools / "sh").unlink()
    assert run(site.manifest("true")) == protocol.EXIT_SETUP
    assert site.record().error_message == "neither bash nor sh is in the image"
