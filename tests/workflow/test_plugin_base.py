"""The tests that Snakemake brings for executor plugins, in the mode without any storage provider."""

import pytest
from snakemake.common.tests import TestWorkflowsLocalStorageBase

from snakemake_executor_plugin_azurebatch import ExecutorSettings


@pytest.fixture(autouse=True)
def account(service, monkeypatch):
    for name, value in service.environment.items():
        monkeypatch.setenv(name, value)


class TestWithoutStorageProvider(TestWorkflowsLocalStorageBase):
    __test__ = True

    def get_executor(self):
        return "azurebatch"

    def get_executor_settings(self):
        return ExecutorSettings(poll_interval=0.3, task_slots_per_node=2)

    def get_assume_shared_fs(self):
        return False
