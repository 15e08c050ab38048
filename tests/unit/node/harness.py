"""A task as Batch would start it: a folder, an environment, the built stager, a blob container."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from azure.storage.blob import ContainerClient, generate_container_sas

from snakemake_executor_azurebatch.node import protocol
from snakemake_executor_azurebatch.node.protocol import Command, CommitRecord, InputFile, Manifest, Product, Sources

DESTINATION = "tasks/t1"
WORKDIR = "/home/someone/my project"


def md5_of(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def products(*paths: str, kind: str = protocol.FILE, optional: bool = False) -> list[Product]:
    return [Product(path, kind, optional) for path in paths]


@dataclass(frozen=True)
class Result:
    """What a task left."""

    exit_code: int
    stdout: str
    stderr: str


@dataclass
class Site:
    """The blob container, a node's folder, and how to run the stager in it."""

    client: ContainerClient
    key: str
    task_dir: Path
    stager: Path
    python: str = sys.executable
    extra_environment: dict[str, str] = field(default_factory=dict)
    task: str = "t1"
    tells_by_variable: bool = False  #: the manifest is no blob

    @property
    def destination(self) -> str:
        return f"tasks/{self.task}"

    @property
    def wd(self) -> Path:
        return self.task_dir / "wd"

    def another(self, task: str) -> Site:
        """Another task of the same node."""
        task_dir = self.task_dir.parent / task
        task_dir.mkdir()
        return replace(self, task_dir=task_dir, task=task, extra_environment=dict(self.extra_environment))

    def url(self, permission: str, lives: timedelta = timedelta(hours=1)) -> str:
        """The container's URL with a SAS."""
        sas = generate_container_sas(
            "devstoreaccount1",
            self.client.container_name,
            account_key=self.key,
            permission=permission,
            expiry=datetime.now(UTC) + lives,
        )
        return f"{self.client.url}?{sas}"

    def upload(self, blob: str, data: bytes) -> str:
        self.client.upload_blob(blob, data, overwrite=True)
        return blob

    def file(self, path: str, data: bytes, mode: int = 0o644) -> InputFile:
        """Upload an input."""
        return InputFile(
            path, self.upload(f"inputs/{path.replace('../', 'up/').strip('/')}", data), len(data), md5_of(data), mode
        )

    def folder(self, path: str, content: Mapping[str, bytes | str | None]) -> InputFile:
        """Upload a folder: bytes are files, strings link targets, None folders."""
        data = tar_of(content)
        blob = self.upload(f"inputs/{path.replace('../', 'up/').strip('/')}.tar", data)
        return InputFile(path, blob, len(data), md5_of(data), 0o755, protocol.DIRECTORY)

    def sources(self, content: Mapping[str, bytes | str | None]) -> Sources:
        data = tar_of(content, "w:gz")
        return Sources(self.upload("sources/" + hashlib.sha256(data).hexdigest(), data), len(data), md5_of(data))

    def manifest(self, script: str, **fields: object) -> Manifest:
        bare = Manifest(self.task, WORKDIR, self.destination, Command("shell", script))
        return replace(bare, **fields)  # type: ignore[arg-type]

    def environment(self) -> dict[str, str]:
        environment = {
            "PATH": os.environ["PATH"],
            "AZ_BATCH_TASK_DIR": str(self.task_dir),
            "AZ_BATCH_TASK_WORKING_DIR": str(self.wd),
            protocol.ENV_READ_URL: self.url("r"),
            protocol.ENV_WRITE_URL: self.url("cw"),
            protocol.ENV_MANIFEST: protocol.manifest_blob(self.destination),
        }
        return {**environment, **self.extra_environment}

    def start(self, manifest: Manifest | None) -> subprocess.Popen[str]:
        """Start the task; with None no manifest is written."""
        if manifest is not None:
            data = protocol.encode(manifest.to_json())
            if self.tells_by_variable:
                self.extra_environment[protocol.ENV_MANIFEST_TEXT] = protocol.as_variable(data)
            else:
                self.upload(protocol.manifest_blob(self.destination), data)
        self.wd.mkdir(exist_ok=True)
        with (self.task_dir / "stdout.txt").open("wb") as out, (self.task_dir / "stderr.txt").open("wb") as err:
            return subprocess.Popen(
                [self.python, "-I", "-S", str(self.stager)],
                cwd=self.wd,
                env=self.environment(),
                stdout=out,
                stderr=err,
                text=True,
            )

    def finish(self, process: subprocess.Popen[str]) -> Result:
        code = process.wait()
        out, err = ((self.task_dir / name).read_text(errors="replace") for name in ("stdout.txt", "stderr.txt"))
        return Result(code, out, err)

    def run(self, script: str = "true", **fields: object) -> Result:
        return self.finish(self.start(self.manifest(script, **fields)))

    def blob(self, name: str) -> bytes:
        return self.client.download_blob(name).readall()

    def names(self, prefix: str = DESTINATION) -> set[str]:
        return {str(name) for name in self.client.list_blob_names(name_starts_with=prefix)}

    def record(self) -> CommitRecord:
        return CommitRecord.from_json(
            self.blob(protocol.record_blob(self.destination)).decode("utf-8", "surrogateescape")
        )

    def outputs(self) -> dict[str, bytes]:
        """Content of the outputs of the record, each checked against what the record says."""
        found = {}
        for stored in self.record().outputs:
            data = self.blob(stored.blob)
            if stored.offset is not None:
                assert len(data) == stored.pack_bytes
                data = data[stored.offset :][: stored.size_bytes]
            assert (len(data), md5_of(data)) == (stored.size_bytes, stored.md5), stored
            found[stored.path] = data
        return found


def tar_of(content: Mapping[str, bytes | str | None], mode: str = "w") -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=mode) as tar:  # type: ignore[call-overload]
        for name, value in content.items():
            info = tarfile.TarInfo(name)
            if value is None:
                info.type, info.mode = tarfile.DIRTYPE, 0o750
                tar.addfile(info)
            elif isinstance(value, str):
                info.type, info.linkname = tarfile.SYMTYPE, value
                tar.addfile(info)
            else:
                info.size, info.mode = len(value), 0o755 if value.startswith(b"#!") else 0o640
                tar.addfile(info, io.BytesIO(value))
    return stream.getvalue()
