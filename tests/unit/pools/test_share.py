"""What a job gets of a node goes into its task; settings of one pool do not go with a file of pools."""

import pytest

from snakemake_executor_azurebatch.errors import AzureBatchError, SettingsError
from snakemake_executor_azurebatch.jobs import JobRequest, Share
from snakemake_executor_azurebatch.options import read_options
from snakemake_executor_azurebatch.pools.choose import Capacity
from snakemake_executor_azurebatch.pools.description import Span
from snakemake_executor_azurebatch.run.placing import OVERHEAD_MIB, Placing
from snakemake_executor_azurebatch.settings import ExecutorSettings
from snakemake_executor_azurebatch.tasks import Surroundings, task_options

NODE = Capacity("a", "smk-a", "Standard_D4s_v5", 4, 4, 8192, 10_000, 0, dedicated=Span(0, 1), price=1.0)


def request(threads: int, **resources) -> JobRequest:
    return JobRequest("key", "rule", threads, None, "true", resources=resources)


def test_slots_and_limits_go_into_the_task():
    placed = Placing([NODE]).placed(request(2, mem_mib=6000))
    assert placed.share == Share("a", 3, f"--cpus 2 --memory {6000 + OVERHEAD_MIB}m", "the only pool")
    task = task_options(placed, {}, Surroundings("image", 4, "url"))
    assert task["requiredSlots"] == 3
    assert task["containerSettings"]["containerRunOptions"] == placed.share.run_options


def test_memory_is_limited_only_where_it_is_asked_for():
    assert Placing([NODE]).placed(request(1)).share.run_options == "--cpus 1"


def test_without_pools_to_choose_from_nothing_changes():
    plain = request(2, mem_mb=10**9)
    assert Placing(()).placed(plain) is plain
    task = task_options(plain, {}, Surroundings("image", 4, "url"))
    assert (task["requiredSlots"], task["containerSettings"]) == (2, {"imageName": "image"})


def test_a_job_that_has_grown_too_large_is_refused():
    """As with resources that grow with each attempt."""
    with pytest.raises(AzureBatchError, match="rule rule needs 9 GiB of memory; the most that a node gives"):
        Placing([NODE]).placed(request(1, mem_mib=9 * 1024))


@pytest.mark.parametrize(
    ("setting", "value"), [("pool_id", "mine"), ("vm_size", "Standard_D8s_v5"), ("spot_nodes", 3), ("subnet_id", "x")]
)
def test_settings_of_one_pool_beside_a_file(setting, value):
    with pytest.raises(SettingsError) as caught:
        read_options(ExecutorSettings(emulator=True, pools="pools.yaml", **{setting: value}), {})
    (problem,) = caught.value.problems
    assert problem.startswith(f"--azurebatch-{setting.replace('_', '-')} is for the one pool of the settings")


def test_a_file_without_a_name():
    with pytest.raises(SettingsError, match="--azurebatch-pools is empty"):
        read_options(ExecutorSettings(emulator=True, pools=" "), {})


def test_settings_that_go_with_a_file():
    options = read_options(ExecutorSettings(emulator=True, pools="a/pools.yaml", delete_pool=True), {})
    assert (options.pools_file, options.pool.delete) == ("a/pools.yaml", True)
