"""One service that fails on purpose for all tests, and a workdir with a pool of its own for each."""

from collections.abc import Iterator
from contextlib import suppress

import pytest
from azure.batch import BatchClient
from azure.core.credentials import AzureNamedKeyCredential
from azure.core.exceptions import ResourceNotFoundError

from snakemake_executor_azurebatch.emulator import service as emulator
from snakemake_executor_azurebatch.emulator.control import Control
from tests.workflow.conftest import Workdir
from tests.workflow.troubles.lab import PATIENCE_S, Lab


@pytest.fixture(scope="session")
def failing(tmp_path_factory) -> Iterator[emulator.RunningService]:
    options = emulator.StartOptions(has_blob_faults=True)
    state_dir = tmp_path_factory.mktemp("failing")
    with emulator.start(state_dir, lifeline=True, progress=print, options=options) as started:
        yield started.service


@pytest.fixture
def lab(tmp_path, failing, monkeypatch, request) -> Iterator[Lab]:
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    workdir = Workdir(folder, failing)
    variables = workdir.variables()
    key = AzureNamedKeyCredential(failing.account, variables["BATCH_ACCOUNT_KEY"])
    pool_id = f"pool-{abs(hash(request.node.nodeid)):x}"
    with BatchClient(failing.batch_url, key) as batch:
        lab = Lab(workdir, Control(failing), batch, pool_id)
        lab.control.clear_faults()  # of a test before, which may have failed
        yield lab
        lab.control.clear_faults()
        with suppress(ResourceNotFoundError):
            batch.begin_delete_pool(pool_id, polling_interval=0.05).wait(PATIENCE_S)
    promised = getattr(request.function, "provokes", frozenset())
    assert not promised or promised & lab.causes_seen(), f"{promised} were to be provoked"
