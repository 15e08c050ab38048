"""The string to sign."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta

import pytest

from snakemake_executor_azurebatch.emulator.auth import SignedRequest, sign, strings_to_sign, verify
from snakemake_executor_azurebatch.emulator.faults import ServiceFault

KEY = base64.b64encode(b"a key").decode()
NOW = datetime(2026, 1, 5, 10, 0, tzinfo=UTC)
DATE = "Mon, 05 Jan 2026 10:00:00 GMT"


def request(method="GET", path="/jobs/j/tasks/t/files/wd%2Fsub%20dir%2Fx.txt", query="", **headers):
    found = {name.replace("_", "-"): value for name, value in headers.items()}
    return SignedRequest(method, path, query, {"ocp-date": DATE, **found})


def signed(unsigned: SignedRequest, text: str, account: str = "acct") -> SignedRequest:
    credential = f"SharedKey {account}:{base64.b64encode(sign(KEY, text)).decode()}"
    headers = {**unsigned.headers, "authorization": credential}
    return SignedRequest(unsigned.method, unsigned.raw_path, unsigned.raw_query, headers)


def first(unsigned: SignedRequest) -> str:
    return next(strings_to_sign(unsigned, "acct"))


def test_the_documented_form():
    unsigned = request(
        "POST",
        "/jobs/j/terminate",
        "timeOut=30&api-version=2025-06-01&$filter=state%20eq%20%27a%27&x=1+2&x=3",
        content_type="application/json; odata=minimalmetadata",
        content_length="12",
        if_match='"0x8D"',
        ocp_range="bytes=0-1",
        client_request_id="not signed",
    )
    assert first(unsigned).split("\n") == [
        "POST", "", "", "12", "", "application/json; odata=minimalmetadata", "", "", '"0x8D"', "", "", "",
        f"ocp-date:{DATE}",
        "ocp-range:bytes=0-1",
        "/acct/jobs/j/terminate",
        "$filter:state eq 'a'",
        "api-version:2025-06-01",
        "timeOut:30",
        "x:1 2",
    ]  # fmt: skip


def test_the_path_is_signed_raw():
    assert "/acct/jobs/j/tasks/t/files/wd%2Fsub%20dir%2Fx.txt" in first(request())


def test_the_known_key_gives_the_known_signature():
    """Computed once with openssl: printf S | openssl dgst -sha256 -hmac 'a key' -binary | base64"""
    assert base64.b64encode(sign(KEY, "GET\n")).decode() == "MxT0cuD8wXxrws1dJEnRQASNVgz04iqB24C3Zh1nBFE="


@pytest.mark.parametrize(
    ("unsigned", "replace"),
    [
        (request("DELETE"), ("\n\n\n0\n", "\n\n\n\n")),
        (request("DELETE", content_length="0"), ("", "")),
        (request("DELETE", content_length="0"), ("\n\n\n0\n", "\n\n\n\n")),
        (request("POST"), ("POST\n\n\n\n", "POST\n\n\n0\n")),
        (request(query="a=&b=1"), ("\nb:1", "\na:\nb:1")),
        (request(query="timeOut=30"), ("timeOut", "timeout")),
    ],
)
def test_forms_of_other_clients(unsigned, replace):
    verify(signed(unsigned, first(unsigned).replace(*replace)), "acct", KEY, NOW)


def test_a_date_that_a_proxy_adds_is_not_signed():
    plain = request()
    with_date = request(date="Mon, 05 Jan 2026 09:59:59 GMT")
    verify(signed(with_date, first(plain)), "acct", KEY, NOW)


def test_a_plain_date_is_signed():
    unsigned = SignedRequest("GET", "/pools", "", {"date": DATE})
    assert DATE in first(unsigned).split("\n")
    verify(signed(unsigned, first(unsigned)), "acct", KEY, NOW)


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"authorization": ""}, 403, "AuthenticationFailed"),
        ({"authorization": "Bearer x"}, 401, "AuthenticationFailed"),
        ({"authorization": "Basic x"}, 400, "InvalidAuthenticationInfo"),
        ({"authorization": "SharedKey acct"}, 400, "InvalidAuthenticationInfo"),
        ({"authorization": "SharedKey acct:###"}, 400, "InvalidAuthenticationInfo"),
        ({"authorization": "SharedKey acct:AAAA"}, 403, "AuthenticationFailed"),
        ({"authorization": "SharedKey other:AAAA"}, 403, "AuthenticationFailed"),
        ({"if-match": "x"}, 403, "AuthenticationFailed"),
        ({"ocp-range": "x"}, 403, "AuthenticationFailed"),
        ({"ocp-date": "soon"}, 403, "AuthenticationFailed"),
        ({"ocp-date": ""}, 403, "AuthenticationFailed"),
    ],
)
def test_refused(change, status, code):
    good = signed(request(), first(request()))
    verify(good, "acct", KEY, NOW)
    bad = SignedRequest(good.method, good.raw_path, good.raw_query, {**good.headers, **change})
    with pytest.raises(ServiceFault) as refused:
        verify(bad, "acct", KEY, NOW)
    assert (refused.value.fault.status, refused.value.fault.code) == (status, code)
    assert KEY not in str(refused.value.values)


@pytest.mark.parametrize("minutes", [-16, 16])
def test_15_minutes(minutes):
    good = signed(request(), first(request()))
    with pytest.raises(ServiceFault):
        verify(good, "acct", KEY, NOW + timedelta(minutes=minutes))
    verify(good, "acct", KEY, NOW + timedelta(minutes=minutes * 0.9))
