"""The machine image of a pool, chosen from what the service supports."""

from datetime import UTC, datetime

import pytest
from azure.batch import models

from snakemake_executor_azurebatch.emulator.images import SUPPORTED
from snakemake_executor_azurebatch.pools.os_image import ChosenImage, SupportedImage, choose_image, read_supported

NOW = datetime(2026, 1, 1, tzinfo=UTC)
OF_THE_LOCAL_SERVICE = read_supported([models.BatchSupportedImage(image) for image in SUPPORTED])


def test_the_newest_verified_ubuntu_that_runs_containers():
    chosen = choose_image(None, None, OF_THE_LOCAL_SERVICE, NOW)
    assert chosen == ChosenImage("microsoft-dsvm", "ubuntu-hpc", "2404", "latest", "batch.node.ubuntu 24.04")


def test_an_image_whose_support_has_ended_is_not_chosen():
    ends = {image.name: image.ends for image in OF_THE_LOCAL_SERVICE}
    assert ends["microsoft-azure-batch:ubuntu-server-container:20-04-lts"] < NOW
    late = choose_image(None, None, OF_THE_LOCAL_SERVICE, datetime(2029, 6, 1, tzinfo=UTC))
    assert "no verified Ubuntu image" in str(late)


def test_nothing_else_is_chosen():
    others = [
        SupportedImage(
            "a", "b", "c", "batch.node.ubuntu 26.04", is_verified=False, capabilities=frozenset({"DockerCompatible"})
        ),
        SupportedImage("a", "b", "d", "batch.node.debian 13", capabilities=frozenset({"DockerCompatible"})),
        SupportedImage("a", "b", "e", "batch.node.ubuntu 26.04"),
    ]
    assert "give os_image" in str(choose_image(None, None, others, NOW))


def test_a_warning_before_the_end_of_support():
    chosen = choose_image(
        "microsoft-dsvm:ubuntu-hpc:2204", None, OF_THE_LOCAL_SERVICE, datetime(2027, 1, 1, tzinfo=UTC)
    )
    assert isinstance(chosen, ChosenImage)
    assert "support for the image microsoft-dsvm:ubuntu-hpc:2204 ends on 2027-04-01" in chosen.warning
    early = choose_image("microsoft-dsvm:ubuntu-hpc:2204", None, OF_THE_LOCAL_SERVICE, NOW)
    assert isinstance(early, ChosenImage)
    assert not early.warning


def test_the_agent_of_an_image_that_was_asked_for():
    chosen = choose_image("Canonical:ubuntu-24_04-lts:server:1.2", None, OF_THE_LOCAL_SERVICE, NOW)
    assert isinstance(chosen, ChosenImage)
    assert (chosen.node_agent_sku, chosen.version) == ("batch.node.ubuntu 24.04", "1.2")


@pytest.mark.parametrize("agent", [None, "batch.node.ubuntu 24.04"])
def test_an_image_that_is_not_supported(agent):
    chosen = choose_image("me:mine:1", agent, OF_THE_LOCAL_SERVICE, NOW)
    if agent is None:
        assert "give node_agent_sku, or one of" in str(chosen)
    else:
        assert isinstance(chosen, ChosenImage)
        assert (chosen.node_agent_sku, chosen.version) == (agent, "latest")
        assert "not among the images" in chosen.warning
