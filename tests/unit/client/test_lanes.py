"""Which way a job takes, and why."""

from dataclasses import replace

import pytest

from snakemake_executor_azurebatch.lanes import (
    AUTO,
    BATCH,
    SHELL,
    SNAKEMAKE,
    STAGER,
    Images,
    JobFacts,
    Wishes,
    choose_way,
)

FACTS = JobFacts("r")
RUN = Images("run:1")


def test_a_shell_command_runs_as_it_is_in_the_image_of_the_run():
    way = choose_way(FACTS, Wishes(), RUN)

    assert (way.lane, way.staging, way.image, way.refusal) == (SHELL, STAGER, "run:1", "")
    assert way.lane_reason == "a shell command that needs nothing of Snakemake"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"kind": "script"}, "it has no shell command (its rule has script)"),
        ({"kind": "run"}, "it has no shell command (its rule has run)"),
        ({"is_group": True}, "it is a group of jobs"),
        ({"has_own_shell": True}, "the Snakefile gives the name 'shell' another meaning"),
        ({"in_conda": True}, "it runs in a conda environment (--sdm conda)"),
        ({"in_env_modules": True}, "it loads environment modules (--sdm env-modules)"),
        ({"in_apptainer": True}, "it runs in apptainer (--sdm apptainer)"),
        ({"has_precommand": True}, "there is a --precommand"),
        ({"has_extended_benchmark": True}, "its benchmark is an extended one (--benchmark-extended)"),
        ({"streams": ("a",)}, "it has files that exist only while jobs run (pipe or service): a"),
        ({"node_local": ("a", "b")}, "it has files that stay on the node (nodelocal): a, b"),
        ({"stored": tuple("abcde")}, "a storage plugin moves files of it, in the task: a, b, c and 2 more"),
        ({"from_source_cache": ("a",)}, "it uses workflow.source_path: a"),
    ],
)
def test_what_needs_snakemake_gets_it_or_is_refused(changes, reason):
    facts = replace(FACTS, **changes)

    way = choose_way(facts, Wishes(), RUN)
    assert (way.lane, way.lane_reason, way.refusal) == (SNAKEMAKE, reason, "")

    refused = choose_way(facts, Wishes(lane=SHELL), RUN)
    assert refused.refusal == f"rule r: azurebatch_lane=shell is not possible: {reason}."


def test_several_reasons_are_all_told():
    way = choose_way(replace(FACTS, kind="script", in_conda=True), Wishes(), RUN)

    assert way.lane_reason == (
        "it has no shell command (its rule has script); it runs in a conda environment (--sdm conda)"
    )


def test_a_group_is_no_matter_of_its_directives():
    assert "no shell command" not in choose_way(JobFacts("g", is_group=True, kind="run"), Wishes(), RUN).lane_reason


def test_a_wish_for_snakemake_is_met():
    assert choose_way(FACTS, Wishes(lane=SNAKEMAKE), RUN).lane == SNAKEMAKE


@pytest.mark.parametrize(
    ("wishes", "text"),
    [
        (Wishes(lane="bash"), "rule r: resource azurebatch_lane is 'bash'; it can be auto, shell, snakemake."),
        (Wishes(staging="ftp"), "rule r: resource azurebatch_staging is 'ftp'; it can be auto, stager, batch."),
        (
            Wishes(lane=SNAKEMAKE, staging=BATCH),
            (
                "rule r: azurebatch_staging=batch is for rendered shell commands only, and this job runs Snakemake in "
                "its task."
            ),
        ),
        (Wishes(image="x.sif"), "rule r: 'x.sif' (azurebatch_image) is not an image of a container registry."),
    ],
)
def test_wishes_that_cannot_be_met(wishes, text):
    assert choose_way(FACTS, wishes, RUN).refusal == text


@pytest.mark.parametrize(
    ("wishes", "images", "image", "staging"),
    [
        (Wishes(), Images("run:1", "docker://busybox:1"), "run:1", STAGER),
        (Wishes(), Images("run:1", "docker://busybox:1", use_rule=True), "busybox:1", BATCH),
        (Wishes(), Images("run:1", "docker://run:1", use_rule=True), "run:1", STAGER),
        (Wishes(), Images("run:1", use_rule=True), "run:1", STAGER),
        (Wishes(image="own:2"), Images("run:1", "docker://busybox:1", use_rule=True), "own:2", BATCH),
        (Wishes(image="own:2", staging=STAGER), RUN, "own:2", STAGER),
        (Wishes(staging=BATCH), RUN, "run:1", BATCH),
        (Wishes(lane=SNAKEMAKE, image="own:2"), RUN, "own:2", STAGER),
        (Wishes(), Images(None), None, STAGER),
    ],
)
def test_who_stages_follows_from_the_image(wishes, images, image, staging):
    way = choose_way(FACTS, wishes, images)

    assert (way.image, way.staging, way.refusal) == (image, staging, "")


def test_files_of_a_storage_provider_need_the_stager():
    facts = replace(FACTS, staged_from_storage=("a",))

    assert choose_way(facts, Wishes(image="own:1"), RUN).staging == STAGER
    assert choose_way(facts, Wishes(staging=BATCH), RUN).refusal == (
        "rule r: azurebatch_staging=batch cannot move files of a storage provider: a."
    )


def test_an_image_of_its_own_needs_a_pool_with_containers():
    way = choose_way(FACTS, Wishes(image="own:2"), Images(None))

    assert way.refusal == "rule r: 'own:2' (azurebatch_image) needs a pool that runs containers."


def test_a_lane_is_chosen_whatever_is_wished_elsewhere():
    assert choose_way(FACTS, Wishes(lane=AUTO, image="shub://x/y"), RUN).lane == SHELL
