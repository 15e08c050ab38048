"""Pools, before there are any: VM size, machine image, and what pools that are there say of quotas and nodes."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

from snakemake_executor_azurebatch.doctor import mends
from snakemake_executor_azurebatch.doctor.findings import Finding, failed, passed, skipped, warned
from snakemake_executor_azurebatch.errors import NotFound, ServiceError, service
from snakemake_executor_azurebatch.options import Account, Options
from snakemake_executor_azurebatch.pools.catalogue import Catalogue, bundled
from snakemake_executor_azurebatch.pools.config import PoolsFileError, read_pools
from snakemake_executor_azurebatch.pools.managed import INSTALL, is_managed, why_not
from snakemake_executor_azurebatch.pools.os_image import SupportedImage, choose_image, read_supported
from snakemake_executor_azurebatch.pools.registries import host_of, refused_images
from snakemake_executor_azurebatch.pools.spec import PoolSpec
from snakemake_executor_azurebatch.run.waiting import node_troubles, resize_errors_of, scaling_error_of, word

if TYPE_CHECKING:
    from azure.batch import BatchClient, models

_BROKEN = ("unusable", "starttaskfailed", "unknown")
MIB_PER_GIB = 1024


@dataclass(frozen=True, slots=True)
class Wanted:
    """A pool as far as it is looked at here."""

    name: str
    pool_id: str
    vm_size: str | None  #: None: known to the service only
    os_image: str | None  #: publisher:offer:sku; None: the newest that the service has
    node_agent_sku: str | None
    slots: int | None
    most_nodes: int
    spot_nodes: int
    is_given: bool = False  #: by id: one of the user's
    is_managed: bool = False  #: only Azure Resource Manager can make it
    cannot_fetch: tuple[str, ...] = ()  #: images of private registries that it has no sign-in for


def wanted_pools(options: Options, image: str, folder: Path) -> tuple[list[Wanted], Catalogue, list[Finding]]:
    """What the settings or pools.yaml ask for; findings about the file itself. Relative to ``folder``."""
    if options.pools_file is None:
        return [_of_settings(options, image)], bundled(), []
    file = folder / options.pools_file
    try:
        read = read_pools(file, os.environ)
    except PoolsFileError as error:
        return [], bundled(), [failed("pools.yaml", str(error), f"Edit {file}; docs/pools.md has all keys")]
    wanted = [
        Wanted(
            *(pool.name, pool.pool_id, pool.vm_size, pool.os_image, pool.node_agent_sku, pool.slots),
            most_nodes=pool.dedicated.max + pool.spot.max,
            spot_nodes=pool.spot.max,
            is_given=pool.given_id is not None,
            is_managed=is_managed(pool),
            cannot_fetch=tuple(refused_images((image, *pool.images), pool.registries)) if not pool.given_id else (),
        )
        for pool in read.pools
    ]
    told = [warned("pools.yaml", warning, f"Edit {file}") for warning in read.warnings]
    return wanted, read.catalogue, told or [passed("pools.yaml", f"{len(wanted)} pools")]


def check_sign_in(pools: Iterable[Wanted], file: str) -> Iterator[Finding]:
    """Whether nodes of pools of a file could fetch their images (pure)."""
    for pool in pools:
        if pool.cannot_fetch:
            yield failed(
                f"registry sign-in ({pool.name})",
                f"nothing to sign in with for {', '.join(pool.cannot_fetch)}",
                f"registries: [{{server: {host_of(pool.cannot_fetch[0])}, username: ..., password_env: ...}}]"
                f"   # in {file}; or a pool with an identity: snakemake-azurebatch setup ... --identity NAME",
            )


def _of_settings(options: Options, image: str) -> Wanted:
    pool = options.pool
    return Wanted(
        *("of the settings", PoolSpec(pool, image).pool_id, pool.vm_size, ":".join(pool.os_image)),
        *(pool.node_agent_sku, pool.task_slots_per_node, pool.dedicated_nodes + pool.spot_nodes, pool.spot_nodes),
        is_given=pool.pool_id is not None,
    )


def check_sizes(pools: Iterable[Wanted], catalogue: Catalogue) -> Iterator[Finding]:
    """Whether the catalogue knows the VM sizes (pure). It does not know all that Azure has."""
    for pool in pools:
        if pool.vm_size is None:
            continue
        about, size = f"VM size ({pool.name})", catalogue.get(pool.vm_size.lower())
        if size is None:
            near = get_close_matches(pool.vm_size.lower(), catalogue, n=1, cutoff=0.8)
            meant = f" (did you mean {catalogue[near[0]].name}?)" if near else ""
            yield failed(
                about,
                f"{pool.vm_size} is not in the catalogue{meant}",
                "az batch location list-skus --location REGION --query '[].name' --output tsv"
                "   # if it is there, describe it below vm_sizes in pools.yaml",
            )
        elif pool.slots and pool.slots > min(4 * size.cores, 256):
            yield failed(
                about,
                f"{pool.slots} task slots; Azure Batch takes four for each of the {size.cores} cores of {size.name}",
                f"azurebatch-task-slots-per-node: {size.cores}   # in the profile",
            )
        elif pool.spot_nodes and not size.can_be_spot:
            yield failed(
                about, f"there are no spot nodes of size {size.name}", "azurebatch-spot-nodes: 0   # in the profile"
            )
        else:
            yield passed(about, f"{size.name}: {size.cores} cores, {size.memory_mib / MIB_PER_GIB:g} GiB of memory")


def supported_images(client: BatchClient) -> list[SupportedImage]:
    """What the service lists. Raises ServiceError."""
    with service("looking which machine images Azure Batch supports"):
        return read_supported(client.list_supported_images())


def check_images(pools: Iterable[Wanted], supported: list[SupportedImage], now: datetime) -> Iterator[Finding]:
    """Whether new nodes can have the machine images, and for how long (pure)."""
    instead = _newest(supported, now)
    for pool in pools:
        if pool.is_given and pool.os_image is None:
            continue
        about = f"machine image ({pool.name})"
        chosen = choose_image(pool.os_image, pool.node_agent_sku, supported, now)
        if isinstance(chosen, str):
            yield failed(about, chosen, instead)
            continue
        name = f"{chosen.publisher}:{chosen.offer}:{chosen.sku}"
        known = next((image for image in supported if image.name.lower() == name.lower()), None)
        if known is None or (known.ends is not None and known.ends <= now):
            yield failed(about, chosen.warning, instead)
        elif chosen.node_agent_sku != known.node_agent_sku:
            yield failed(
                about,
                f"{name} goes with {known.node_agent_sku}, not with {chosen.node_agent_sku}",
                f"azurebatch-node-agent-sku: {known.node_agent_sku}   # in the profile",
            )
        elif "DockerCompatible" not in known.capabilities:
            yield failed(about, f"{name} runs no containers", instead)
        elif chosen.warning:
            yield warned(about, chosen.warning, instead)
        else:
            yield passed(about, f"{name}, supported until {known.ends:%Y-%m-%d}" if known.ends else name)


def _newest(supported: list[SupportedImage], now: datetime) -> str:
    best = choose_image(None, None, supported, now)
    if isinstance(best, str):
        return best
    return (
        f"azurebatch-os-image: {best.publisher}:{best.offer}:{best.sku} and azurebatch-node-agent-sku: "
        f"{best.node_agent_sku}   # in the profile"
    )


def check_there(client: BatchClient, pools: Iterable[Wanted], account: Account) -> Iterator[Finding]:
    """What pools that are there say. Azure Batch tells quotas in no other way than by refusing nodes."""
    quota_seen = False
    for pool in pools:
        about = f"pool ({pool.name})"
        try:
            with service(f"looking at pool {pool.pool_id}"):
                there = client.get_pool(pool.pool_id)
                nodes = list(client.list_nodes(pool.pool_id))
        except NotFound:
            yield _not_there(about, pool, account)
            continue
        except ServiceError as error:
            yield failed(about, str(error), mends.access(account))
            continue
        findings = list(_of_pool(about, there, nodes, account))
        quota_seen = quota_seen or any("quota" in finding.said.lower() for finding in findings)
        yield from findings
    if not quota_seen:
        yield skipped("quota", "Azure Batch tells it only when it refuses nodes", mends.quota(account.name))


def _not_there(about: str, pool: Wanted, account: Account) -> Finding:
    if pool.is_managed and (missing := why_not(account.resource)):
        said = f"{pool.pool_id} is not there, and a run cannot make it with identities or tags; missing: {missing}"
        return failed(about, said, f"{INSTALL}; export BATCH_ACCOUNT_RESOURCE_ID=...")
    return passed(about, f"{pool.pool_id} is not there yet; a run makes it")


def _of_pool(about: str, pool: models.BatchPool, nodes: list[models.BatchNode], account: Account) -> Iterator[Finding]:
    name = str(pool.id)
    for code, words in resize_errors_of(pool, None):
        is_quota = "quota" in code.lower()
        mend = mends.quota(account.name) if is_quota else "Another VM size or region; or try again later"
        yield failed(about, f"{name} cannot get its nodes: {words}", mend)
    if error := scaling_error_of(pool):
        yield failed(
            about,
            f"formula of {name}: {error}",
            f"az batch pool autoscale enable --pool-id {name} --auto-scale-formula FORMULA",
        )
    broken = [node for node in nodes if word(node.state) in _BROKEN]
    if broken:
        why = "; ".join(dict.fromkeys(text for node in broken for text in node_troubles(node)))
        said = f"{len(broken)} of {len(nodes)} nodes of {name} take no tasks{f': {why}' if why else ''}"
        ids = " ".join(str(node.id) for node in broken)
        make = failed if len(broken) == len(nodes) else warned
        yield make(about, said, f"az batch node delete --pool-id {name} --node-list {ids}")
    machine = pool.virtual_machine_configuration
    if machine is None or not machine.container_configuration:
        yield warned(
            about, f"{name} runs tasks without containers", "A pool with a container configuration: docs/pools.md"
        )
    if not (pool.resize_errors or broken):
        yield passed(about, f"{name} is there, with {len(nodes)} nodes")


def now_utc() -> datetime:
    """The time of day."""
    return datetime.now(UTC)
