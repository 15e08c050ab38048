"""Which container registry an image comes from, and whether a pool can sign in there (pure)."""

from __future__ import annotations

from collections.abc import Iterable

from snakemake_executor_azurebatch.pools.description import RegistryAccess

#: Where nothing can be had without signing in, unless its owner has said otherwise (source: Azure Container Registry
#: documentation, "anonymous pull access").
PRIVATE = (".azurecr.io", ".azurecr.cn", ".azurecr.us")
DOCKER_HUB = "docker.io"


def host_of(image: str) -> str:
    """The registry of an image. What has neither a dot nor a port is a folder of Docker Hub's (source: docker)."""
    first, slash, _ = image.removeprefix("docker://").partition("/")
    is_host = bool(slash) and ("." in first or ":" in first or first == "localhost")
    return first.lower() if is_host else DOCKER_HUB


def refused_images(images: Iterable[str], registries: Iterable[RegistryAccess]) -> list[str]:
    """Those images that the nodes of a pool with these registries could not fetch."""
    known = {registry.server.lower() for registry in registries}
    return [image for image in images if (host := host_of(image)).endswith(PRIVATE) and host not in known]
