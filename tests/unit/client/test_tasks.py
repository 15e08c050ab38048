"""What Azure Batch is asked for."""

import pytest

from snakemake_executor_azurebatch.errors import StagingError
from snakemake_executor_azurebatch.jobs import JobRequest
from snakemake_executor_azurebatch.lanes import Way
from snakemake_executor_azurebatch.tasks import Surroundings, check_size, task_options


@pytest.mark.parametrize("is_elevated", [True, False])
def test_tasks_are_root_only_where_that_is_asked_for(is_elevated):
    around = Surroundings("image", 1, "https://stager", is_elevated=is_elevated)
    task = task_options(JobRequest("k", "rule", 1, None, "true"), {}, around)

    asked = {"autoUser": {"scope": "pool", "elevationLevel": "admin"}} if is_elevated else None
    assert task.get("userIdentity") == asked


@pytest.mark.parametrize(("keep", "time"), [("failed", None), ("all", None), ("none", "PT1M")])
def test_folders_of_completed_tasks_go_soon_only_where_none_is_to_stay(keep, time):
    around = Surroundings("image", 1, "https://stager", keep_files=keep)
    task = task_options(JobRequest("k", "rule", 1, None, "true"), {}, around)

    assert task["constraints"].get("retentionTime") == time


@pytest.mark.parametrize(
    ("way", "image"), [(None, "run:1"), (Way("shell", "", image="own:1"), "own:1"), (Way("shell", ""), None)]
)
def test_a_task_runs_in_the_image_of_its_job(way, image):
    task = task_options(JobRequest("k", "rule", 1, None, "true", way=way), {}, Surroundings("run:1", 1, "url"))

    assert task.get("containerSettings", {}).get("imageName") == image


def test_a_request_that_azure_batch_would_refuse_is_not_sent():
    def task(size_bytes: int):
        request = JobRequest("k", "rule", 1, None, "true", environment={"BIG": "x" * size_bytes})
        return task_options(request, {}, Surroundings("run:1", 1, "url"))

    check_size(task(990_000))
    with pytest.raises(StagingError, match=r"would have 1\d{6} bytes.* 1000000: .* environment variables"):
        check_size(task(1_000_000))
