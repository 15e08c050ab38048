"""``doctor`` on images, registries and storage accounts that are not as they should be."""

import base64
import os

from tests.workflow.doctor.office import CLOSED, Quiet, other_key, serving


def test_a_name_that_is_none_of_an_image(office):
    office.profile(container_image="docker://Ubuntu")
    office.fails("container image", "is not the name of an image", "container-image: REGISTRY.azurecr.io/NAME:TAG")


class Registry(Quiet):
    """One with a password."""

    def respond(self) -> None:
        sent = self.headers.get("Authorization", "")
        self.answer(200 if sent == f"Basic {base64.b64encode(b'me:pass-that-is-right').decode()}" else 401)


def test_a_password_that_the_registry_refuses(office):
    with serving(Registry) as host:
        for password, fails in (("pass-that-is-wrong", True), ("pass-that-is-right", False)):
            office.set("REGISTRY_PASSWORD", password)
            office.profile(
                container_image=f"{host}/tools:1", azurebatch_registry_server=host, azurebatch_registry_username="me"
            )
            if fails:
                office.fails("registry", "refuses the password of me", "export REGISTRY_PASSWORD=$(az acr credential")
            else:
                assert office.findings()[0] == 0


def test_a_sign_in_for_another_registry(office):
    office.set("REGISTRY_PASSWORD", "secret-password")
    office.profile(azurebatch_registry_server="other.azurecr.io", azurebatch_registry_username="me")
    said = "the image is in 127.0.0.1:1, and the sign-in is for other.azurecr.io"
    office.fails("registry sign-in", said, "azurebatch-registry-server: 127.0.0.1:1")


def test_a_private_registry_without_sign_in_is_a_warning(office):
    office.profile(container_image="mine.azurecr.io/tools")
    found = {one["about"]: one for one in office.findings()[1]}
    assert found["registry sign-in"]["verdict"] == found["container image"]["verdict"] == "warn"
    assert "setup ... --registry mine --identity NAME" in found["registry sign-in"]["mend"]


def storage_at(office, url: str, key: str | None = None) -> None:
    name, known = "devstoreaccount1", office.service.environment["STORAGE_ACCOUNT_KEY"]
    text = f"AccountName={name};AccountKey={key or known};BlobEndpoint={url}/{name}"
    office.set("STORAGE_ACCOUNT_CONNECTION_STRING", text)


def test_a_storage_account_that_is_not_there(office):
    storage_at(office, CLOSED)
    office.fails("storage account", "no such storage account, or no network", "az storage account list")


def test_a_wrong_storage_key(office):
    key = other_key(os.environ["STORAGE_ACCOUNT_KEY"])
    storage_at(office, office.service.blob_url.rpartition("/")[0], key)
    office.fails("storage account", "the key is not that of this account", "export STORAGE_ACCOUNT_KEY=$(az storage")


class ReadOnly(Quiet):
    """Blob storage as those see it who have only a reader's role. source: Blob service error codes."""

    def respond(self) -> None:
        if self.command == "PUT":
            self.answer(403, "AuthorizationPermissionMismatch")
        else:
            self.answer(200)


def test_storage_that_can_only_be_read(office):
    with serving(ReadOnly) as host:
        storage_at(office, f"http://{host}")
        said = "AuthorizationPermissionMismatch (HTTP 403)"
        office.fails("storage write, read, delete", said, "export STORAGE_ACCOUNT_KEY=$(az storage account keys list")
