"""Access that is extended while a run lives and revoked at its end."""

from datetime import UTC, datetime, timedelta

import pytest
from azure.core.exceptions import HttpResponseError
from azure.storage.blob import AccessPolicy, BlobClient, ContainerClient

from snakemake_executor_azurebatch.staging.grants import MAX_POLICIES, PolicyGrant, RenewedGrant, grant_access
from snakemake_executor_azurebatch.staging.sas import blob_read_url


def read(url: str, blob: str = "there") -> bytes:
    with ContainerClient.from_container_url(url) as client:
        return client.download_blob(blob).readall()


def write(url: str, blob: str) -> None:
    with ContainerClient.from_container_url(url) as client:
        client.upload_blob(blob, b"new")


def policies(store) -> dict[str, AccessPolicy]:
    found = store.container.get_container_access_policy()["signed_identifiers"]
    return {one.id: one.access_policy for one in found}


def refused(call, *arguments) -> bool:
    with pytest.raises(HttpResponseError) as error:
        call(*arguments)
    return error.value.status_code == 403


@pytest.fixture
def granted(store, azurite):
    store.upload_bytes("there", b"1")
    return grant_access(store.container, "run1", 3600, account_key=azurite.key)


def test_each_url_does_its_own_and_no_more(granted):
    assert read(granted.access.read_url) == b"1"
    write(granted.access.write_url, "new")

    assert refused(write, granted.access.read_url, "other")
    assert refused(read, granted.access.write_url)


def test_a_revoked_url_is_refused(granted, store):
    granted.revoke()

    assert refused(read, granted.access.read_url)
    assert refused(write, granted.access.write_url, "late")
    assert policies(store) == {}


def test_an_extended_grant_ends_later(granted, store, azurite):
    short = PolicyGrant(granted.access, granted.container, granted.names, -60)
    short.extend()
    assert refused(read, granted.access.read_url)

    granted.extend()

    assert read(granted.access.read_url) == b"1"


def test_revoking_leaves_the_policies_of_others_alone(granted, store, azurite):
    other = grant_access(store.container, "run2", 3600, account_key=azurite.key)

    granted.revoke()

    assert read(other.access.read_url) == b"1"
    assert len(policies(store)) == 2


def test_what_a_killed_run_left_makes_room_when_it_has_expired(store, azurite):
    past = datetime.now(UTC) - timedelta(hours=1)
    left = {f"smk-r-{i}": AccessPolicy("r", expiry=past, start=past - timedelta(hours=1)) for i in range(4)}
    store.container.set_container_access_policy({**left, "mine": AccessPolicy("r", expiry="2099-01-01T00:00:00Z")})

    assert isinstance(grant_access(store.container, "run", 3600, account_key=azurite.key), PolicyGrant)

    assert set(policies(store)) == {"mine", "smk-r-run", "smk-w-run"}


def test_without_room_the_access_has_a_fixed_end(store, azurite):
    store.upload_bytes("there", b"1")
    full = {f"own{i}": AccessPolicy("r", expiry="2099-01-01T00:00:00Z") for i in range(MAX_POLICIES)}
    store.container.set_container_access_policy(full)

    grant = grant_access(store.container, "run", 3600, account_key=azurite.key)

    assert isinstance(grant, RenewedGrant)
    assert read(grant.access.read_url) == b"1"
    assert set(policies(store)) == set(full)


def test_a_url_for_one_blob_reads_no_other(store, azurite):
    store.upload_bytes("runtime/stager.pyz", b"zip")
    store.upload_bytes("secret", b"2")
    url = blob_read_url(store.container, "runtime/stager.pyz", 60, account_key=azurite.key)

    with BlobClient.from_blob_url(url) as client:
        assert client.download_blob().readall() == b"zip"
    with BlobClient.from_blob_url(url.replace("runtime/stager.pyz", "secret")) as client:
        assert refused(lambda: client.download_blob().readall())


def test_no_url_in_the_repr(granted):
    assert "sig=" not in repr(granted)
