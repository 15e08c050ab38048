"""SharedKey as the real SDK sends it, and what is refused."""

from __future__ import annotations

import base64
import json
import urllib.error
import urllib.request

import pytest
from azure.core.exceptions import HttpResponseError
from azure.core.rest import HttpRequest

from .conftest import code_of, values_of


def _get(url: str, **headers: str) -> tuple[int, dict]:
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 (a local service)
    try:
        with urllib.request.urlopen(request) as response:  # noqa: S310 (a local service)
            return response.status, json.loads(response.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())


def test_a_wrong_key_is_refused(service):
    wrong = base64.b64encode(b"another key").decode()
    with service.client(key=wrong) as client, pytest.raises(HttpResponseError) as refused:
        client.get_pool("p")
    assert refused.value.status_code == 403
    assert code_of(refused) == "AuthenticationFailed"
    assert "Make sure the value of Authorization header is formed correctly" in refused.value.message


def test_another_account_is_refused(service):
    with service.client(account="somebody") as client, pytest.raises(HttpResponseError) as refused:
        list(client.list_pools())
    assert (refused.value.status_code, code_of(refused)) == (403, "AuthenticationFailed")


def test_no_signature_is_refused(service):
    status, body = _get(f"{service.url}/pools?api-version=2025-06-01")
    assert (status, body["code"]) == (403, "AuthenticationFailed")


def test_a_malformed_header_is_refused(service):
    status, body = _get(f"{service.url}/pools?api-version=2025-06-01", Authorization="SharedKey nonsense")
    assert (status, body["code"]) == (400, "InvalidAuthenticationInfo")


def test_a_bearer_token_is_refused_with_401(service):
    status, body = _get(f"{service.url}/pools?api-version=2025-06-01", Authorization="Bearer abc")
    assert (status, body["code"]) == (401, "AuthenticationFailed")


def test_an_old_date_is_refused(service):
    request = HttpRequest("GET", "/pools?api-version=2025-06-01")
    request.headers["ocp-date"] = "Mon, 06 Jan 2025 10:00:00 GMT"
    with service.client() as client, pytest.raises(HttpResponseError) as refused:
        client.send_request(request)
    assert (refused.value.status_code, code_of(refused)) == (403, "AuthenticationFailed")
    assert "15 minutes" in values_of(refused)["AuthenticationErrorDetail"]


def test_the_api_version_is_checked_before_the_signature(service):
    status, body = _get(f"{service.url}/pools")
    assert (status, body["code"]) == (400, "MissingRequiredQueryParameter")
    status, body = _get(f"{service.url}/pools?api-version=2019-08-01.10.0")
    assert (status, body["code"]) == (400, "UnsupportedRequestVersion")


@pytest.mark.parametrize(
    "version",
    ["2025-06-01", "2024-07-01.20.0", "2024-02-01.19.0", "2023-11-01.18.0", "2023-05-01.17.0", "2022-10-01.16.0"],
)
def test_every_version_that_clients_send_is_served(service, version):
    with service.client() as client:
        response = client.send_request(HttpRequest("GET", f"/pools?api-version={version}"))
    assert response.status_code == 200
