"""Small blobs by plain requests, several at once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from azure.storage.blob import ContainerClient, ContainerSasPermissions, generate_container_sas

from snakemake_executor_azurebatch.emulator.azurite import Azurite
from snakemake_executor_azurebatch.staging.quick import CONNECTIONS, MOST_URLS, Quick
from snakemake_executor_azurebatch.staging.store import BlobStore

MANY = {f"records/{number}.json": f"record {number}".encode() for number in range(3 * CONNECTIONS + 1)}


class Access:
    """URLs with a SAS; renewed, they are other ones."""

    def __init__(self, azurite: Azurite, container: ContainerClient) -> None:
        self._azurite, self._container = azurite, container
        self._until = datetime.now(UTC) + timedelta(hours=1)
        self.asked_for = 0
        self.renew()

    def renew(self) -> None:
        self._until += timedelta(seconds=1)
        sas = generate_container_sas(
            self._container.account_name,
            self._container.container_name,
            account_key=self._azurite.key,
            permission=ContainerSasPermissions(read=True, write=True, create=True),
            expiry=self._until,
        )
        self._url = f"{self._container.url}?{sas}"

    def break_up(self) -> None:
        self._url = self._url.replace("&sig=", "&sig=wrong")

    def __call__(self) -> tuple[str, str]:
        self.asked_for += 1
        return self._url, self._url


@pytest.fixture
def access(azurite: Azurite, container: ContainerClient, store: BlobStore) -> Access:
    for name, data in MANY.items():
        container.upload_blob(name, data)
    return Access(azurite, container)


@pytest.fixture
def quick(access: Access) -> Iterator[Quick]:
    quick = Quick(access, threading.Event())
    yield quick
    quick.close()


def test_more_than_there_are_connections_come_at_once(quick: Quick) -> None:
    assert quick.get_all(MANY) == MANY
    assert quick.get_all([]) == {}


def test_those_that_are_not_there_are_left_out(quick: Quick) -> None:
    names = list(MANY)
    wanted = [name for known in names for name in (f"{known}.not", known)]

    assert quick.get_all(wanted) == MANY
    assert quick.get(names[0]) == MANY[names[0]]


def test_renewed_access_is_used_and_old_connections_are_closed(quick: Quick, access: Access) -> None:
    for _ in range(2 * MOST_URLS):
        access.renew()
        assert quick.get_all(MANY) == MANY
        assert quick.put("own", b"content", {"mark": "1"})
    assert len(quick._known) == MOST_URLS


def test_where_access_is_refused_the_sdk_is_to_be_asked(quick: Quick, access: Access) -> None:
    access.break_up()
    assert quick.get_all(MANY) == {}
    assert [container.connections._open for container in quick._known.values()] == [[]]
    access.renew()
    before = access.asked_for
    assert quick.get_all(MANY) == {}  # for a while
    assert quick.get("records/1.json") is None
    assert access.asked_for == before  # and nothing is sent meanwhile


def test_once_closed_it_gives_nothing_and_opens_nothing(quick: Quick, access: Access) -> None:
    quick.get_all(MANY)
    quick.close()
    before = access.asked_for
    assert quick.get_all(MANY) == {}
    assert access.asked_for == before
