"""The example in three languages: each step in an image of its own, without Python or Snakemake."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from snakemake_executor_azurebatch.emulator import service as emulator
from snakemake_executor_azurebatch.emulator.agent.engine import COMMAND_VARIABLE
from snakemake_executor_azurebatch.emulator.testing import LocalBatch
from tests.contract.container_support import Tool, find_tool, unmount_below
from tests.workflow import language_images as images
from tests.workflow.conftest import Workdir
from tests.workflow.test_all_features import snapshot

EXAMPLE = Path(__file__).resolve().parents[2] / "example_languages"
SOURCE = EXAMPLE / "workflow/src/primes.c"
IMAGE_OF = {"compile": images.C, "primes": images.SMALL, "pairs": images.SMALL, "report": images.PERL}

#: What the example's ``run`` says as well. No rule runs in the image of the run, so it can be the smallest.
SETTINGS = ("--azurebatch-rule-containers", "--azurebatch-staging", "batch", "--container-image", images.SMALL)

#: source: OEIS A006880, the number of primes below powers of ten; 999,983 is the largest below a million.
KNOWN = "78498 primes below 1000000, the last is 999983.\n"


@pytest.fixture(scope="module")
def boxes(tmp_path_factory) -> Iterator[emulator.RunningService]:
    """A service whose tasks run in containers, with the images."""
    if reason := images.why_not():
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("podman")
    try:
        tool = find_tool("podman", folder)
        if not isinstance(tool, Tool):
            pytest.skip(tool)
        images.make_images(tool, folder / "images", SOURCE)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(COMMAND_VARIABLE, tool.text)
            for name, value in tool.environment.items():
                patch.setenv(name, value)
            options = emulator.StartOptions(container_runtime="podman")
            state = tmp_path_factory.mktemp("service")
            with emulator.start(state, lifeline=True, progress=print, options=options) as started:
                yield started.service
    finally:
        unmount_below(folder)


def example(folder: Path, service: emulator.RunningService) -> Workdir:
    """The example's files, with the images of this test."""
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("results", ".snakemake", "run"))
    file = folder / "config/config.yaml"
    config = yaml.safe_load(file.read_text())
    assert set(config["images"]) == {"c", "small", "perl"}
    config["images"] = {"c": images.C, "small": images.SMALL, "perl": images.PERL}
    file.write_text(yaml.safe_dump(config))
    return Workdir(folder, service)


@pytest.fixture(scope="module")
def locally(tmp_path_factory, service) -> dict[str, object]:
    """What Snakemake's own local executor makes, with the programs of this machine."""
    if reason := images.why_not():
        pytest.skip(reason)
    twin = example(tmp_path_factory.mktemp("locally") / "work", service)
    twin.run_locally().must_succeed()
    return snapshot(twin.path)


def images_of_tasks(service: emulator.RunningService) -> set[tuple[str, str | None]]:
    """Rules, and the images that their tasks ran in."""
    with LocalBatch(service).client() as client:
        return {
            (str(task.id).split("-")[0], task.container_settings and task.container_settings.image_name)
            for job in client.list_jobs()
            for task in client.list_tasks(str(job.id))
        }


def images_of_pools(service: emulator.RunningService) -> list[set[str]]:
    """What the nodes of each pool fetch before they take tasks."""
    with LocalBatch(service).client() as client:
        machines = [pool.virtual_machine_configuration for pool in client.list_pools()]
    return [set(machine.container_configuration.container_image_names or ()) for machine in machines]


@pytest.mark.long
def test_each_step_runs_in_its_image_whether_nodes_have_fetched_it_beforehand_or_not(tmp_path, boxes, locally):
    work = example(tmp_path / "work", boxes)

    work.run(*SETTINGS, "--until", "compile").must_succeed()
    fetched = images_of_pools(boxes)
    work.run(*SETTINGS).must_succeed()

    assert snapshot(work.path) == locally
    assert work.read("results/digits.txt").startswith(KNOWN)
    assert images_of_tasks(boxes) == set(IMAGE_OF.items())
    assert fetched == [{images.SMALL, images.C}]
    assert images_of_pools(boxes) == fetched  # the same pool, which lacks an image of the second run
    work.nothing_to_do()


def test_the_steps_run_with_programs_of_the_machine(tmp_path, service, locally):
    work = example(tmp_path / "work", service)

    work.run(*SETTINGS).must_succeed()

    assert snapshot(work.path) == locally
    assert work.read("results/digits.txt").startswith(KNOWN)
    assert {images.SMALL, images.PERL, images.C} in images_of_pools(service)
