"""A real Azurite for the tests that ask for one. What it needs is imported only then."""

import uuid

import pytest


@pytest.fixture(scope="session")
def azurite(tmp_path_factory):
    from tests.unit.emulator.azurite_support import running_azurite

    with running_azurite(tmp_path_factory.mktemp("azurite")) as azurite:
        yield azurite


@pytest.fixture
def container(azurite):
    """A new blob container of its own for one test."""
    from azure.storage.blob import BlobServiceClient

    with (
        BlobServiceClient(azurite.blob_url, credential=azurite.key) as service,
        service.create_container(f"c{uuid.uuid4().hex}") as client,
    ):
        yield client
