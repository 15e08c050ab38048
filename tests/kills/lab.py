"""A workflow, a local Batch service and Azurite behind gates; and the checks that nothing wrong stands anywhere."""

from __future__ import annotations

import hashlib
import io
import os
import random
import signal
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import psutil
from azure.core.exceptions import ResourceNotFoundError
from azure.storage.blob import BlobServiceClient, ContainerClient

from snakemake_executor_azurebatch.emulator.azurite import Azurite
from snakemake_executor_azurebatch.emulator.service import RunningService
from snakemake_executor_azurebatch.naming import container_name
from snakemake_executor_azurebatch.node.cache import key_of
from snakemake_executor_azurebatch.node.download import Wanted
from snakemake_executor_azurebatch.node.protocol import CommitRecord, decode
from tests.unit.emulator.azurite_support import running_azurite

from .gate import Gate, Halt, Stop, gate_to

#: How often each point of the whole matrix is tried.
ROUNDS = range(int(os.environ.get("KILL_ROUNDS", "2")))

SABOTEUR = Path(__file__).with_name("saboteur.py")

#: Enough for blocks both ways.
LARGE_BYTES = 9 << 20

SNAKEFILE = """
rule all:
    input: "end.txt"

rule first:
    input: "in/small.txt", "in/large.bin"
    output: "out/large.bin", "out/small.txt", directory("out/tree")
    log: "logs/first.log"
    shell:
        "printf '%5000s\\n' begun > {log}; "
        "while [ -e HOLD ]; do touch HOLD.here; sleep 0.1; done; "
        "cat in/large.bin in/small.txt > out/large.bin; head -c 5000 in/large.bin > out/small.txt; "
        "mkdir -p out/tree/sub; head -c 100000 in/large.bin > out/tree/sub/part  # LONG"

rule second:
    input: "out/large.bin", "out/small.txt", "out/tree"
    output: "end.txt"
    shell: "cat out/large.bin out/small.txt out/tree/sub/part | sha256sum > end.txt"
"""

#: This and the small output are too large for a commit record: each is a request of its own.
LOG = b"begun\n".rjust(5001)


#: The manifest with this is a blob; the other one is in the environment of its task.
LONG = "x" * 5000


class Storage:
    """An Azurite that can be killed and started again on the same port, with the data that it had."""

    def __init__(self, location: Path) -> None:
        self._location = location
        self._running = ExitStack()
        self.has_died = False  #: and may have lost what it was told in its last seconds
        self.azurite: Azurite = self._running.enter_context(running_azurite(location))

    def kill(self) -> None:
        os.kill(self.azurite._process.pid, signal.SIGKILL)
        self.has_died = True
        ended = threading.Event()
        loop = self.azurite.exited.get_loop()
        loop.call_soon_threadsafe(self.azurite.exited.add_done_callback, lambda _: ended.set())
        assert ended.wait(60)

    def start_again(self) -> None:
        self._running.close()
        self.azurite = self._running.enter_context(running_azurite(self._location, self.azurite.port))

    def close(self) -> None:
        self._running.close()


@dataclass
class Lab:
    """One workdir, and the services behind their gates."""

    path: Path
    service: RunningService
    storage: Storage
    batch_gate: Gate
    blob_gate: Gate

    small: bytes = b""
    large: bytes = b""
    expected: dict[str, bytes] = field(default_factory=dict)

    def lay_out(self) -> None:
        """Write the workflow, with contents of its own: node caches are shared by all."""
        self.small = b"%d small\n" % hash(self.path)
        self.large = random.Random(self.small).randbytes(LARGE_BYTES)
        self.expected = {
            "out/large.bin": self.large + self.small,
            "out/small.txt": self.large[:5000],
            "out/tree/sub/part": self.large[:100_000],
        }
        all_of_them = hashlib.sha256(b"".join(self.expected.values())).hexdigest()
        self.expected["end.txt"] = all_of_them.encode() + b"  -\n"
        (self.path / "in").mkdir(parents=True)
        (self.path / "in/small.txt").write_bytes(self.small)
        (self.path / "in/large.bin").write_bytes(self.large)
        (self.path / "Snakefile").write_text(SNAKEFILE.replace("HOLD", str(self.hold)).replace("LONG", LONG))
        for file in self.path.rglob("*"):  # older than a clock tick: the index may remember it at once
            os.utime(file, (1_600_000_000, 1_600_000_000))

    @property
    def hold(self) -> Path:
        """While this file is there, the command of ``first`` waits."""
        return self.path.parent / "hold"

    def stop_at(self, stop: Stop, gate: str = "blob") -> Halt:
        """Have a gate stop; SMALL and LARGE in ``stop.fits`` are the names of the inputs' blobs."""
        names = {"SMALL": self.small, "LARGE": self.large}
        fits = stop.fits
        for name, content in names.items():
            fits = fits.replace(name, "inputs/" + hashlib.sha256(content).hexdigest())
        return (self.batch_gate if gate == "batch" else self.blob_gate).stop_at(replace(stop, fits=fits))

    def start(self, *sabotage: str) -> subprocess.Popen[str]:
        """Start snakemake; ``sabotage`` are a point and a number for the saboteur."""
        program = [str(SABOTEUR), *sabotage, "snakemake"] if sabotage else ["-m", "snakemake"]
        return subprocess.Popen(
            [
                *(sys.executable, "-P", *program, "--executor", "azurebatch", "--jobs", "4", "--nocolor"),
                *("--azurebatch-dedicated-nodes", "1", "--azurebatch-task-slots-per-node", "2"),
                *(
                    "--azurebatch-poll-interval",
                    "0.3",
                    "--rerun-incomplete",
                    "--azurebatch-infrastructure-retries",
                    "0",
                ),
            ],
            cwd=self.path,
            env=self.variables(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def end(self, running: subprocess.Popen[str]) -> str:
        """Wait for a run to end by itself; what it printed."""
        text, _ = running.communicate(timeout=400)
        return text

    def kill(self, running: subprocess.Popen[str]) -> None:
        running.kill()
        running.communicate()

    def run_again(self) -> None:
        """The next run ends well, with everything right, whatever was before."""
        self.unlock()
        running = self.start()
        text = self.end(running)
        if self.storage.has_died and "No longer in blob storage, the next try uploads" in text:
            running = self.start()
            text = self.end(running)
        assert running.returncode == 0, text
        self.check_all_there()

    def unlock(self) -> None:
        """Remove the lock that a killed snakemake has left."""
        if any((self.path / ".snakemake/locks").glob("*")):
            unlock = [sys.executable, "-m", "snakemake", "--cores", "1", "--unlock"]
            subprocess.run(unlock, cwd=self.path, env=self.variables(), check=True, capture_output=True)

    def check_all_there(self) -> None:
        """All outputs are there and right, and nothing else is left."""
        self.check()
        found = {str(p.relative_to(self.path)): p.read_bytes() for p in self._final_files()}
        assert found == self.expected
        log = self.path / "logs/first.log"
        assert (self.storage.has_died and not log.exists()) or log.read_bytes() == LOG  # a job can do without its log
        assert [p for p in self.path.rglob(".smk-*") if ".snakemake" not in p.parts] == []
        assert self.processes() == []

    def variables(self) -> dict[str, str]:
        inherited = {
            k: v for k, v in os.environ.items() if not k.startswith(("AZURE", "BATCH", "STORAGE", "SNAKEMAKE"))
        }
        return {
            **inherited,
            **self.service.environment,
            "BATCH_ACCOUNT_URL": f"http://127.0.0.1:{self.batch_gate.port}",
            "STORAGE_ACCOUNT_NAME": f"http://127.0.0.1:{self.blob_gate.port}/{self.storage.azurite.account}",
            "STORAGE_ACCOUNT_KEY": self.storage.azurite.key,
        }

    # -- what may never be wrong ---------------------------------------------------------------

    def check(self) -> None:
        """Whatever has a final name is whole and right: files here, blobs, files of node caches."""
        for file in self._final_files():
            name = str(file.relative_to(self.path))
            assert file.read_bytes() == self.expected[name], f"{name} is wrong: {file.stat().st_size} bytes"
        with suppress(FileNotFoundError):
            assert LOG.startswith((self.path / "logs/first.log").read_bytes())
        with suppress(ResourceNotFoundError), self.blobs() as blobs:  # not made yet, or lost with its storage
            contents = {name: _content(blobs, name) for name in blobs.list_blob_names()}
            self._check_blobs(contents)
            self._check_caches(contents)

    def _final_files(self) -> list[Path]:
        outputs = [*(self.path / "out").rglob("*"), self.path / "end.txt"]
        return [
            p
            for p in outputs
            if p.is_file()
            and p.name != ".snakemake_timestamp"
            and not any(part.startswith(".smk-") for part in p.relative_to(self.path).parts)
        ]

    def _check_blobs(self, contents: dict[str, bytes]) -> None:
        for name, content in contents.items():
            if name.startswith("inputs/"):
                assert name == "inputs/" + hashlib.sha256(content).hexdigest()
            if name.startswith("sources/"):
                with tarfile.open(fileobj=io.BytesIO(content)) as archive:
                    assert archive.getmembers()
            path = name.partition("/outputs/")[2]
            if path:
                assert content == self.expected[path], f"{name} is wrong: {len(content)} bytes"
            if name.endswith("/commit.json"):
                record = CommitRecord.from_json(decode(content))
                for stored in record.outputs:
                    if stored.blob in contents or not self.storage.has_died:
                        assert _md5(contents[stored.blob]) == stored.md5

    def _check_caches(self, contents: dict[str, bytes]) -> None:
        known = {key_of(Wanted("", name, len(content), _md5(content))): content for name, content in contents.items()}
        for file in self.service.state_dir.rglob("smk-cache/v1-*/*.data"):
            if file.name.removesuffix(".data") in known:  # of this workdir
                assert file.read_bytes() == known[file.name.removesuffix(".data")]

    @contextmanager
    def blobs(self) -> Iterator[ContainerClient]:
        """The blob container of the workdir, not through the gate."""
        azurite = self.storage.azurite
        with BlobServiceClient(azurite.blob_url, credential=azurite.key) as client:
            yield client.get_container_client(container_name(str(self.path)))

    # -- processes -----------------------------------------------------------------------------

    def processes(self) -> list[psutil.Process]:
        """Processes of the stagers of this workdir."""
        marker, found = container_name(str(self.path)), []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if marker in process.environ().get("SMK_STAGE_READ_URL", ""):  # a zombie has no environment
                    found.append(process)
        return found

    def stagers(self) -> list[psutil.Process]:
        """The stagers of tasks of this workdir: the first process of each that has their program."""
        found = []
        for process in self.processes():
            with suppress(psutil.Error):  # ended meanwhile
                if process.cmdline()[-1:] == ["stager.pyz"]:
                    found.append(process)
        return found

    def stager_at(self, port: int) -> psutil.Process:
        """The stager whose connection this is, by its port."""
        for process in self.processes():
            with suppress(psutil.Error):
                if any(c.laddr and c.laddr.port == port for c in process.net_connections("tcp4")):
                    return process
        raise AssertionError(f"no stager has the port {port}")


def _content(blobs: ContainerClient, name: str) -> bytes:
    blob = blobs.get_blob_client(name).download_blob()
    content = bytes(blob.readall())
    assert len(content) == blob.size
    stored = blob.properties.content_settings.content_md5
    assert stored is None or bytes(stored).hex() == _md5(content), f"{name} has another content than its MD5"
    return content


def _md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


@contextmanager
def gates(service: RunningService, storage: Storage) -> Iterator[tuple[Gate, Gate]]:
    """A gate to each service."""
    batch_port = int(service.batch_url.rpartition(":")[2].rstrip("/"))
    with gate_to(batch_port) as batch, gate_to(storage.azurite.port) as blob:
        yield batch, blob


def wait_for(happened: Callable[[], object], running: subprocess.Popen[str]) -> None:
    """Wait for something outside of the requests, as long as the run lives."""
    pause = threading.Event()
    while not happened():
        assert running.poll() is None, running.stdout and running.stdout.read()
        pause.wait(0.05)
