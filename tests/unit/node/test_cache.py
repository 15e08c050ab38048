"""Whole tasks that share a node's cache: the built stager, a real Azurite, a counting server in front of it."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from azure.storage.blob import ContainerClient

from snakemake_executor_azurebatch.node import cache as cache_module
from snakemake_executor_azurebatch.node import protocol
from snakemake_executor_azurebatch.node.cache import cache_folder, open_cache
from snakemake_executor_azurebatch.node.download import Wanted
from snakemake_executor_azurebatch.node.limits import MIB, STAGED_NS

from .forwarder import Forwarder, forwarding
from .harness import WORKDIR, Site, md5_of, products

LARGE = os.urandom(3 * MIB)


@pytest.fixture
def cache(site: Site, tmp_path: Path) -> Path:
    shared = tmp_path / "shared"
    shared.mkdir()
    site.extra_environment["AZ_BATCH_NODE_SHARED_DIR"] = str(shared)
    return Path(cache_folder(str(shared)))


@pytest.fixture
def forwarder(site: Site, client: ContainerClient) -> Iterator[Forwarder]:
    with forwarding(client.url) as forwarder:
        site.extra_environment[protocol.ENV_READ_URL] = forwarder.url(site.url("r"))
        yield forwarder


def files_of(cache: Path, suffix: str = ".data") -> list[Path]:
    return sorted(path for path in cache.iterdir() if path.suffix == suffix)


def test_every_promised_python_shares_what_is_there(site: Site, cache: Path, forwarder: Forwarder, python: str) -> None:
    site.python = python
    inputs = [site.file("large", LARGE), site.file("small", b"s"), site.folder("d", {"f": b"f"})]
    sources = site.sources({f"{WORKDIR.strip('/')}/Snakefile": b"rule a:\n"})
    script = "cat large small d/f Snakefile > out; stat -c '%a %Y %h' large small d/f"
    first = site.run(script, inputs=inputs, sources=sources, outputs=products("out"))
    other = site.another("t2")
    second = other.run(script, inputs=inputs, sources=sources, outputs=products("out"))
    assert (first.exit_code, second.exit_code) == (0, 0), first.stderr + second.stderr
    assert site.outputs() == other.outputs() == {"out": LARGE + b"sfrule a:\n"}
    seconds = STAGED_NS // 10**9
    assert first.stdout == second.stdout == f"644 {seconds} 3\n644 {seconds} 1\n640 {seconds} 1\n"
    total = sum(item.size_bytes for item in inputs) + sources.size_bytes
    records = [site.record(), other.record()]
    assert [(r.cache_hits, r.cache_bytes, r.downloaded_bytes) for r in records] == [(0, 0, total), (4, total, 0)]
    assert "[stage] in: 4 files, 3.0 MiB, 4 from the node's cache (3.0 MiB), " in second.stderr
    assert [forwarder.gets(item.blob) for item in (*inputs, sources)] == [1, 1, 1, 1]
    assert len(files_of(cache)) == 4
    assert {path.stat().st_nlink for path in files_of(cache)} == {1}  # tasks that ended keep no link


def test_16_tasks_that_start_at_once_download_once(site: Site, cache: Path, forwarder: Forwarder) -> None:
    data = os.urandom(20 * MIB)
    inputs = [site.file("data", data)]
    forwarder.stop_at = inputs[0].blob
    tasks = [site.another(f"n{number}") for number in range(16)]
    processes = [
        task.start(task.manifest("md5sum < data > out", inputs=inputs, outputs=products("out"))) for task in tasks
    ]
    forwarder.stopped.wait()
    forwarder.wait_for("manifest.json", 16)  # all are there
    forwarder.go_on.set()
    results = [task.finish(process) for task, process in zip(tasks, processes, strict=True)]
    assert [result.exit_code for result in results] == [0] * 16, results
    assert forwarder.gets(inputs[0].blob) == 1
    records = [task.record() for task in tasks]
    assert sorted(record.downloaded_bytes for record in records) == [0] * 15 + [len(data)]
    assert sum(record.cache_hits for record in records) == 15
    assert len({task.outputs()["out"] for task in tasks}) == 1


@pytest.mark.parametrize(
    "script", ["echo more >> large", ": > large", "printf x | dd of=large conv=notrunc status=none"]
)
def test_a_task_that_writes_into_its_input_harms_no_later_one(site: Site, cache: Path, script: str) -> None:
    inputs = [site.file("large", LARGE), site.file("small", b"small")]
    first = site.run(f"{script}; {script.replace('large', 'small')}", inputs=inputs)
    assert first.exit_code == 0, first.stderr
    assert "large: the command wrote into its input" in first.stderr
    second = site.another("t2")
    result = second.run("cat large small > out", inputs=inputs, outputs=products("out"))
    assert second.outputs() == {"out": LARGE + b"small"}, result.stderr
    assert (second.record().cache_hits, second.record().downloaded_bytes) == (1, len(LARGE))  # small was a copy


def test_tasks_that_had_a_file_while_it_was_written_into_do_not_succeed(
    site: Site, cache: Path, tmp_path: Path, started: Callable[[], str]
) -> None:
    inputs = [site.file("large", LARGE)]
    os.mkfifo(tmp_path / "go")
    reader = site.start(
        site.manifest(
            f"echo > {tmp_path}/started; cat {tmp_path}/go; touch out", inputs=inputs, outputs=products("out")
        )
    )
    started()
    writer = site.another("t2")
    told = writer.run("echo more >> large; touch out", inputs=inputs, outputs=products("out"))
    (tmp_path / "go").write_text("")
    assert (told.exit_code, site.finish(reader).exit_code) == (protocol.EXIT_STAGE_IN, protocol.EXIT_STAGE_IN)
    for task in (site, writer):
        record = task.record()
        assert (record.error_class, record.exit_code, record.outputs) == (protocol.ERROR_STAGE_IN, 0, [])
        assert (record.error_message or "").startswith("large: changed while this task and others of the node had it")
    last = site.another("t3")
    assert last.run("cat large > out", inputs=inputs, outputs=products("out")).exit_code == 0
    assert last.outputs() == {"out": LARGE}


def test_another_time_alone_is_no_harm(site: Site, cache: Path, tmp_path: Path, started: Callable[[], str]) -> None:
    inputs = [site.file("large", LARGE), site.file("same", b"")]
    os.mkfifo(tmp_path / "go")
    reader = site.start(site.manifest(f"echo > {tmp_path}/started; cat {tmp_path}/go", inputs=inputs))
    started()
    assert site.another("t2").run("touch large; rm -f same", inputs=inputs).exit_code == 0
    (tmp_path / "go").write_text("")
    assert site.finish(reader).exit_code == 0


def test_one_blob_at_several_paths_belongs_to_one_task(site: Site, cache: Path) -> None:
    item = site.file("a", LARGE)
    inputs = [item, protocol.InputFile("b", item.blob, item.size_bytes, item.md5)]
    inputs.append(protocol.InputFile("c", item.blob, item.size_bytes, item.md5, 0o755))
    result = site.run("stat -c '%a %h' a b c; rm a; echo x >> b", inputs=inputs)
    assert (result.exit_code, result.stdout) == (0, "644 5\n644 5\n755 1\n"), result.stderr


def test_a_task_killed_in_a_download_leaves_nothing_that_harms(site: Site, cache: Path, forwarder: Forwarder) -> None:
    inputs = [site.file("large", LARGE)]
    forwarder.stop_at = inputs[0].blob
    process = site.start(site.manifest("true", inputs=inputs))
    forwarder.stopped.wait()
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert (len(files_of(cache)), len(files_of(cache, ".part"))) == (0, 1)
    forwarder.go_on.set()
    other = site.another("t2")
    result = other.run("cat large > out", inputs=inputs, outputs=products("out"))
    assert other.outputs() == {"out": LARGE}, result.stderr
    assert (len(files_of(cache)), len(files_of(cache, ".part"))) == (1, 0)


def test_a_signal_ends_the_wait_for_another_download(site: Site, cache: Path, forwarder: Forwarder) -> None:
    inputs = [site.file("large", LARGE)]
    forwarder.stop_at = inputs[0].blob
    holder = site.start(site.manifest("true", inputs=inputs))
    forwarder.stopped.wait()
    other = site.another("t2")
    waiting = other.start(other.manifest("true", inputs=[*inputs, site.file("b", b"b")]))
    forwarder.wait_for("inputs/b")
    waiting.send_signal(signal.SIGTERM)
    assert other.finish(waiting).exit_code == 128 + 15
    assert other.record().error_message == "stopped by signal 15 during stage_in"
    forwarder.go_on.set()
    assert site.finish(holder).exit_code == 0


@pytest.mark.parametrize("damage", [b"", b"short", LARGE[::-1]])
def test_a_damaged_file_of_the_cache_is_noticed(site: Site, cache: Path, damage: bytes) -> None:
    inputs = [site.file("large", LARGE)]
    assert site.run(inputs=inputs).exit_code == 0
    files_of(cache)[0].write_bytes(damage)
    other = site.another("t2")
    result = other.run("cat large > out", inputs=inputs, outputs=products("out"))
    assert other.outputs() == {"out": LARGE}, result.stderr
    assert "cache: large was changed on the node, and is downloaded again" in result.stderr


def test_a_wrong_blob_never_gets_into_the_cache(site: Site, cache: Path) -> None:
    good = site.file("a", b"content")
    site.upload(good.blob, b"changed")
    assert site.run(inputs=[good]).exit_code == protocol.EXIT_STAGE_IN
    assert (site.record().error_message or "").startswith("a: blob inputs/a has MD5 ")
    assert files_of(cache) + files_of(cache, ".part") == []


@pytest.mark.parametrize("how", ["absent", "not a folder", "a file in the way"])
def test_without_a_usable_folder_there_is_no_cache(site: Site, tmp_path: Path, how: str) -> None:
    shared = tmp_path / "shared"
    if how == "not a folder":
        shared.write_text("")
    elif how == "a file in the way":
        shared.mkdir()
        (shared / "smk-cache").write_text("")
    site.extra_environment["AZ_BATCH_NODE_SHARED_DIR"] = str(shared)
    result = site.run("cat a", inputs=[site.file("a", b"A")])
    assert (result.exit_code, result.stdout) == (0, "A"), result.stderr
    assert (site.record().downloaded_bytes, site.record().cache_hits) == (1, 0)
    assert ("no cache: cannot make" in result.stderr) == (how == "a file in the way")


def test_a_cache_that_breaks_is_left_aside(site: Site, cache: Path) -> None:
    inputs = [site.file("a", b"A")]
    site.run(inputs=inputs)
    (lock,) = (path for path in files_of(cache, ".lock") if path.stem != "room")
    lock.unlink()
    lock.mkdir()
    result = site.run("cat a", inputs=inputs)
    assert (result.exit_code, result.stdout) == (0, "A")
    assert "cache: cannot be used for a: Is a directory" in result.stderr


def test_absolute_inputs_are_never_links(site: Site, cache: Path, tmp_path: Path) -> None:
    target = tmp_path / "db" / "x"
    assert site.run(inputs=[site.file(str(target), LARGE)]).exit_code == 0
    assert (target.read_bytes(), target.stat().st_nlink) == (LARGE, 1)


def test_what_was_used_is_in_the_record(site: Site) -> None:
    script = """python3 -c '
import time
block = bytearray(60_000_000); start = time.process_time()
while time.process_time() - start < 0.2: pass
'; head -c 3000000 /dev/zero > big; ln big again; echo log > a.log"""
    result = site.run(script, outputs=products("big"), logs=products("a.log"))
    assert result.exit_code == 0, result.stderr
    record = site.record()
    assert record.cpu_s is not None
    assert record.cpu_s >= 0.2
    assert (record.peak_memory_bytes or 0) > 60_000_000
    assert 3_000_000 <= (record.peak_disk_bytes or 0) < 5_000_000  # the second name of a file takes nothing
    assert record.uploaded_bytes == 3_000_004


def test_no_cache_where_there_is_to_be_none(tmp_path: Path) -> None:
    environ = {"AZ_BATCH_NODE_SHARED_DIR": str(tmp_path)}

    assert open_cache(environ, protocol.CacheLimits(max_bytes=0), threading.Event()) is None
    assert open_cache(environ, protocol.CacheLimits(max_bytes=1), threading.Event()) is not None


def test_nothing_of_another_boot_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    boot = tmp_path / "boot_id"
    monkeypatch.setattr(cache_module, "BOOT_ID", str(boot))
    data, environ = b"content", {"AZ_BATCH_NODE_SHARED_DIR": str(tmp_path)}
    wanted = Wanted("in", "blob", len(data), md5_of(data))

    def content(boot_id: str) -> tuple[bool, bytes]:
        boot.write_text(boot_id + "\n")
        cache = open_cache(environ, protocol.CacheLimits(min_free_bytes=0), threading.Event())
        assert cache is not None
        with cache.entry(wanted, 0o644, lambda path: bool(Path(path).write_bytes(data)), must=True) as entry:
            return entry.hit, Path(entry.path).read_bytes()

    assert [content("first"), content("first")] == [(False, data), (True, data)]
    (file,) = tmp_path.glob("smk-cache/v1-first/*.data")
    file.chmod(0o644)
    file.write_bytes(bytes(len(data)))  # as a file system may have it after a reset
    os.utime(file, ns=(STAGED_NS, STAGED_NS))

    assert content("second") == (False, data)

    assert [path.name for path in tmp_path.glob("smk-cache/v1-*")] == ["v1-second"]
