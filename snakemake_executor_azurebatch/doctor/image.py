"""The container image: its name, and its registry as far as it can be seen from here."""

from __future__ import annotations

import re
from collections.abc import Iterator

import requests

from snakemake_executor_azurebatch.doctor import mends
from snakemake_executor_azurebatch.doctor.findings import Finding, failed, passed, skipped, warned
from snakemake_executor_azurebatch.options import PoolOptions
from snakemake_executor_azurebatch.pools.registries import DOCKER_HUB, PRIVATE, host_of

ABOUT = "container image"
#: source: reference of the distribution project, grammar of image names.
_NAME = re.compile(
    r"(?:(?P<host>[a-zA-Z0-9.-]+(?::\d+)?)/)?"
    r"(?P<path>[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)*)"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?"
)
_ANSWER_S = 10


def check_image(image: str, pool: PoolOptions, *, has_pools_file: bool) -> Iterator[Finding]:
    """Its name; then its registry."""
    found = _NAME.fullmatch(image)
    if found is None:
        yield failed(
            ABOUT,
            f"{image!r} is not the name of an image",
            "container-image: REGISTRY.azurecr.io/NAME:TAG   # in the profile; small letters, without docker://",
        )
        return
    host = host_of(image)
    if found["digest"] or found["tag"] not in (None, "latest"):
        yield passed(ABOUT, image)
    else:
        yield warned(
            ABOUT,
            f"{image}: nodes keep the image of a tag that they have fetched, so old and new code can run side by side",
            f"container-image: {image.removesuffix(':latest')}:1   # in the profile, and another tag for each build",
        )
    if not has_pools_file:
        yield from _access(host, pool)
    yield _registry(host, pool)


def _access(host: str, pool: PoolOptions) -> Iterator[Finding]:
    about = "registry sign-in"
    if pool.registry_server and host != DOCKER_HUB and pool.registry_server.lower() != host.lower():
        yield failed(
            about,
            f"the image is in {host}, and the sign-in is for {pool.registry_server}",
            f"azurebatch-registry-server: {host}   # in the profile",
        )
    elif host.endswith(PRIVATE) and not pool.registry_server:
        name = host.partition(".")[0]
        yield warned(
            about,
            f"{host} is private unless you have opened it, and nodes get neither a password nor an identity for it",
            f"snakemake-azurebatch setup ... --registry {name} --identity NAME"
            f"   # or azurebatch-registry-server: {host}",
        )


def _registry(host: str, pool: PoolOptions) -> Finding:
    """Whether it answers, and takes the password. source: API of the distribution project, ``GET /v2/``."""
    about = "registry"
    if host == DOCKER_HUB:
        return skipped(about, "Docker Hub is not asked: it counts requests")
    is_here = host.partition(":")[0] in ("localhost", "127.0.0.1")
    sign_in = (
        (pool.registry_username, pool.registry_password)
        if pool.registry_username and pool.registry_password and (pool.registry_server or "").lower() == host.lower()
        else None
    )
    try:
        status = requests.get(
            f"{'http' if is_here else 'https'}://{host}/v2/", auth=sign_in, timeout=_ANSWER_S, allow_redirects=False
        ).status_code
    except requests.RequestException as error:
        return warned(
            about,
            f"{host} does not answer here ({type(error).__name__}); nodes may see it",
            f"az acr check-health --name {host.partition('.')[0]} --yes",
        )
    if status == 401 and sign_in:
        return failed(
            about,
            f"{host} refuses the password of {pool.registry_username}",
            mends.registry_password(host.partition(".")[0]),
        )
    return passed(about, f"{host} answers{' and takes the password' if sign_in and status == 200 else ''}")
