"""The resource id of the Batch account, from settings and environment."""

import pytest

from snakemake_executor_azurebatch.errors import SettingsError
from snakemake_executor_azurebatch.options import read_options
from snakemake_executor_azurebatch.resource_manager import AccountResource
from snakemake_executor_azurebatch.settings import ExecutorSettings
from tests.unit.client.test_options import AZURE

GUID = "01234567-89ab-cdef-0123-456789abcdef"
ID = f"/subscriptions/{GUID}/resourceGroups/my-group/providers/Microsoft.Batch/batchAccounts/genomics"


def resource(settings: ExecutorSettings, **environment: str) -> AccountResource | None:
    account = read_options(settings, {**AZURE, **environment}).account
    assert account is not None
    return account.resource


def test_where_it_comes_from():
    wanted = AccountResource(GUID, "my-group", "genomics")
    assert resource(ExecutorSettings(account_resource_id=ID)) == wanted
    assert resource(ExecutorSettings(), BATCH_ACCOUNT_RESOURCE_ID=f'"{ID}/"') == wanted
    assert resource(ExecutorSettings(), BATCH_ACCOUNT_RESOURCE_ID=ID.replace("resourceGroups", "resourcegroups"))
    assert resource(ExecutorSettings()) is None


def test_another_azure_resource_manager():
    found = resource(
        ExecutorSettings(account_resource_id=ID), BATCH_MANAGEMENT_URL="https://management.chinacloudapi.cn/"
    )
    assert found is not None
    assert (found.url, found.is_local) == ("https://management.chinacloudapi.cn", False)
    local = resource(ExecutorSettings(account_resource_id=ID), BATCH_MANAGEMENT_URL="http://127.0.0.1:8000")
    assert local is not None
    assert local.is_local


@pytest.mark.parametrize(
    ("resource_id", "url", "text"),
    [
        (
            "genomics",
            "",
            "--azurebatch-account-resource-id (or BATCH_ACCOUNT_RESOURCE_ID): 'genomics' is not like",
        ),
        (ID.replace(GUID, "mine"), "", "as this prints it: az batch account show --resource-group GROUP --name NAME"),
        (f"{ID}/pools/p", "", "is not like /subscriptions/GUID/resourceGroups/GROUP/providers/Microsoft.Batch/"),
        (ID.replace("genomics", "other"), "", "is of Batch account other, and the run is on genomics"),
        (ID, "management.azure.com", "BATCH_MANAGEMENT_URL: 'management.azure.com' is not a URL like https://"),
        (ID, "http://management.azure.com", "BATCH_MANAGEMENT_URL: 'http://management.azure.com' is not a URL like"),
        (ID, "https://[::1", "BATCH_MANAGEMENT_URL: 'https://[::1' is not a URL like"),
    ],
)
def test_what_is_wrong(resource_id, url, text):
    settings = ExecutorSettings(account_resource_id=resource_id, vm_size=" ")
    with pytest.raises(SettingsError) as caught:
        read_options(settings, {**AZURE, "BATCH_MANAGEMENT_URL": url})
    assert len(caught.value.problems) == 2, "with what else is wrong"
    assert text in caught.value.problems[0]
