"""Access without an account key: user delegation SAS, with Azurite over HTTPS and with bearer tokens.

The signature is computed here once more, from the string-to-sign of the service's reference ("Create a user
delegation SAS"). Azurite confirms that computation for the versions that it knows; for the version that the SDK signs
with, which has two fields more, the SDK's signature has to be the same as ours.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import os
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from azure.core.credentials import AccessToken
from azure.core.exceptions import AzureError, HttpResponseError
from azure.storage.blob import BlobClient, BlobServiceClient, ContainerClient, UserDelegationKey

from snakemake_executor_azurebatch.emulator.azurite_install import find_or_install
from snakemake_executor_azurebatch.emulator.tls import server_context
from snakemake_executor_azurebatch.staging.grants import RenewedGrant, grant_access
from snakemake_executor_azurebatch.staging.sas import LONGEST_DELEGATION, STARTS_EARLIER, blob_read_url, make_access

ACCOUNT = "devstoreaccount1"
#: The newest string-to-sign that Azurite 3.35 knows, and the version from which there are two fields more.
AZURITES_VERSION, TWO_MORE_SINCE = "2025-07-05", "2025-11-05"
START_S = 120


class Signed:
    """A token credential that somebody else has signed in. Azurite reads tokens and checks no signature."""

    def get_token(self, *_scopes: str, **_options: object) -> AccessToken:
        now = int(time.time())
        claims = {
            "aud": "https://storage.azure.com",
            "iss": "https://sts.windows.net/tenant/",
            "tid": "tenant",
            "oid": "me",
            "iat": now,
            "nbf": now - 60,
            "exp": now + 3600,
        }
        parts = [
            base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")
            for part in ({"alg": "RS256"}, claims)
        ]
        return AccessToken(".".join([*parts, "c2ln"]), now + 3600)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("https")
    server_context(folder)
    return folder


@pytest.fixture(scope="module")
def service(folder: Path) -> Iterator[BlobServiceClient]:
    command = asyncio.run(find_or_install(print))
    port = free_port()
    flags = ("--blobHost", "127.0.0.1", "--blobPort", str(port), "--location", str(folder), "--oauth", "basic")
    tls = ("--cert", str(folder / "server.pem"), "--key", str(folder / "server.key"))
    with (folder / "azurite.log").open("wb") as log:
        azurite = subprocess.Popen(
            [*command, *flags, *tls, "--silent", "--disableTelemetry", "--skipApiVersionCheck"],
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    client = BlobServiceClient(
        f"https://127.0.0.1:{port}/{ACCOUNT}",
        credential=Signed(),
        connection_verify=str(folder / "ca.pem"),
        retry_total=0,
    )
    try:
        with client:
            until_it_answers(client, azurite, folder)
            yield client
    finally:
        os.killpg(azurite.pid, signal.SIGKILL)
        azurite.wait()


def until_it_answers(client: BlobServiceClient, azurite: subprocess.Popen[bytes], folder: Path) -> None:
    ends = time.monotonic() + START_S
    while True:
        try:
            client.get_service_properties()
        except HttpResponseError:
            raise
        except AzureError:
            assert azurite.poll() is None, (folder / "azurite.log").read_text()
            assert time.monotonic() < ends
            time.sleep(0.1)
        else:
            return


@pytest.fixture
def container(service: BlobServiceClient) -> ContainerClient:
    client = service.create_container(f"smk-{uuid.uuid4().hex}")
    client.upload_blob("there", b"1")
    return client


def string_to_sign(said: dict[str, str], resource: str, version: str) -> str:
    """What is signed, of a SAS with these query parameters, for ``/blob/account/container[/blob]``."""
    fields = [
        *(said["sp"], said["st"], said["se"], resource),
        *(said["skoid"], said["sktid"], said["skt"], said["ske"], said["sks"], said["skv"]),
        *("", "", "", "", ""),  # authorized, unauthorized, correlation; tenant and object of a delegated user
        *("", said["spr"], version, said["sr"], "", ""),  # IP range ... snapshot, encryption scope
        *(("", "") if version >= TWO_MORE_SINCE else ()),  # request headers and query parameters
        *("", "", "", "", ""),  # headers of the response
    ]
    return "\n".join(fields)


def signature(key: UserDelegationKey, text: str) -> str:
    return base64.b64encode(hmac.new(base64.b64decode(key.value), text.encode(), hashlib.sha256).digest()).decode()


def parameters(url: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}


def key_of(service: BlobServiceClient, said: dict[str, str]) -> UserDelegationKey:
    """The key that a SAS was signed with: for the same times, Azurite gives the same one."""
    times = (datetime.fromisoformat(said[name]) for name in ("skt", "ske"))
    return service.get_user_delegation_key(*times)


def as_azurite_knows_it(service: BlobServiceClient, url: str, resource: str) -> str:
    """The same SAS, signed for a version that Azurite knows."""
    said = parameters(url) | {"sv": AZURITES_VERSION}
    said["sig"] = signature(key_of(service, said), string_to_sign(said, resource, AZURITES_VERSION))
    return f"{url.split('?', maxsplit=1)[0]}?{urlencode(said)}"


def resource_of(container: ContainerClient, blob: str = "") -> str:
    return f"/blob/{ACCOUNT}/{container.container_name}" + (f"/{blob}" if blob else "")


def test_both_urls_are_signed_as_the_reference_says(service: BlobServiceClient, container: ContainerClient) -> None:
    access = make_access(container, 3600, delegation=service)

    for url in (access.read_url, access.write_url, blob_read_url(container, "there", 60, delegation=service)):
        said = parameters(url)
        assert said["sv"] >= TWO_MORE_SINCE
        resource = resource_of(container, "there" if said["sr"] == "b" else "")
        assert said["sig"] == signature(key_of(service, said), string_to_sign(said, resource, said["sv"]))
        assert (said["skoid"], said["sktid"], said["sks"], said["spr"]) == ("me", "tenant", "b", "https")


def test_azurite_lets_each_url_do_its_own_and_no_more(
    service: BlobServiceClient, container: ContainerClient, folder: Path
) -> None:
    access = make_access(container, 3600, delegation=service)
    trust = {"connection_verify": str(folder / "ca.pem"), "retry_total": 0}
    read, write = (
        as_azurite_knows_it(service, url, resource_of(container)) for url in (access.read_url, access.write_url)
    )
    one = as_azurite_knows_it(
        service, blob_read_url(container, "there", 60, delegation=service), resource_of(container, "there")
    )

    with ContainerClient.from_container_url(read, **trust) as reader:
        assert reader.download_blob("there").readall() == b"1"
        must_be_refused(lambda: reader.upload_blob("new", b"2"))
        must_be_refused(lambda: list(reader.list_blobs()))
    with ContainerClient.from_container_url(write, **trust) as writer:
        writer.upload_blob("new", b"2")
        must_be_refused(lambda: writer.download_blob("there"))
    with BlobClient.from_blob_url(one, **trust) as client:
        assert client.download_blob().readall() == b"1"
    with ContainerClient.from_container_url(read[:-6] + "AAAAA=", **trust) as forged:
        must_be_refused(lambda: forged.download_blob("there"))


def must_be_refused(call: object) -> None:
    with pytest.raises(HttpResponseError) as error:
        call()  # type: ignore[operator]  # a callable
    assert error.value.status_code == 403


@pytest.mark.parametrize("hours", [1, 24 * 365])
def test_never_longer_than_seven_days(service: BlobServiceClient, container: ContainerClient, hours: int) -> None:
    now = datetime.now(UTC)

    access = make_access(container, hours * 3600, delegation=service)

    said = parameters(access.read_url)
    start, end, key_end = (datetime.fromisoformat(said[name]) for name in ("st", "se", "ske"))
    assert start <= now - STARTS_EARLIER + timedelta(minutes=1)
    assert end <= key_end
    assert end - start <= LONGEST_DELEGATION
    assert end >= min(now + timedelta(hours=hours), start + LONGEST_DELEGATION) - timedelta(seconds=2)


def test_it_is_renewed_for_later_tasks(service: BlobServiceClient, container: ContainerClient) -> None:
    lifetimes = iter([60.0, 3600.0])
    grant = RenewedGrant(lambda: make_access(container, next(lifetimes), delegation=service))
    first = grant.access

    grant.extend()

    assert grant.access.expires - first.expires > timedelta(minutes=50)
    assert grant.access.read_url != first.read_url
    assert isinstance(grant_access(container, "run", 60, delegation=service), RenewedGrant)
