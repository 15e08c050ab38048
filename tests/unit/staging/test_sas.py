from __future__ import annotations

from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from azure.core.exceptions import HttpResponseError
from azure.storage.blob import ContainerClient

from snakemake_executor_azurebatch.emulator.azurite import Azurite
from snakemake_executor_azurebatch.staging.sas import Access, make_access
from snakemake_executor_azurebatch.staging.store import BlobStore


@pytest.fixture
def access(store: BlobStore, azurite: Azurite) -> Access:
    store.upload_bytes("there", b"1")
    return make_access(store.container, 3600, account_key=azurite.key)


def refused(error: pytest.ExceptionInfo[HttpResponseError]) -> bool:
    return error.value.status_code == 403


def test_the_read_url_reads_and_nothing_else(access: Access) -> None:
    with ContainerClient.from_container_url(access.read_url) as reader:
        assert reader.download_blob("there").readall() == b"1"
        for forbidden in (
            lambda: reader.upload_blob("new", b"2"),
            lambda: reader.delete_blob("there"),
            lambda: list(reader.list_blobs()),
            reader.delete_container,
        ):
            with pytest.raises(HttpResponseError) as error:
                forbidden()
            assert refused(error)


def test_the_write_url_writes_and_nothing_else(access: Access, store: BlobStore) -> None:
    with ContainerClient.from_container_url(access.write_url) as writer:
        writer.upload_blob("new", b"2")
        writer.get_blob_client("blocks").stage_block("MDE=", b"3")
        writer.get_blob_client("blocks").commit_block_list(["MDE="])
        for forbidden in (
            lambda: writer.download_blob("there").readall(),
            lambda: writer.delete_blob("there"),
            lambda: list(writer.list_blobs()),
            writer.delete_container,
        ):
            with pytest.raises(HttpResponseError) as error:
                forbidden()
            assert refused(error)
    assert (store.read_bytes("new", 1), store.read_bytes("blocks", 1)) == (b"2", b"3")


def test_times_and_protocol(azurite: Azurite) -> None:
    now = datetime.now(UTC)
    for url, protocol in ((azurite.blob_url, "https,http"), ("https://acc.blob.core.windows.net", "https")):
        with ContainerClient(url, "smk-x", credential={"account_name": "acc", "account_key": azurite.key}) as client:
            access = make_access(client, 7200, account_key=azurite.key)
        said = parse_qs(urlsplit(access.read_url).query)
        assert said["spr"] == [protocol]
        assert datetime.fromisoformat(said["st"][0]) <= now - timedelta(minutes=14)
        assert timedelta(seconds=7100) < access.expires - now < timedelta(seconds=7300)
        assert said["se"] == [access.expires.strftime("%Y-%m-%dT%H:%M:%SZ")]
        assert (said["sr"], said["sp"]) == (["c"], ["r"])


def test_an_old_url_is_refused(store: BlobStore, azurite: Azurite) -> None:
    store.upload_bytes("there", b"1")
    ended = make_access(store.container, -60, account_key=azurite.key)
    with ContainerClient.from_container_url(ended.read_url) as reader, pytest.raises(HttpResponseError) as error:
        reader.download_blob("there")
    assert refused(error)


def test_the_clients_own_sas_is_not_passed_on(access: Access, azurite: Azurite) -> None:
    with ContainerClient.from_container_url(access.read_url) as reader:
        again = make_access(reader, 60, account_key=azurite.key)
    assert again.write_url.count("sig=") == again.write_url.count("?") == 1


def test_secrets_are_not_shown(access: Access) -> None:
    assert "sig=" not in repr(access)
    assert "http" not in repr(access)


def test_something_must_sign(container: ContainerClient) -> None:
    with pytest.raises(ValueError, match="needs an account key or"):
        make_access(container, 60)
