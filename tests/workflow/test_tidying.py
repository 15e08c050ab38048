"""When nothing is removed at the end of a run, and what it says then."""

import os
import uuid
from contextlib import nullcontext

import pytest
from azure.batch import BatchClient, models
from azure.core.credentials import AzureNamedKeyCredential
from azure.storage.blob import ContainerClient

from snakemake_executor_azurebatch.run.ledger import Ledger
from snakemake_executor_azurebatch.run.tidy import WORKDIR_ID, Tidying
from snakemake_executor_azurebatch.staging import home
from snakemake_executor_azurebatch.staging.index import Index
from snakemake_executor_azurebatch.staging.store import BlobStore
from snakemake_executor_azurebatch.staging.transfer import Transfers

OLD = f"inputs/{'a' * 64}"


@pytest.fixture
def batch(service):
    credential = AzureNamedKeyCredential(service.account, service.environment["BATCH_ACCOUNT_KEY"])
    with BatchClient(service.batch_url, credential) as client:
        yield client


@pytest.fixture
def tidying(batch, service, tmp_path):
    """The end of a run in a blob container with one blob that nothing needs."""
    connection = service.environment["STORAGE_ACCOUNT_CONNECTION_STRING"]
    said = []
    with ContainerClient.from_connection_string(connection, f"smk-{uuid.uuid4().hex}") as container:
        store = BlobStore(container, owner="me")
        index = Index(tmp_path / "index.sqlite", store.ensure())
        home.register(store)
        ledger = Ledger(tmp_path / "ledger.sqlite", "store", said.append)
        transfers = Transfers(store, index)
        store.upload_bytes(OLD, b"old")
        yield Tidying(
            *(batch, store, index, transfers, said.append),
            keep_s=0,
            workdir_id=uuid.uuid4().hex,
            own_job_id="own",
            ledger=ledger,
            is_locked=True,
            alone=lambda: nullcontext(True),
            armed=True,
        )
        transfers.close()
        ledger.close()
        index.close()
        store.close()


def is_there(tidying: Tidying) -> bool:
    return tidying.store.describe(OLD) is not None


def said(tidying: Tidying) -> list[str]:
    return tidying.say.__self__


def test_what_nothing_needs_goes(tidying):
    tidying()

    assert not is_there(tidying)
    assert said(tidying) == ["Removed 1 blob (3 B) that nothing here needs."]


def test_nothing_goes_while_another_run_is_alive(tidying):
    tidying.alone = lambda: nullcontext(False)

    tidying()

    assert is_there(tidying)
    assert said(tidying) == ["No blobs are removed: another run may be alive in this folder."]


@pytest.mark.parametrize(
    ("name", "value"), [("keep_s", None), ("keep_s", 3600.0), ("is_locked", False), ("armed", False)]
)
def test_nothing_goes_and_nothing_is_said(tidying, name, value):
    setattr(tidying, name, value)

    tidying()

    assert is_there(tidying)
    assert said(tidying) == []


def test_blobs_are_not_looked_at_again_so_soon(tidying, tmp_path):
    tidying.looked_file, tidying.keep_s = tmp_path / "looked", 3600.0
    tidying()
    assert tidying.looked_file.exists()
    tidying.keep_s = 0.001  # what is as old may go, and the last look is longer ago than a fourteenth of that

    tidying()

    assert not is_there(tidying)
    tidying.store.upload_bytes(OLD, b"old")
    tidying.keep_s = 3600.0
    os.utime(tidying.looked_file)
    tidying.index.close()  # a look would need it

    tidying()

    assert is_there(tidying)
    assert len(said(tidying)) == 1


def test_a_young_blob_container_is_not_looked_at(tidying, tmp_path):
    tidying.looked_file, tidying.keep_s = tmp_path / "looked", 3600.0
    tidying.index.close()  # a look would need it

    tidying()

    assert tidying.looked_file.exists()
    assert said(tidying) == []
    tidying.keep_s, tidying.store = 3600.0, BlobStore(tidying.store.container)  # one that it has not made
    tidying.looked_file.unlink()

    tidying()

    assert not tidying.looked_file.exists()
    assert said(tidying)[0].startswith("Warning: blobs that nothing needs any more were not all removed: ")


def test_a_cancelled_run_ends_at_once(tidying):
    tidying.store.abort()

    tidying()

    assert is_there(tidying)


def test_nothing_goes_while_another_batch_job_of_the_workdir_has_not_ended(tidying, batch):
    job_id = f"alive-{uuid.uuid4().hex}"
    batch.create_job(
        models.BatchJobCreateOptions(
            id=job_id,
            pool_info=models.BatchPoolInfo(pool_id="none"),
            metadata=[models.BatchMetadataItem(name=WORKDIR_ID, value=tidying.workdir_id)],
        )
    )

    tidying()

    assert is_there(tidying)
    assert said(tidying) == [f"No blobs are removed: {job_id} of this working directory may still run."]
    tidying.own_job_id = job_id
    tidying()
    assert not is_there(tidying)


def test_what_cannot_be_done_is_a_warning(tidying):
    tidying.store.container.delete_container()

    tidying()

    [warning] = said(tidying)
    assert warning.startswith("Warning: blobs that nothing needs any more were not all removed: ")
    assert "ContainerNotFound" in warning
