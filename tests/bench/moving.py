"""Files up to Azurite and back: this project on both sides, az, and the storage plugin of Snakemake, in turn."""

from __future__ import annotations

import filecmp
import itertools
import json
import os
import shutil
import sys
import zipfile
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from azure.storage.blob import BlobServiceClient

from snakemake_executor_azurebatch.emulator.environment import STORAGE_KEY
from snakemake_executor_azurebatch.node.protocol import InputFile
from snakemake_executor_azurebatch.staging.bundle import build_stager
from tests.bench.contestants import CONNECTION
from tests.bench.measuring import measure, median, table
from tests.clients.installed import AZURE_CLI, python_with
from tests.unit.node.harness import Site, products

PIECE_BYTES = 1 << 20
WAYS = ("up", "down")
#: (seconds of the transfer alone, seconds of the whole process, seconds of processor time)
Figures = tuple[float, float, float]


@dataclass
class Arena:
    """Files of one size, and what each contestant took."""

    folder: Path
    connection: str
    count: int
    size_bytes: int
    taken: dict[tuple[str, str], list[Figures]] = field(default_factory=lambda: defaultdict(list))
    numbers: itertools.count = field(default_factory=itertools.count)

    @property
    def files(self) -> Path:
        return self.folder / "files"

    def prepare(self) -> None:
        """Write the files: random content, all different."""
        self.files.mkdir(parents=True)
        for number in range(self.count):
            with (self.files / f"f{number:05}.bin").open("wb") as out:
                for start in range(0, self.size_bytes, PIECE_BYTES):
                    out.write(os.urandom(min(PIECE_BYTES, self.size_bytes - start)))
            os.utime(self.files / f"f{number:05}.bin", (1e9, 1e9))
        (self.folder / "names.json").write_text(json.dumps(sorted(path.name for path in self.files.iterdir())))

    def round(self, contestants: dict[str, Callable[[Arena, str, str], None]]) -> None:
        """Let each contestant move all files up and down once, in a blob container of its own."""
        for who, move in contestants.items():
            name = f"bench-{who}-{next(self.numbers)}"
            with BlobServiceClient.from_connection_string(self.connection) as service:
                service.create_container(name)
                move(self, who, name)
                service.delete_container(name)

    def note(self, who: str, way: str, figures: Figures) -> None:
        self.taken[who, way].append(figures)
        print(
            f"  {who:<10} {way:<4} {figures[0]:8.2f} s, process {figures[1]:8.2f} s, cpu {figures[2]:7.2f} s",
            flush=True,
        )

    def back(self, name: str) -> Path:
        """An empty folder to download to."""
        place = self.folder / f"back-{name}"
        place.mkdir()
        return place

    def check(self, place: Path) -> None:
        """Whether all files came back, as they were; and forget them."""
        names = sorted(path.name for path in self.files.iterdir())
        _, other, missing = filecmp.cmpfiles(self.files, place, names, shallow=False)
        if other or missing:
            raise SystemExit(f"{place}: {len(other)} files differ, {len(missing)} are missing")
        shutil.rmtree(place)

    def rows(self) -> list[list[str | float]]:
        """Medians; ratios to each of the others."""
        found: list[list[str | float]] = []
        for (who, way), runs in sorted(self.taken.items(), key=lambda item: (item[0][1] == "down", item[0][0])):
            transfer_s, process_s, cpu_s = (median([run[n] for run in runs]) for n in range(3))
            found.append([f"{way}: {who}", transfer_s, process_s, cpu_s])
        return found

    def ratios(self) -> list[list[str | float]]:
        """Of the seconds of the transfers: ours to theirs."""
        return [
            [f"{way}: {ours} / {theirs}", median([a[0] / b[0] for a, b in self._pairs(ours, theirs, way)])]
            for way in WAYS
            for ours in ("controller", "node")
            for theirs in ("az", "plugin")
            if (ours, way) in self.taken and (theirs, way) in self.taken
        ]

    def _pairs(self, ours: str, theirs: str, way: str) -> list[tuple[Figures, Figures]]:
        """Runs of the same round: what loads the machine then loads both."""
        return list(zip(self.taken[ours, way], self.taken[theirs, way], strict=True))


def in_python(arena: Arena, who: str, name: str) -> None:
    """A contestant of ``contestants``."""
    environment = {**os.environ, CONNECTION: arena.connection}
    back = arena.back(name)
    for way, place in (("up", arena.files), ("down", back)):
        command = [sys.executable, "-m", "tests.bench.contestants", who, way, str(place), name]
        done = measure(command, environment)
        arena.note(who, way, (float(done.text.splitlines()[-1]), done.wall_s, done.cpu_s))
    arena.check(back)


def with_az(arena: Arena, who: str, name: str) -> None:
    """``az storage blob upload-batch`` and ``download-batch`` as they are; their own start is not counted."""
    az = [python_with(AZURE_CLI), "-Im", "azure.cli"]
    variables = {
        "AZURE_CONFIG_DIR": str(arena.folder / "az"),
        "AZURE_CORE_COLLECT_TELEMETRY": "no",
        "AZURE_STORAGE_CONNECTION_STRING": arena.connection,
    }
    environment = {**os.environ, **variables}
    back = arena.back(name)
    quiet = ["--no-progress", "--output", "none"]
    start = measure([*az, "storage", "blob", "list", "-c", name, "--output", "none"], environment)
    for way, command in (
        ("up", ["upload-batch", "-d", name, "-s", str(arena.files), *quiet]),
        ("down", ["download-batch", "-s", name, "-d", str(back), *quiet]),
    ):
        done = measure([*az, "storage", "blob", *command], environment)
        arena.note(who, way, (done.wall_s - start.wall_s, done.wall_s, done.cpu_s))
    arena.check(back)


def on_a_node(arena: Arena, who: str, name: str) -> None:
    """The stager, as Batch starts it: files come in, a command copies them, they go out."""
    service = BlobServiceClient.from_connection_string(arena.connection)
    container = service.get_container_client(name)
    task = arena.folder / f"task-{name}"
    shared = arena.folder / f"shared-{name}"
    for folder in (task, task / "wd", shared):
        folder.mkdir()
    site = Site(container, STORAGE_KEY, task, _stager(arena.folder))
    site.extra_environment["AZ_BATCH_NODE_SHARED_DIR"] = str(shared)
    names = json.loads((arena.folder / "names.json").read_text())
    inputs = _put_inputs(arena, name)
    manifest = site.manifest("mkdir out; cp in/* out/", inputs=inputs, outputs=products(*(f"out/{n}" for n in names)))
    site.upload("tasks/t1/manifest.json", manifest.to_json().encode())
    done = measure([sys.executable, site.stager], {**site.environment(), "PYTHONUNBUFFERED": "1"}, task / "wd")
    record = site.record()
    arena.note(who, "down", (record.timings_s["stage_in"], done.wall_s, done.cpu_s))
    arena.note(who, "up", (record.timings_s["stage_out"], done.wall_s, done.cpu_s))
    if {one.md5 for one in record.outputs} != {one.md5 for one in inputs}:
        raise SystemExit("the node stored other bytes")
    service.close()
    shutil.rmtree(task)
    shutil.rmtree(shared)


def _put_inputs(arena: Arena, name: str) -> list[InputFile]:
    """Put the files where the controller puts them; this is not measured."""
    command = [sys.executable, "-m", "tests.bench.contestants", "controller", "up", str(arena.files), name]
    measure(command, {**os.environ, CONNECTION: arena.connection})
    stored = json.loads((arena.folder / f"{name}.json").read_text())
    return [InputFile(**{**fields, "path": f"in/{fields['path']}"}) for fields in stored]


def _stager(folder: Path) -> Path:
    place = folder / "stager.pyz"
    if not place.exists():
        place.write_bytes(build_stager())
        assert zipfile.is_zipfile(place)
    return place


CONTESTANTS = {"controller": in_python, "node": on_a_node, "az": with_az, "plugin": in_python}


def race(arena: Arena, rounds: int, who: list[str]) -> None:
    """Measure and print one size of files."""
    title = f"{arena.count:,} x {arena.size_bytes / 1024:,.0f} KiB"
    print(f"\n{title}", flush=True)
    arena.prepare()
    for _ in range(rounds):
        arena.round({name: CONTESTANTS[name] for name in who})
    table(title, ["", "transfer, s", "process, s", "processor, s"], arena.rows())
    table(f"{title}: ratios", ["", "ratio"], arena.ratios())
    shutil.rmtree(arena.folder)
