"""Whole tasks with files in another blob container, each with a SAS of its own."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from azure.storage.blob import BlobBlock, ContainerClient, generate_blob_sas

from snakemake_executor_azurebatch.emulator.azurite import Azurite
from snakemake_executor_azurebatch.node.download import Wanted, download
from snakemake_executor_azurebatch.node.elsewhere import Elsewhere
from snakemake_executor_azurebatch.node.errors import StageError
from snakemake_executor_azurebatch.node.limits import Limits
from snakemake_executor_azurebatch.node.protocol import InputFile, Product
from tests.workflow.blob_log import logging_blobs

from .harness import Site, md5_of

COPY = ".snakemake/storage/azure/"


@dataclass(frozen=True)
class Data:
    """A blob container of the user's."""

    client: ContainerClient
    key: str

    def url(self, blob: str, permission: str) -> str:
        sas = generate_blob_sas(
            "devstoreaccount1",
            self.client.container_name,
            blob,
            account_key=self.key,
            permission=permission,
            expiry=datetime.now(UTC) + timedelta(hours=1),
        )
        return f"{self.client.url}?{sas}"

    def input(self, blob: str, content: bytes, *, with_md5: bool = True) -> InputFile:
        if with_md5:
            self.client.upload_blob(blob, content)
        else:
            client = self.client.get_blob_client(blob)
            client.stage_block("MDE=", content)
            client.commit_block_list([BlobBlock("MDE=")])
        found = self.client.get_blob_client(blob).get_blob_properties()
        md5 = md5_of(content) if with_md5 else ""
        url = self.url(blob, "r")
        return InputFile(COPY + blob, blob, found.size, md5, container_url=url, etag=found.etag)

    def product(self, blob: str, level: int = 0) -> Product:
        return Product(COPY + blob, blob=blob, container_url=self.url(blob, "cw"), level=level)

    def read(self, blob: str) -> bytes:
        return self.client.download_blob(blob).readall()


@pytest.fixture
def data(azurite: Azurite) -> Iterator[Data]:
    with ContainerClient(azurite.blob_url, f"data-{uuid.uuid4().hex}", credential=azurite.key) as client:
        client.create_container()
        yield Data(client, azurite.key)


def test_files_come_from_and_go_to_another_container(site: Site, data: Data) -> None:
    """Without an MD5 too; through the node's cache, where an equal name of the workdir's container is another file."""
    shared = site.task_dir.parent / "shared"
    shared.mkdir()
    site.extra_environment = {"AZ_BATCH_NODE_SHARED_DIR": str(shared)}
    known = data.input("in/known", b"known\n")
    own = replace(site.file("own", b"other\n"), blob=site.upload("in/known", b"other\n"))
    large = data.input("in/large", b"x" * (2 << 20), with_md5=False)
    inputs = [known, data.input("in/unknown #1", b"unknown\n", with_md5=False), own, large]
    outputs = [data.product("out/1"), data.product("out/2 é", level=1)]
    script = f"cd {COPY}; cat in/known 'in/unknown #1' ../../../own > out/1; touch in/large; cp out/1 'out/2 é'; env"
    logs = [data.product("log")]
    for task in (site, site.another("t2")):
        result = task.run(script + " > log", inputs=inputs, outputs=outputs, logs=logs)
        assert result.exit_code == 0, result.stderr
        assert data.read("out/1") == data.read("out/2 é") == b"known\nunknown\nother\n"
        assert b"sig=" not in data.read("log")
        record = task.record()
        assert [one.container_url for one in record.outputs] == [data.client.url] * 2
        assert [one.blob for one in record.outputs] == ["out/1", "out/2 é"]
        assert not [name for name in task.names() if "/outputs" in name or "/logs" in name]
        for file in task.wd.rglob("*"):
            assert not file.is_file() or b"sig=" not in file.read_bytes()
    assert record.cache_hits == 4


def test_a_blob_that_changed_after_submission_fails_the_task(site: Site, data: Data) -> None:
    wanted = data.input("in/a", b"old")
    data.client.upload_blob("in/a", b"new", overwrite=True)
    result = site.run("true", inputs=[wanted], logs=[data.product("log")])
    record = site.record()
    assert (result.exit_code, record.error_class) == (91, "stage_in")
    assert "in/a: ConditionNotMet (HTTP 412); it was changed after the job had been submitted" in record.error_message
    assert "sig=" not in record.error_message + result.stderr


def test_a_failed_command_stores_its_logs_and_no_outputs(site: Site, data: Data) -> None:
    result = site.run(
        f"cd {COPY}; echo half > out; echo why > log; exit 3",
        outputs=[data.product("out")],
        logs=[data.product("log")],
    )
    assert result.exit_code == 3
    assert [blob.name for blob in data.client.list_blobs()] == ["log"]


def test_what_has_a_higher_level_is_stored_later(site: Site, data: Data) -> None:
    """Though a large file goes after small ones otherwise."""
    with logging_blobs(f"BlobEndpoint={data.client.url.rpartition('/')[0]}") as log:
        through = Data(ContainerClient(log.blob_url, data.client.container_name, data.key), data.key)
        outputs = [through.product("last", 2), through.product("small", 1), through.product("large", 1)]
        script = f"cd {COPY}; echo > first; echo > last; echo > small; head -c 9000000 /dev/zero > large"
        result = site.run(script, outputs=[*outputs, through.product("first")])
    assert result.exit_code == 0, result.stderr
    asked = [one.path.rpartition("/")[2] for one in log.requests]
    assert list(dict.fromkeys(asked)) == ["first", "small", "large", "last"]


def test_large_blobs_by_ranges(data: Data, tmp_path: Path) -> None:
    limits = Limits(range_threshold_bytes=1000, range_bytes=300)
    wanted = data.input("in/large", bytes(range(250)) * 5, with_md5=False)
    elsewhere = Elsewhere()
    url = wanted.container_url
    asked = Wanted(wanted.path, wanted.blob, wanted.size_bytes, "", url, wanted.etag)
    download(elsewhere.container(url), asked, str(tmp_path / "back"), limits)
    assert (tmp_path / "back").read_bytes() == bytes(range(250)) * 5
    assert elsewhere.container(url) is elsewhere.container(url)
    assert elsewhere.container(url).connections is elsewhere.container(data.url("in/large", "cw")).connections
    assert elsewhere.redact(f"see {url}") == f"see {data.client.url}?<SAS>"
    with pytest.raises(StageError, match="ConditionNotMet"):
        download(elsewhere.container(url), asked._replace(etag='"0x0"'), str(tmp_path / "other"), limits)
    elsewhere.close()
