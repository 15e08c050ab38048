"""Resource files against a real Azurite."""

import asyncio
import os
import subprocess
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from azure.storage.blob import AccountSasPermissions, ContentSettings, ResourceTypes, generate_account_sas

from snakemake_executor_azurebatch.emulator.agent.agent import NodeAgent
from snakemake_executor_azurebatch.emulator.agent.resource_files import Download
from tests.unit.emulator.azurite_support import container_sas
from tests.unit.emulator.files.support import BOUND_S, closed_port, output, place, run, silence, url, wd


async def test_a_resource_file_is_in_wd_before_the_command_starts(agent, container, sas):
    container.upload_blob("in/a b+c%d.txt", b"content\n")
    files = [{"httpUrl": url(container, "in/a b+c%d.txt", sas), "filePath": "deep/er/in.txt"}]
    outcome = await run(agent, "cat deep/er/in.txt", resourceFiles=files)
    assert outcome.succeeded
    assert (agent.task_directory("j", "t") / "stdout.txt").read_text() == "content\n"
    assert (wd(agent) / "deep/er/in.txt").stat().st_mode & 0o7777 == 0o770


async def test_a_file_mode_is_octal_and_makes_a_program_runnable(agent, container, sas):
    container.upload_blob("run.sh", b"#!/bin/sh\nexit 7\n")
    files = [{"httpUrl": url(container, "run.sh", sas), "filePath": "run.sh", "fileMode": "0755"}]
    outcome = await run(agent, "./run.sh", resourceFiles=files)
    assert outcome.exit_code == 7
    assert (wd(agent) / "run.sh").stat().st_mode & 0o7777 == 0o755


async def test_a_large_file_arrives_whole_and_compressed_bytes_stay_as_they_are(agent, container, sas):
    content = os.urandom(5 * 1024 * 1024 + 1)
    container.upload_blob("large", content, content_settings=ContentSettings(content_encoding="gzip"))
    files = [{"httpUrl": url(container, "large", sas), "filePath": "large"}]
    assert (await run(agent, resourceFiles=files)).succeeded
    assert (wd(agent) / "large").read_bytes() == content


async def test_a_container_is_downloaded_by_prefix(agent, container, sas):
    for name in ("data/a", "data/b/c", "database", "other"):
        container.upload_blob(name, name.encode())
    files = [{"storageContainerUrl": f"{container.url}?{sas}", "blobPrefix": "data", "filePath": "got"}]
    assert (await run(agent, resourceFiles=files)).succeeded
    got = sorted(path.relative_to(wd(agent)).as_posix() for path in wd(agent).rglob("*") if path.is_file())
    assert got == ["got/data/a", "got/data/b/c", "got/database"]
    assert (wd(agent) / "got/data/b/c").read_bytes() == b"data/b/c"


async def test_a_missing_blob_ends_the_task_before_its_command(agent, container, sas):
    files = [{"httpUrl": url(container, "no/such", sas), "filePath": "x"}]
    outcome = await run(agent, "touch ran", resourceFiles=files)
    assert (outcome.exit_code, outcome.failure.code, outcome.failure.category) == (None, "BlobNotFound", "usererror")
    assert outcome.failure.message == "One of the specified Azure Blob(s) is not found"
    details = dict(outcome.failure.details)
    assert details["FilePath"] == "x"
    assert details["BlobSource"] == container.get_blob_client("no/such").url
    assert not (wd(agent) / "ran").exists()


async def test_an_expired_sas_is_access_denied_and_is_not_shown(agent, container, azurite):
    container.upload_blob("x", b"x")
    old = container_sas(container.container_name, azurite, hours=-1)
    outcome = await run(agent, resourceFiles=[{"httpUrl": url(container, "x", old), "filePath": "x"}])
    assert (outcome.exit_code, outcome.failure.code) == (None, "BlobAccessDenied")
    assert "sig=" not in repr(outcome)
    assert dict(outcome.failure.details)["Message"].startswith("HTTP 403 Auth")


async def test_no_answer_is_a_server_error(agent):
    files = [{"httpUrl": f"http://127.0.0.1:{closed_port()}/x?sig=secret", "filePath": "x"}]
    outcome = await run(agent, resourceFiles=files)
    assert (outcome.exit_code, outcome.failure.code) == (None, "BlobDownloadMiscError")
    assert outcome.failure.category == "servererror"
    assert "secret" not in repr(outcome)
    assert dict(outcome.failure.details)["Message"] == "ClientConnectorError: Connection refused"


@pytest.mark.parametrize("path", ["../escaped", "/tmp/escaped", "", "a/../../escaped", "."])
async def test_a_file_cannot_leave_the_working_directory(agent, container, sas, path):
    container.upload_blob("x", b"x")
    outcome = await run(agent, resourceFiles=[{"httpUrl": url(container, "x", sas), "filePath": path}])
    assert (outcome.exit_code, outcome.failure.code) == (None, "ResourceFileCreateFailed")
    assert "not a path below the working directory" in dict(outcome.failure.details)["Message"]


@pytest.mark.parametrize("mode", ["rwx", "99", "0o100000"])
async def test_a_file_mode_that_is_none_is_refused(agent, container, sas, mode):
    container.upload_blob("x", b"x")
    files = [{"httpUrl": url(container, "x", sas), "filePath": "x", "fileMode": mode}]
    assert (await run(agent, resourceFiles=files)).failure.code == "ResourceFileCreateFailed"


async def test_a_file_where_a_folder_must_be_cannot_be_created(agent, container, sas):
    container.upload_blob("x", b"x")
    wd(agent).mkdir(parents=True)
    (wd(agent) / "file").touch()
    (wd(agent) / "folder").mkdir()
    for path, code in (("file/x", "ResourceDirectoryCreateFailed"), ("folder", "ResourceFileCreateFailed")):
        outcome = await run(agent, resourceFiles=[{"httpUrl": url(container, "x", sas), "filePath": path}])
        assert (outcome.exit_code, outcome.failure.code) == (None, code)
        assert outcome.failure.category == "servererror"
        assert dict(outcome.failure.details)["FilePath"] == path


async def test_a_missing_container_is_named(agent, container, sas):
    container.delete_container()
    outcome = await run(agent, resourceFiles=[{"storageContainerUrl": f"{container.url}?{sas}"}])
    assert (outcome.exit_code, outcome.failure.code) == (None, "ResourceContainerNotFound")
    assert dict(outcome.failure.details) == {"ContainerSource": container.url}


async def test_a_container_that_may_not_be_listed_is_named(agent, container, azurite):
    read_only = container_sas(container.container_name, azurite, permissions="r")
    outcome = await run(agent, resourceFiles=[{"storageContainerUrl": f"{container.url}?{read_only}"}])
    assert (outcome.exit_code, outcome.failure.code) == (None, "ResourceContainerAccessDenied")
    assert dict(outcome.failure.details) == {"ContainerSource": container.url}


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"autoStorageContainerName": "c"}, "autoStorageContainerName"),
        ({"httpUrl": "http://127.0.0.1:1/x", "filePath": "x", "identityReference": {"resourceId": "i"}}, "identit"),
    ],
)
async def test_what_is_not_emulated_fails_with_its_name(agent, spec, words):
    outcome = await run(agent, resourceFiles=[spec])
    assert outcome.exit_code is None
    assert words in dict(outcome.failure.details)["Message"]


async def test_terminate_ends_a_download(agent):
    async with silence() as (url, connected):
        running = asyncio.create_task(run(agent, resourceFiles=[{"httpUrl": f"{url}/x", "filePath": "x"}]))
        await asyncio.wait_for(connected.wait(), BOUND_S)
        agent.terminate("j", "t")
        outcome = await running
    assert (outcome.exit_code, outcome.failure.code) == (None, "TaskEnded")


@pytest.mark.parametrize(
    ("source", "code"),
    [
        ({"httpUrl": "{url}/c/x?sig=secret", "filePath": "x"}, "BlobDownloadTimedOut"),
        ({"storageContainerUrl": "{url}/c?sig=secret"}, "ResourceContainerListTimedOut"),
    ],
)
async def test_silence_is_a_timeout(impatient, source, code):
    async with silence() as (url, _):
        spec = {name: value.replace("{url}", url) for name, value in source.items()}
        outcome = await run(impatient, resourceFiles=[spec])
    assert (outcome.exit_code, outcome.failure.code, outcome.failure.category) == (None, code, "servererror")
    assert "secret" not in repr(outcome)


async def test_the_auto_storage_account_is_found_by_its_container_names(tmp_path, container, azurite):
    container.upload_blob("data/x", b"x")
    container.upload_blob("data/folder/", b"")  # a marker of an empty folder
    permission, until = AccountSasPermissions(read=True, list=True), datetime.now(UTC) + timedelta(hours=1)
    kinds = ResourceTypes(container=True, object=True)
    sas = generate_account_sas(azurite.account, azurite.key, kinds, permission, until)
    node = replace(place(tmp_path / "node"), auto_storage_url=f"{azurite.blob_url}?{sas}")
    assert "sig=" not in repr(node)
    agent = NodeAgent(node)
    spec = {"autoStorageContainerName": container.container_name, "blobPrefix": "da", "filePath": "in"}
    outcome = await run(agent, resourceFiles=[spec])
    await agent.close()
    assert outcome.succeeded
    assert (wd(agent) / "in/data/x").read_bytes() == b"x"


@pytest.fixture
def small_disk(tmp_path):
    """A file system of one megabyte."""
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, check=False, capture_output=True).returncode != 0:
        pytest.skip("mounting a small file system needs root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


async def test_a_full_disk(small_disk, container, sas):
    agent = NodeAgent(place(small_disk))
    container.upload_blob("large", bytes(2 * 1024 * 1024))
    outcome = await run(agent, resourceFiles=[{"httpUrl": url(container, "large", sas), "filePath": "large"}])
    await agent.close()
    assert (outcome.exit_code, outcome.failure.code, outcome.failure.category) == (None, "DiskFull", "servererror")
    assert dict(outcome.failure.details) == {"FilePath": "large", "Message": "No space left on device"}


async def test_a_fault_fills_the_disk_until_it_is_mended(agent, container, sas):
    container.upload_blob("x", b"x")
    files = [{"httpUrl": url(container, "x", sas), "filePath": "x"}]
    agent.set_fault("disk_full")
    outcome = await run(agent, resourceFiles=files)
    assert (outcome.exit_code, outcome.failure.code) == (None, "DiskFull")
    agent.set_fault(None)
    assert (await run(agent, resourceFiles=files)).succeeded


async def test_a_fault_cuts_blob_storage_off(agent, container, sas):
    container.upload_blob("x", b"x")
    agent.set_fault("blob_unreachable")
    one = await run(agent, resourceFiles=[{"httpUrl": url(container, "x", sas), "filePath": "x"}])
    several = await run(agent, resourceFiles=[{"storageContainerUrl": f"{container.url}?{sas}"}])
    up = await run(agent, "touch f", outputFiles=[output(container, sas, "f")])
    codes = [outcome.failure.code for outcome in (one, several, up)]
    assert codes == ["BlobDownloadTimedOut", "ResourceContainerListTimedOut", "FileUploadTimedOut"]
    assert (one.exit_code, several.exit_code, up.exit_code) == (None, None, 0)


def test_another_fault_is_refused(agent):
    with pytest.raises(ValueError, match="one of disk_full, blob_unreachable"):
        agent.set_fault("disk_ful")


def test_a_download_does_not_show_its_sas(tmp_path):
    assert "secret" not in repr(Download("http://h/c/b?sig=secret", tmp_path, "b", 0o770))
