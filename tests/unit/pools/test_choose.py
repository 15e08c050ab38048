"""The pool for a job: the cheapest that fits, its slots, and what is said where none does."""

import pytest

from snakemake_executor_azurebatch.lanes import Way
from snakemake_executor_azurebatch.pools.catalogue import bundled, catalogue_of
from snakemake_executor_azurebatch.pools.choose import Capacity, Misfit, Placement, capacity_of, place, place_all
from snakemake_executor_azurebatch.pools.description import PoolDescription, Span
from snakemake_executor_azurebatch.pools.needs import Needs, read_needs
from snakemake_executor_azurebatch.pools.planning import PlannedJob, job_rows, nodes_for, pool_rows, start_nodes

GIB = 1024


def pool(name: str, vm_size: str, *, dedicated: int = 1, spot: int = 0, **options) -> Capacity:
    described = PoolDescription(
        name=name,
        vm_size=vm_size,
        size=bundled().get(vm_size.lower()),
        dedicated=Span(0, dedicated),
        spot=Span(0, spot),
        **options,
    )
    return capacity_of(described)


SMALL = pool("small", "Standard_D4ds_v5", dedicated=4)
MEMORY = pool("memory", "Standard_E16ds_v5")
SPOT = pool("spot", "Standard_D8ds_v5", dedicated=0, spot=9)
GPU = pool("gpu", "Standard_NC4as_T4_v3")
ALL = (SMALL, MEMORY, SPOT, GPU)


def placed(needs: Needs, pools=ALL) -> Placement:
    found = place(needs, pools)
    assert isinstance(found, Placement), found
    return found


def refused(needs: Needs, pools=ALL) -> str:
    found = place(needs, pools)
    assert isinstance(found, Misfit), found
    return found.text


@pytest.mark.parametrize(
    ("needs", "name", "slots"),
    [
        (Needs("r"), "spot", 1),
        (Needs("r", cores=3), "spot", 3),
        (Needs("r", may_be_spot=False), "small", 1),
        (Needs("r", may_be_spot=False, cores=4), "small", 4),
        (Needs("r", may_be_spot=False, cores=5), "memory", 5),
        (Needs("r", memory_mib=60 * GIB), "memory", 8),
        (Needs("r", disk_mib=300 * GIB), "memory", 9),
        (Needs("r", gpus=1), "gpu", 4),
        (Needs("r", gpus=1, gpu_model="t4"), "gpu", 4),
        (Needs("r", pool="memory"), "memory", 1),
        (Needs("r", pool="MEMORY"), "memory", 1),
        (Needs("r", vm_size="standard_d4ds_v5"), "small", 1),
        (Needs("r", pool=GPU.pool_id), "gpu", 1),
    ],
)
def test_the_cheapest_pool_that_fits(needs, name, slots):
    found = placed(needs)
    assert (found.pool.pool, found.slots) == (name, slots)


def test_slots_are_the_largest_share_of_a_node():
    assert (
        placed(Needs("r", memory_mib=4 * GIB, pool="small")).slots == 2
    )  # a quarter of what is not the system's, and more
    assert placed(Needs("r", memory_mib=15 * GIB, pool="small")).slots == 4
    assert placed(Needs("r", disk_mib=60 * GIB, pool="small")).slots == 2
    assert placed(Needs("r", cores=2, memory_mib=GIB, pool="small")).slots == 2


def test_slots_that_are_not_cores():
    thirds = pool("thirds", "Standard_D8ds_v5", task_slots=3)
    assert [placed(Needs("r", cores=cores), [thirds]).slots for cores in (1, 2, 3, 6, 8)] == [1, 1, 2, 3, 3]


def test_a_pool_that_fetches_the_image_goes_first_among_equals():
    other = pool("other", "Standard_D4ds_v5", dedicated=4, images=("tool:1",))
    assert placed(Needs("r"), [SMALL, other]).pool.pool == "small"
    assert placed(Needs("r", image="tool:1"), [SMALL, other]).pool.pool == "other"


@pytest.mark.parametrize(
    ("needs", "text"),
    [
        (
            Needs("align", memory_mib=900 * GIB),
            (
                "rule align needs 900 GiB of memory; the most that a node gives to tasks is 121.6 GiB of memory "
                "(pool memory, Standard_E16ds_v5)."
            ),
        ),
        (
            Needs("align", cores=64),
            "rule align needs 64 cores; the most that a node gives to tasks is 16 cores (pool memory, Standard_E16",
        ),
        (
            Needs("align", pool="small", cores=8),
            "rule align needs 8 cores; the most that a node gives to tasks is 4 cores (pool small, Standard_D4ds_v5).",
        ),
        (Needs("r", gpus=2), "rule r needs 2 GPUs; the most that a node gives to tasks is 1 GPU (pool gpu,"),
        (
            Needs("r", pool="huge"),
            "rule r: there is no pool huge (azurebatch_pool); there are small, memory, spot, gpu.",
        ),
        (
            Needs("r", vm_size="Standard_D2_v3"),
            "rule r: no pool is of VM size Standard_D2_v3 (azurebatch_vm_size); there are Standard_D4ds_v5,",
        ),
        (
            Needs("r", pool="small", vm_size="Standard_E16ds_v5"),
            "rule r: pool small (azurebatch_pool) is not of VM size Standard_E16ds_v5 (azurebatch_vm_size)",
        ),
        (
            Needs("r", pool="spot", may_be_spot=False),
            "rule r is not for spot nodes (azurebatch_spot), and every pool that it may use has some.",
        ),
        (
            Needs("r", cores=16, gpus=1),
            (
                "rule r needs 16 cores, 1 GPU, and no pool has all of it: small has 4 cores and 0 GPUs; "
                "memory has 0 GPUs; spot has 8 cores and 0 GPUs; gpu has 4 cores."
            ),
        ),
        (
            Needs("r", gpus=1, gpu_model="A100"),
            "GPU model A100, and no pool has all of it: small has 0 GPUs and no GPUs;",
        ),
    ],
)
def test_what_is_said_where_no_pool_fits(needs, text):
    assert text in refused(needs)


def test_everything_that_cannot_be_placed_is_told_once():
    needs = [Needs("a", cores=99), Needs("a", cores=99), Needs("b", gpus=5), Needs("c")]
    found, problems = place_all(needs, ALL)
    assert [placement.needs.rule for placement in found] == ["c"]
    assert [problem.partition(" needs")[0] for problem in problems] == ["rule a", "rule b"]


def test_a_size_that_is_not_known():
    unknown = Capacity("odd", "odd", "Standard_Q4_v9", slots=4)
    assert placed(Needs("r", cores=2), [unknown]).slots == 2
    assert "no pool has all of it: odd has a VM size that is not known" in refused(Needs("r", memory_mib=1), [unknown])
    assert placed(Needs("r", memory_mib=1, gpus=1, gpu_model="T4", pool="odd"), [unknown]).slots == 1
    assert placed(Needs("r"), [unknown, SMALL]).pool.pool == "small"


def test_nodes_with_gpus_are_for_jobs_that_ask_for_gpus():
    cheap = pool("cheap", "Standard_NC4as_T4_v3", dedicated=0, spot=1)
    assert placed(Needs("r"), [cheap, MEMORY]).pool.pool == "memory"
    assert placed(Needs("r", gpus=1), [MEMORY, cheap]).pool.pool == "cheap"
    assert placed(Needs("r"), [cheap]).pool.pool == "cheap"


def test_a_large_node_is_not_started_for_a_small_share_of_it():
    huge = pool("huge", "Standard_M128ms")
    assert placed(Needs("r", memory_mib=57221), [huge, MEMORY]).pool.pool == "memory"


def test_a_pool_without_containers():
    bare = capacity_of(
        PoolDescription(name="bare", vm_size="x", size=bundled()["standard_d4s_v5"]), has_containers=False
    )
    assert "bare has no containers" in refused(Needs("r", image="tool:1"), [bare])


def test_the_disk_of_a_size_without_a_temporary_one():
    assert pool("a", "Standard_D4s_v5").disk_mib == 14 * GIB
    assert pool("a", "Standard_D4s_v5", os_disk_gib=116).disk_mib == 100 * GIB
    assert pool("a", "Standard_D4s_v5", task_disk_mib=7).disk_mib == 7


def test_what_a_job_needs_is_read_from_its_resources():
    resources = {"mem_mb": 16000, "disk_mib": 5, "runtime": 90, "gpu": 1, "gpu_model": "T4", "azurebatch_spot": "no"}
    needs, problems = read_needs("r", 3, {**resources, "azurebatch_pool": "a"}, "tool:1")
    assert not problems
    assert needs == Needs("r", 3, 15259, 5, 1, "T4", 5400, "tool:1", "a", None, may_be_spot=False)


def test_mebibytes_go_before_megabytes():
    assert read_needs("r", 1, {"mem_mb": 1000, "mem_mib": 954})[0].memory_mib == 954


def test_nothing_in_particular():
    assert read_needs("r", 1, {"tmpdir": "/tmp", "runtime": 0, "mem_mb": "<TBD>"}) == (Needs("r"), [])


@pytest.mark.parametrize(
    ("resources", "problem"),
    [
        ({"mem_mb": "lots"}, "rule r: resource mem_mb is 'lots'; it can be a number from 0 up."),
        ({"disk_mb": -1}, "rule r: resource disk_mb is -1; it can be a number from 0 up."),
        ({"gpu": "T4"}, "rule r: resource gpu is 'T4'; it can be a number from 0 up."),
        ({"azurebatch_spot": "maybe"}, "resource azurebatch_spot is 'maybe'; it can be 1, true, yes, 0, false, no."),
    ],
)
def test_resources_that_mean_nothing(resources, problem):
    _, problems = read_needs("r", 1, resources)
    assert len(problems) == 1
    assert problem in problems[0]


def test_rows_of_a_plan():
    shell = Way("shell", "a shell command", "batch", "its own image", "tool:1", "container:")
    jobs = [PlannedJob("map", ("map",), shell, placed(Needs("map", cores=2)))] * 5
    sort = placed(Needs("sort", may_be_spot=False))
    jobs += [PlannedJob("sort", ("sort",), Way("snakemake", "asked for"), sort, is_final=False, retries=("later",))]
    first, second = job_rows(jobs)
    assert (first.rule, first.jobs, first.pool, first.vm_size, first.slots) == ("map", 5, "spot", "Standard_D8ds_v5", 2)
    assert (first.lane, first.image, first.pool_why) == ("shell", "tool:1", "the cheapest of 4 pools that fit")
    assert (first.lane_why, first.staging, first.staging_why) == ("a shell command", "batch", "its own image")
    assert (first.final, second.final, second.retries, second.members) == (5, 0, ("later",), ())
    assert (second.rule, second.jobs, second.pool, second.image) == ("sort", 1, "small", "")
    spot, small = pool_rows(jobs)
    assert (spot.nodes_useful, spot.dedicated_at_most, spot.spot_at_most) == (2, 0, 9)
    assert spot.price_per_hour_useful == pytest.approx(2 * 2.35 * 0.3, rel=0.01)
    assert spot.price_per_hour_at_most == pytest.approx(9 * 2.35 * 0.3, rel=0.01)
    (one, _) = pool_rows(jobs, at_once=1)
    assert (one.jobs, one.nodes_useful) == (5, 1)
    assert (small.jobs, small.nodes_useful, small.dedicated_at_most) == (1, 1, 4)


def test_a_price_that_nobody_knows():
    unknown = Capacity("odd", "odd", None, slots=4, dedicated=Span(0, 2))
    (row,) = pool_rows([PlannedJob("r", ("r",), Way("shell", ""), placed(Needs("r"), [unknown]))])
    assert row.price_per_hour_at_most is None


@pytest.mark.parametrize(
    ("slots", "per_node", "nodes"),
    [
        ([], 4, 0),
        ([1], 4, 1),
        ([1] * 8, 4, 2),
        ([4, 4, 1], 4, 3),
        ([3, 1, 3, 1], 4, 2),
        ([2, 2, 3, 1, 1], 4, 3),
        ([3] * 5 + [2], 8, 3),
        ([1] * 100_000, 7, 14286),
    ],
)
def test_nodes_that_tasks_can_use_at_once(slots, per_node, nodes):
    assert nodes_for(slots, per_node) == nodes


def test_packing_never_loses_a_task():
    import random

    chance = random.Random(7)
    for _ in range(300):
        per_node = chance.randint(1, 16)
        slots = [chance.randint(1, per_node) for _ in range(chance.randint(0, 40))]
        nodes = nodes_for(slots, per_node)
        assert -(-sum(slots) // per_node) <= nodes <= len(slots)


def test_nodes_to_begin_with():
    both = Capacity("a", "a", None, slots=4, dedicated=Span(1, 2), spot=Span(0, 3))
    assert start_nodes([], both) == (1, 0)
    assert start_nodes([4] * 2, both) == (2, 0)
    assert start_nodes([4] * 4, both) == (2, 2)
    assert start_nodes([4] * 99, both) == (2, 3)


def test_the_catalogue_is_sensible():
    sizes = bundled()
    assert len(sizes) > 500
    assert {size.family for size in sizes.values()} == {"D", "E", "F", "L", "M", "NC", "ND", "NV"}
    for size in sizes.values():
        assert size.cores > 0
        assert 1 <= size.memory_mib / 1024 / size.cores <= 31
        assert size.price > 0
        assert bool(size.gpus) == bool(size.gpu_model) == (size.family[0] == "N")
        assert size.architecture == ("arm64" if "p" in size.name.split("_")[1] else "x64")
    assert sizes["standard_d4s_v5"].price == 1
    assert sizes["standard_d4ds_v5"].temporary_disk_mib == 150 * GIB
    assert sizes["standard_m128ms"].memory_mib == 3892 * GIB


def test_the_last_of_two_sizes_counts():
    first, second = list(bundled().values())[:2]
    renamed = type(first)(first.name.upper(), 99, 1)
    assert catalogue_of([first, second, renamed])[first.name.lower()].cores == 99
