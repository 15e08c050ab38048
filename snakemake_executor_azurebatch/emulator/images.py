"""The VM images that the local service knows: a few of those of Azure, so that choices can be tried.

Which image a pool names makes no difference here: its nodes are this machine.
"""

from __future__ import annotations

from snakemake_executor_azurebatch.emulator.wire import Json

_DOCKER = ("DockerCompatible",)
_DOCKER_GPU = ("DockerCompatible", "NvidiaTeslaDriverInstalled", "NvidiaGridDriverInstalled", "SupportsRDMAOnly")


def _image(
    name: str, agent: str, capabilities: tuple[str, ...] = (), *, end: str = "", is_verified: bool = True
) -> Json:
    """``name``: publisher/offer/sku; ``end``: the day when no more pools can be made with the image."""
    publisher, offer, sku = name.split("/")
    image: Json = {
        "nodeAgentSKUId": f"batch.node.{agent}",
        "imageReference": {"publisher": publisher, "offer": offer, "sku": sku, "version": "latest"},
        "osType": "windows" if agent.startswith("windows") else "linux",
        "verificationType": "verified" if is_verified else "unverified",
    }
    if capabilities:
        image["capabilities"] = list(capabilities)
    if end:
        image["batchSupportEndOfLife"] = f"{end}T00:00:00Z"
    return image


SUPPORTED = (
    _image("microsoft-dsvm/ubuntu-hpc/2204", "ubuntu 22.04", _DOCKER_GPU, end="2027-04-01"),
    _image("microsoft-dsvm/ubuntu-hpc/2404", "ubuntu 24.04", _DOCKER_GPU, end="2029-04-01"),
    _image("microsoft-azure-batch/ubuntu-server-container/20-04-lts", "ubuntu 20.04", _DOCKER_GPU, end="2025-04-23"),
    _image("canonical/0001-com-ubuntu-server-jammy/22_04-lts", "ubuntu 22.04", end="2027-04-01"),
    _image("canonical/0001-com-ubuntu-server-jammy/22_04-lts-gen2", "ubuntu 22.04", ("Generation2VMImage",)),
    _image("canonical/ubuntu-24_04-lts/server", "ubuntu 24.04", ("Generation2VMImage",), end="2029-04-01"),
    _image("almalinux/almalinux-x86_64/9-gen2", "el 9", ("Generation2VMImage",)),
    _image("debian/debian-12/12", "debian 12", is_verified=False),
    _image("microsoftwindowsserver/windowsserver/2022-datacenter", "windows amd64"),
    _image("microsoftwindowsserver/windowsserver/2022-datacenter-core-with-containers", "windows amd64", _DOCKER),
)
