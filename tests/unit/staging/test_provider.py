"""Files of the azure storage plugin, looked at and signed for by the controller."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError
from azure.storage.blob import BlobBlock, BlobServiceClient, ContainerClient

from snakemake_executor_azurebatch.emulator.azurite import Azurite
from snakemake_executor_azurebatch.errors import AccessRefused, ServiceError, StagingError
from snakemake_executor_azurebatch.staging import digests
from snakemake_executor_azurebatch.staging.provider import ProviderFiles, Signer
from snakemake_executor_azurebatch.storage import StoredObject, can_sign

NAME = "in/with space #1.txt"


@pytest.fixture
def account(azurite: Azurite) -> Iterator[BlobServiceClient]:
    with BlobServiceClient(azurite.blob_url, credential=azurite.key) as client:
        yield client


@pytest.fixture
def data(account: BlobServiceClient) -> ContainerClient:
    return account.create_container(f"data-{uuid.uuid4().hex}")


@pytest.fixture
def files(account: BlobServiceClient) -> ProviderFiles:
    return ProviderFiles({"azure": account}.__getitem__, 3600)


def stored(container: str, blob: str, level: int = 0) -> StoredObject:
    return StoredObject(f".snakemake/storage/azure/{container}/{blob}", "azure", f"az://{blob}", container, blob, level)


def test_an_input_is_described_and_can_be_read_and_nothing_else(files: ProviderFiles, data: ContainerClient) -> None:
    data.upload_blob(NAME, b"content")
    data.upload_blob("other", b"other")
    [found] = files.inputs([stored(data.container_name, NAME)])
    assert (found.blob, found.size_bytes, found.md5) == (NAME, 7, digests.of_pieces([b"content"]).md5)
    assert found.etag == data.get_blob_client(NAME).get_blob_properties().etag
    assert "sig=" not in repr(found)
    with ContainerClient.from_container_url(found.container_url) as given:
        assert given.download_blob(NAME).readall() == b"content"
        for forbidden in (
            lambda: given.download_blob("other").readall(),
            lambda: given.upload_blob(NAME, b"", overwrite=True),
            lambda: list(given.list_blobs()),
        ):
            with pytest.raises(HttpResponseError) as error:
                forbidden()
            assert error.value.status_code == 403


def test_a_blob_without_md5(files: ProviderFiles, data: ContainerClient) -> None:
    client = data.get_blob_client("blocks")
    client.stage_block("MDE=", b"content")
    client.commit_block_list([BlobBlock("MDE=")])
    [found] = files.inputs([stored(data.container_name, "blocks")])
    assert (found.size_bytes, found.md5) == (7, "")


def test_an_input_that_is_missing_or_a_folder(files: ProviderFiles, data: ContainerClient) -> None:
    data.upload_blob("folder", b"", metadata={"hdi_isfolder": "true"})
    with pytest.raises(ServiceError, match="looking for az://none"):
        files.inputs([stored(data.container_name, "none")])
    with pytest.raises(StagingError, match="az://folder is a folder"):
        files.inputs([stored(data.container_name, "folder")])


def test_a_product_can_be_written_and_nothing_else(files: ProviderFiles, account: BlobServiceClient) -> None:
    name = f"new-{uuid.uuid4().hex}"
    [one, two] = files.products([stored(name, "out/1", 1), stored(name, "out/2", 2)])
    assert (one.blob, one.level, one.optional, two.level) == ("out/1", 1, False, 2)
    assert "sig=" not in repr(one)
    with ContainerClient.from_container_url(one.container_url) as given:
        given.upload_blob("out/1", b"1")
        given.upload_blob("out/1", b"2", overwrite=True)
        for forbidden in (
            lambda: given.upload_blob("out/2", b"1"),
            lambda: given.download_blob("out/1").readall(),
            lambda: given.delete_blob("out/1"),
        ):
            with pytest.raises(HttpResponseError) as error:
                forbidden()
            assert error.value.status_code == 403
    assert account.get_blob_client(name, "out/1").download_blob().readall() == b"2"
    assert files.products([stored(name, "log")], optional=True)[0].optional


def test_a_user_delegation_key_signs_for_many_blobs() -> None:
    """Azurite has no user delegation keys over http: what is asked for is looked at instead."""
    from azure.storage.blob import UserDelegationKey

    asked = []

    class Account:
        credential = None

        def get_user_delegation_key(self, start: object, expires: object) -> UserDelegationKey:
            asked.append((start, expires))
            key = UserDelegationKey()
            key.signed_oid = key.signed_tid = str(uuid.uuid4())
            key.signed_start, key.signed_expiry = start.isoformat(), expires.isoformat()
            key.signed_service, key.signed_version, key.value = "b", "2025-01-05", "a2V5"
            return key

        def get_container_client(self, name: str) -> ContainerClient:
            return ContainerClient("https://acc.blob.core.windows.net", name)

    files = ProviderFiles({"azure": Account()}.__getitem__)
    files._made.add(("azure", "c"))
    urls = [product.container_url for product in files.products([stored("c", "a"), stored("c", "b")])]
    [(start, expires)] = asked
    assert expires - start == timedelta(days=7)  # the most that Azure allows
    for url in urls:
        query = parse_qs(urlsplit(url).query)
        assert (query["sp"], query["sr"], query["spr"]) == (["cw"], ["b"], ["https"])
        assert "skoid" in query
        assert url.startswith("https://acc.blob.core.windows.net/c?")


def test_who_may_not_sign_is_told_which_role_is_missing() -> None:
    class Account:
        credential = None
        account_name = "acc"

        def get_user_delegation_key(self, *_: object) -> None:
            raise ClientAuthenticationError("not you")

    signer = Signer(Account(), 7200)  # type: ignore[arg-type]
    with (
        ContainerClient("https://acc.blob.core.windows.net", "c") as container,
        pytest.raises(AccessRefused, match=r"not you. .* storage account acc .* Storage Blob Delegator"),
    ):
        signer.container_url(container, "b", "r")


def test_which_credentials_can_sign(account: BlobServiceClient, azurite: Azurite) -> None:
    assert can_sign(account)
    with BlobServiceClient(azurite.blob_url + "?sv=1&sig=x") as with_sas:
        assert not can_sign(with_sas)
