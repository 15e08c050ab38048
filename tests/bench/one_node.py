"""Many tasks of one node with the same large input: bytes and seconds, with the node cache and without."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from snakemake_executor_azurebatch.emulator.environment import STORAGE_KEY
from snakemake_executor_azurebatch.emulator.testing import LocalBatch
from snakemake_executor_azurebatch.node.protocol import InputFile, Manifest, manifest_blob
from snakemake_executor_azurebatch.staging.bundle import build_stager
from snakemake_executor_azurebatch.staging.store import BlobStore
from tests.bench.measuring import table
from tests.unit.node.harness import Site, products

MIB = 1 << 20
SLOTS = 2


@dataclass(frozen=True)
class Node:
    """A node on which tasks run, ``SLOTS`` at a time."""

    site: Site
    input: InputFile

    def run(self, tasks: int, name: str) -> tuple[float, int, int]:
        """Seconds, bytes that the commit records tell of as downloaded, and as found in the cache."""
        began = time.perf_counter()
        with ThreadPoolExecutor(SLOTS) as slots:
            records = list(slots.map(self._task, [f"{name}{number}" for number in range(tasks)]))
        wall_s = time.perf_counter() - began
        return wall_s, sum(one.downloaded_bytes for one in records), sum(one.cache_bytes for one in records)

    def _task(self, name: str):
        site = self.site.another(name)
        site.wd.mkdir()
        manifest: Manifest = site.manifest("wc -c < in.bin > out.txt", inputs=[self.input], outputs=products("out.txt"))
        site.upload(manifest_blob(site.destination), manifest.to_json().encode())
        subprocess.run([sys.executable, str(site.stager)], cwd=site.wd, env=site.environment(), check=True)
        shutil.rmtree(site.task_dir)
        return site.record()


def measure_cache(folder: Path, service: LocalBatch, size_bytes: int, tasks: int) -> None:
    """Measure and print."""
    folder.mkdir()
    blobs = service.blob_service()
    container = blobs.get_container_client("bench-cache")
    item = _input(folder, BlobStore(container), size_bytes)
    stager = folder / "stager.pyz"
    stager.write_bytes(build_stager())
    azurite = azurite_pid(service.service.pid)
    rows: list[list[str | float]] = []
    for title, shared in (("with the cache", folder / "shared"), ("without", None)):
        (folder / "tasks").mkdir(exist_ok=True)
        variables = {}
        if shared:
            shared.mkdir()
            variables["AZ_BATCH_NODE_SHARED_DIR"] = str(shared)
        site = Site(container, STORAGE_KEY, folder / "tasks/none", stager, extra_environment=variables)
        before = written_bytes(azurite)
        wall_s, downloaded, cached = Node(site, item).run(tasks, "a" if shared else "b")
        sent = written_bytes(azurite) - before
        rows.append([title, wall_s, downloaded / MIB, cached / MIB, sent / MIB])
        print(f"  {title}: {wall_s:.2f} s", flush=True)
    rows.append(["ratio", *(a / b if b else 0.0 for a, b in zip(rows[0][1:], rows[1][1:], strict=True))])
    head = ["", "seconds", "downloaded, MiB", "from the cache, MiB", "written by Azurite, MiB"]
    table(f"{tasks} tasks, {SLOTS} at a time, with the same input of {size_bytes // MIB} MiB", head, rows)
    blobs.close()


def _input(folder: Path, store: BlobStore, size_bytes: int) -> InputFile:
    store.ensure()
    local = folder / "in.bin"
    with local.open("wb") as out:
        for _ in range(size_bytes // MIB):
            out.write(os.urandom(MIB))
    found = store.upload_file(local, "inputs/in.bin")
    local.unlink()
    store.close()
    return InputFile("in.bin", "inputs/in.bin", found.size_bytes, found.md5)


def azurite_pid(service_pid: int) -> int:
    """The process of the service's Azurite."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((process / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == service_pid and b"azurite" in (process / "cmdline").read_bytes():
                return int(process.name)
        except OSError:
            continue  # ended meanwhile
    raise SystemExit("Azurite was not found among the service's processes")


def written_bytes(pid: int) -> int:
    """What a process has written to files and sockets (source: proc(5), ``wchar``)."""
    lines = Path(f"/proc/{pid}/io").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("wchar"))
