"""HTTPS with a certificate of the service's own, and bearer tokens, with the real SDK."""

from __future__ import annotations

import base64
import json
import stat
import subprocess
import sys
import time

import pytest
from azure.batch import BatchClient
from azure.core.credentials import AccessToken
from azure.core.exceptions import ClientAuthenticationError, ServiceRequestError

from snakemake_executor_azurebatch.emulator.service import StartOptions, find
from snakemake_executor_azurebatch.emulator.testing import running


def web_token(**claims) -> str:
    """A JSON web token; nobody here can check its signature."""
    parts = ({"alg": "RS256", "typ": "JWT"}, {"aud": "https://batch.core.windows.net/", **claims})
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts]
    return ".".join([*encoded, "c2lnbmF0dXJl"])


class Credential:
    """A credential that has its token already."""

    def __init__(self, token: str) -> None:
        self.token = token
        self.scopes = []

    def get_token(self, *scopes, **_):
        self.scopes += scopes
        return AccessToken(self.token, int(time.time()) + 3600)


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    with running(tmp_path_factory.mktemp("https"), StartOptions(with_blobs=False, is_https=True)) as found:
        yield found


def client_of(local, credential):
    return BatchClient(local.service.batch_url, credential, retry_total=0, connection_verify=local.service.ca_file)


def test_shared_key_over_https(local):
    assert local.service.batch_url.startswith("https://127.0.0.1:")
    with local.client() as client:
        assert list(client.list_pools()) == []


def test_a_bearer_token(local):
    credential = Credential(web_token(exp=int(time.time()) + 60))
    with client_of(local, credential) as client:
        assert list(client.list_pools()) == []
    assert credential.scopes == ["https://batch.core.windows.net//.default"]


@pytest.mark.parametrize(
    ("token", "reason"),
    [
        ("nonsense", "The token is not a JSON web token"),
        ("a.b.c", "The token is not a JSON web token"),
        (web_token(exp=1), "The token has expired"),
    ],
)
def test_a_bad_token_is_refused(local, token, reason):
    with client_of(local, Credential(token)) as client, pytest.raises(ClientAuthenticationError) as refused:
        list(client.list_pools())
    assert refused.value.status_code == 401
    assert refused.value.response.headers["WWW-Authenticate"].startswith('Bearer authorization_uri="https://')
    assert reason in str(refused.value.model.error_values[0].value)


def test_a_client_that_does_not_trust_the_certificate(local):
    with (
        BatchClient(local.service.batch_url, Credential(web_token()), retry_total=0) as client,
        pytest.raises(ServiceRequestError, match="CERTIFICATE_VERIFY_FAILED"),
    ):
        list(client.list_pools())


def test_files_and_environment(local):
    folder = local.service.state_dir / "tls"
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()}
    assert modes == {"ca.pem": 0o600, "server.pem": 0o600, "server.key": 0o600}
    ca = str(folder / "ca.pem")
    assert local.environment["REQUESTS_CA_BUNDLE"] == local.environment["SSL_CERT_FILE"] == ca
    assert find(local.service.state_dir) == local.service
    assert local.control.faults() == []
    code = "import ssl, sys, urllib.request as u\ntry: u.urlopen(sys.argv[1])\nexcept u.HTTPError as e: print(e.code)"
    done = subprocess.run(
        [sys.executable, "-c", code, local.service.batch_url.replace("127.0.0.1", "localhost") + "/pools"],
        env={"SSL_CERT_FILE": ca},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "400\n", done.stderr


def test_only_listed_tokens(tmp_path):
    tokens = tmp_path / "tokens"
    tokens.write_text(f"first\n\n{web_token(oid='2')}\n")
    options = StartOptions(with_blobs=False, is_https=True, bearer_tokens=tokens)
    with running(tmp_path / "state", options) as local:
        for token in ("first", web_token(oid="2")):
            with client_of(local, Credential(token)) as client:
                assert list(client.list_pools()) == []
        with client_of(local, Credential(web_token(oid="3"))) as client, pytest.raises(ClientAuthenticationError):
            list(client.list_pools())
        with local.client() as client:
            assert list(client.list_pools()) == []
