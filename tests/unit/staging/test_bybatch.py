"""Inputs that Azure Batch itself brings."""

from datetime import UTC, datetime, timedelta

import pytest

from snakemake_executor_azurebatch.errors import StagingError
from snakemake_executor_azurebatch.node.protocol import InputFile, Sources
from snakemake_executor_azurebatch.staging import bybatch
from snakemake_executor_azurebatch.staging.bybatch import MOST_SINGLE_FILES, ServiceAccess, blob_url, deliver
from snakemake_executor_azurebatch.staging.sas import Access

URL = "https://account.blob.core.windows.net/c?sv=1&sig=secret"


def inputs(count: int) -> list[InputFile]:
    return [InputFile(f"in {n}", f"inputs/{n:064d}", 1, "", 0o755) for n in range(count)]


def test_few_inputs_have_a_resource_file_each(store):
    delivery = deliver(store, "tasks/t", inputs(2), Sources("sources/x.tar.gz", 1, ""), URL)

    base = "https://account.blob.core.windows.net/c"
    assert [(one.url, one.path, one.prefix) for one in delivery.files] == [
        (f"{base}/tasks/t/batch/run.sh?sv=1&sig=secret", "smk/run.sh", ""),
        (f"{base}/inputs/{0:064d}?sv=1&sig=secret", "smk/in/0", ""),
        (f"{base}/inputs/{1:064d}?sv=1&sig=secret", "smk/in/1", ""),
        (f"{base}/sources/x.tar.gz?sv=1&sig=secret", "smk/sources", ""),
    ]
    assert [(one.arrives, one.path, one.mode) for one in delivery.arrivals] == [
        ("smk/in/0", "in 0", 0o755),
        ("smk/in/1", "in 1", 0o755),
    ]
    assert delivery.sources == "smk/sources"
    assert "secret" not in repr(delivery)


def test_many_inputs_are_gathered_under_one_prefix(store):
    store.upload_bytes("inputs/one", b"the same")
    wanted = [InputFile(f"in {n}", "inputs/one", 8, "") for n in range(MOST_SINGLE_FILES + 1)]

    delivery = deliver(store, "p/tasks/t", wanted, None, URL)

    assert [(one.path, one.prefix) for one in delivery.files[1:]] == [("smk/gathered", "p/tasks/t/batch/in/")]
    names = {str(blob.name) for blob in store.container.list_blobs("p/tasks/t/batch/in/")}
    assert names == {f"p/tasks/t/batch/in/{n}" for n in range(len(wanted))}
    assert delivery.arrivals[100].arrives == "smk/gathered/p/tasks/t/batch/in/100"
    assert store.read_bytes("p/tasks/t/batch/in/100", 10) == b"the same"


def test_too_many_are_refused_with_numbers(store, monkeypatch):
    monkeypatch.setattr(bybatch, "MOST_GATHERED_FILES", 150)

    with pytest.raises(StagingError, match=r"151 input files are too many .*\(150 at most\)"):
        deliver(store, "tasks/t", inputs(151), None, URL)


def test_names_in_urls():
    assert blob_url(URL, "tasks/t/outputs/a b%#?ü.txt") == (
        "https://account.blob.core.windows.net/c/tasks/t/outputs/a%20b%25%23%3F%C3%BC.txt?sv=1&sig=secret"
    )


def test_access_is_renewed_when_a_seventh_of_it_has_passed():
    made = []

    def make(_: float) -> Access:
        made.append(Access("r", "w", datetime.now(UTC) + timedelta(seconds=remaining_s)))
        return made[-1]

    remaining_s = 100.0
    access = ServiceAccess(make, 100)
    assert access.now() is access.now() is made[0]
    remaining_s = 80.0
    ending = ServiceAccess(make, 100)
    assert ending.now() is not ending.now()
