"""The transport of blob storage's client looks at the environment once."""

import pytest

from snakemake_executor_azurebatch.connections import CERTIFICATES, many_connections

NAMES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "ftp_proxy", "REQUEST_METHOD")


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch):
    for name in (*NAMES, *map(str.upper, NAMES), *CERTIFICATES):
        monkeypatch.delenv(name, raising=False)


def trusts_environment() -> bool:
    with many_connections(1, 2) as transport:
        return transport.session.trust_env


def test_nothing_is_looked_for_where_nothing_is_set():
    assert not trusts_environment()


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "http_proxy", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_a_proxy_or_certificates_count(name, monkeypatch):
    monkeypatch.setenv(name, "http://127.0.0.1:9")

    assert trusts_environment()


def test_timeouts_are_those_that_were_asked_for():
    with many_connections(1, 2) as transport:
        assert (transport.connection_config.timeout, transport.connection_config.read_timeout) == (1, 2)
