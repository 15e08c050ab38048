"""Settings and environment, turned into validated Options.

Secrets come from the environment only. Every ``SNAKEMAKE_AZUREBATCH_*`` name goes before the names that
SuperBatch used.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from snakemake_executor_azurebatch import amounts
from snakemake_executor_azurebatch.errors import SettingsError
from snakemake_executor_azurebatch.lanes import LANES, STAGINGS, Defaults
from snakemake_executor_azurebatch.node.protocol import KEEPS
from snakemake_executor_azurebatch.resource_manager import AccountResource, read_resource
from snakemake_executor_azurebatch.settings import ExecutorSettings

Environment = Mapping[str, str]

#: Settings of the one pool that is there without ``pools.yaml``.
_ONE_POOL = ("pool_id", "spot_nodes", "task_slots_per_node", "registry_server", "registry_username", "subnet_id")
SCALINGS = LEASE, FIXED = ("lease", "fixed")


@dataclass(frozen=True, slots=True)
class Account:
    """A Batch account. ``key`` None: sign in with azure-identity."""

    url: str
    name: str
    key: str | None = field(default=None, repr=False)
    resource: AccountResource | None = None  #: None: not known


@dataclass(frozen=True, slots=True)
class Storage:
    """A storage account by its blob endpoint. ``key`` None: sign in with azure-identity."""

    blob_url: str
    name: str
    key: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class PoolOptions:
    """The one pool of this version."""

    pool_id: str | None
    vm_size: str
    dedicated_nodes: int
    spot_nodes: int
    task_slots_per_node: int
    os_image: tuple[str, str, str]  #: publisher, offer, sku
    node_agent_sku: str
    registry_server: str | None
    registry_username: str | None
    subnet_id: str | None
    delete: bool
    scaling: str = LEASE
    registry_password: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class NodeCache:
    """Limits of the cache of inputs on a node. None: the stager's own."""

    max_bytes: int | None = None  #: 0: no cache
    min_free_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Troubles:
    """How long what fails is put up with."""

    infrastructure_retries: int
    service_patience_s: float
    pool_patience_s: float
    spot_preemptions: int  #: of a task, before it goes to dedicated nodes; 0: it never does


@dataclass(frozen=True, slots=True)
class Options:
    """Validated settings of a run. ``account`` and ``storage`` are None where the local service gives them."""

    emulator: bool
    account: Account | None
    storage: Storage | None
    blob_container: str | None
    pool: PoolOptions
    pools_file: str | None  #: describes pools in place of ``pool``
    poll_interval_s: float
    sas_lifetime_s: float
    extra_files: tuple[str, ...]
    delete_job: bool
    detach: bool  #: leave when everything that is ready was submitted
    run_elevated: bool  #: tasks are root in their containers
    keep_blobs_s: float | None  #: how long blobs stay that nothing needs; None: for ever
    node_cache: NodeCache
    keep_task_files: str  #: of which completed tasks files stay on their nodes: KEEP_* of the protocol
    ways: Defaults  #: how jobs travel whose rule does not say it
    no_prefetch: bool  #: nodes get the images of rules with the first task that needs one
    troubles: Troubles


def read_options(settings: ExecutorSettings, environment: Environment) -> Options:
    """Validate ``settings`` together with the secrets of ``environment``.

    Raises SettingsError, listing every problem at once.
    """
    problems: list[str] = []
    account = storage = None
    if settings.pools and settings.detach:
        problems.append(
            "--azurebatch-detach works with one pool: leave out --azurebatch-pools, or leave out --azurebatch-detach"
        )
    if settings.emulator and settings.detach:
        problems.append(
            "--azurebatch-detach: the local service that --azurebatch-emulator starts ends with snakemake, and its "
            "tasks with it. Start one with 'snakemake-azurebatch emulator start', and name it as you would an account"
        )
    if settings.emulator:
        if settings.account_url or settings.storage_account:
            problems.append(
                "--azurebatch-emulator starts a service of its own: leave out --azurebatch-account-url and "
                "--azurebatch-storage-account, or leave out --azurebatch-emulator"
            )
    else:
        account = _account(settings, environment, problems)
        storage = _storage(settings, environment, problems)
    _check_numbers(settings, problems)
    options = Options(
        emulator=settings.emulator,
        account=account,
        storage=storage,
        blob_container=_blob_container(settings, problems),
        pool=_pool(settings, environment, problems),
        pools_file=_pools_file(settings, problems),
        poll_interval_s=settings.poll_interval,
        sas_lifetime_s=settings.sas_hours * 3600,
        extra_files=tuple(p.strip() for p in (settings.extra_files or "").split(",") if p.strip()),
        delete_job=settings.delete_job,
        detach=settings.detach,
        run_elevated=settings.run_elevated,
        keep_blobs_s=_keep_blobs_s(settings.blob_retention, problems),
        node_cache=NodeCache(
            max_bytes=0 if settings.node_cache == "off" else _size("node-cache", settings.node_cache, problems),
            min_free_bytes=_size("node-free", settings.node_free, problems),
        ),
        keep_task_files=_one_of("keep-task-files", settings.keep_task_files, KEEPS, problems),
        ways=Defaults(
            lane=_one_of("lane", settings.lane, LANES, problems),
            staging=_one_of("staging", settings.staging, STAGINGS, problems),
            use_rule_containers=settings.rule_containers,
        ),
        no_prefetch=settings.no_prefetch,
        troubles=_troubles(settings),
    )
    if problems:
        raise SettingsError(problems)
    return options


def _troubles(settings: ExecutorSettings) -> Troubles:
    return Troubles(
        infrastructure_retries=settings.infrastructure_retries,
        service_patience_s=settings.service_patience * 60,
        pool_patience_s=settings.pool_patience * 60,
        spot_preemptions=settings.spot_preemptions,
    )


def _first(environment: Environment, *names: str) -> str | None:
    """The first of these variables that is set. Quotes around a value are dropped, as SuperBatch did."""
    for name in names:
        if value := environment.get(name, "").strip().strip("'\""):
            return value
    return None


def _account(settings: ExecutorSettings, environment: Environment, problems: list[str]) -> Account | None:
    url = settings.account_url or _first(environment, "BATCH_ACCOUNT_URL", "BATCH_ACCOUNT_ENDPOINT")
    if not url:
        problems.append(
            "no Batch account: give --azurebatch-account-url (or BATCH_ACCOUNT_URL), "
            "or use --azurebatch-emulator to run without an account"
        )
        return None
    url = url if "//" in url else f"https://{url}"
    host = _host(url)
    if not host:
        problems.append(
            f"--azurebatch-account-url: {url!r} is not a URL like https://myaccount.westeurope.batch.azure.com"
        )
        return None
    key = _key(environment, problems, "SNAKEMAKE_AZUREBATCH_ACCOUNT_KEY", "BATCH_ACCOUNT_KEY")
    name = settings.account_name or _first(environment, "BATCH_ACCOUNT_NAME") or _name_in_host(host)
    if not name:
        problems.append(
            f"--azurebatch-account-name (or BATCH_ACCOUNT_NAME) is needed: {host} does not contain the account's name"
        )
        return None
    if url.startswith("http://") and not key:
        problems.append(
            f"{url} is not encrypted, so only an account key can be used: set BATCH_ACCOUNT_KEY, or use https"
        )
    resource_id = settings.account_resource_id or _first(environment, "BATCH_ACCOUNT_RESOURCE_ID")
    management_url = _first(environment, "BATCH_MANAGEMENT_URL")
    return Account(url.rstrip("/"), name, key, read_resource(resource_id, management_url, name, problems))


def _storage(settings: ExecutorSettings, environment: Environment, problems: list[str]) -> Storage | None:
    connection = _first(
        environment, "SNAKEMAKE_AZUREBATCH_STORAGE_CONNECTION_STRING", "STORAGE_ACCOUNT_CONNECTION_STRING"
    )
    named = settings.storage_account or _first(environment, "STORAGE_ACCOUNT_NAME")
    if connection and not settings.storage_account:
        return _from_connection_string(connection, problems)
    if not named:
        problems.append(
            "no storage account: give --azurebatch-storage-account (or STORAGE_ACCOUNT_NAME, "
            "or STORAGE_ACCOUNT_CONNECTION_STRING)"
        )
        return None
    key = _key(environment, problems, "SNAKEMAKE_AZUREBATCH_STORAGE_ACCOUNT_KEY", "STORAGE_ACCOUNT_KEY")
    if "//" in named:
        if not _host(named):
            problems.append(f"--azurebatch-storage-account: {named!r} is not a URL")
            return None
        return Storage(named.rstrip("/"), _storage_name(named), key)
    if not re.fullmatch(r"[a-z0-9]{3,24}", named):
        problems.append(
            f"--azurebatch-storage-account: {named!r} is not a storage account's name "
            "(3 to 24 lower-case letters and digits) and not a URL"
        )
        return None
    return Storage(f"https://{named}.blob.core.windows.net", named, key)


def _from_connection_string(text: str, problems: list[str]) -> Storage | None:
    parts = dict(item.split("=", 1) for item in text.split(";") if "=" in item)
    name = parts.get("AccountName", "")
    suffix = parts.get("EndpointSuffix", "core.windows.net")
    protocol = parts.get("DefaultEndpointsProtocol", "https")
    url = parts.get("BlobEndpoint") or (f"{protocol}://{name}.blob.{suffix}" if name else "")
    key = parts.get("AccountKey")
    if not url or not key or not _is_base64(key):
        problems.append(
            "the storage connection string is malformed: it needs AccountName and AccountKey "
            "(as 'az storage account show-connection-string' prints it)"
        )
        return None
    return Storage(url.rstrip("/"), name or _storage_name(url), key)


def _key(environment: Environment, problems: list[str], *names: str) -> str | None:
    key = _first(environment, *names)
    if key is not None and not _is_base64(key):
        problems.append(f"the key in {' or '.join(names)} is not base64: it was not copied whole")
        return None
    return key


def _is_base64(key: str) -> bool:
    try:
        return len(base64.b64decode(key, validate=True)) >= 1
    except binascii.Error:
        return False


def _host(url: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    return parts.netloc if parts.scheme in ("http", "https") else ""


def _name_in_host(host: str) -> str:
    name = host.partition(".")[0]
    return name if ".batch." in host and re.fullmatch(r"[a-z0-9]{3,24}", name) else ""


def _storage_name(url: str) -> str:
    """The account in a blob endpoint: in the host on Azure, in the path on Azurite."""
    parts = urlsplit(url)
    return parts.path.strip("/").partition("/")[0] or parts.netloc.partition(".")[0]


def _blob_container(settings: ExecutorSettings, problems: list[str]) -> str | None:
    name = settings.blob_container
    if name is not None and not re.fullmatch(r"(?=.{3,63}$)[a-z0-9]+(-[a-z0-9]+)*", name):
        problems.append(
            f"--azurebatch-blob-container: {name!r} cannot be a blob container's name "
            "(3 to 63 lower-case letters, digits and single dashes)"
        )
    return name


def _keep_blobs_s(text: str, problems: list[str]) -> float | None:
    """Seconds that an unneeded blob stays; 0 for ``run``, None for ``forever``."""
    word = text.strip().lower()
    if word in ("run", "forever"):
        return 0.0 if word == "run" else None
    kept_s = amounts.duration_s(text)
    if not kept_s:
        problems.append(f"--azurebatch-blob-retention: {text!r} is not 'run', 'forever' or a time like 12h, 7d or 4w")
    return kept_s


def _one_of(name: str, value: str, known: tuple[str, ...], problems: list[str]) -> str:
    if value not in known:
        problems.append(f"--azurebatch-{name}: {value!r} is not one of {', '.join(known)}")
    return value


def _size(name: str, text: str | None, problems: list[str]) -> int | None:
    found = amounts.size_bytes(text) if text is not None else None
    if text is not None and not found:
        off = "'off' or " if name == "node-cache" else ""
        problems.append(f"--azurebatch-{name}: {text!r} is not {off}a size like 500M, 200G or 1.5T")
    return found


def _pools_file(settings: ExecutorSettings, problems: list[str]) -> str | None:
    """The file with pools. What it has for each pool cannot be set for all of them as well."""
    if settings.pools is None:
        return None
    if not settings.pools.strip():
        problems.append("--azurebatch-pools is empty: name a file, for example pools.yaml")
    for name in (*_ONE_POOL, "vm_size", "dedicated_nodes", "scaling", "os_image", "node_agent_sku"):
        field = ExecutorSettings.__dataclass_fields__[name]
        if getattr(settings, name) != field.default:
            problems.append(
                f"--azurebatch-{name.replace('_', '-')} is for the one pool of the settings: leave it out, or "
                "--azurebatch-pools, whose file says it for each pool"
            )
    return settings.pools


def _check_numbers(settings: ExecutorSettings, problems: list[str]) -> None:
    rules = (
        ("dedicated-nodes", settings.dedicated_nodes, 0, 10_000),
        ("spot-nodes", settings.spot_nodes, 0, 10_000),
        ("task-slots-per-node", settings.task_slots_per_node or 1, 1, 256),
        ("poll-interval", settings.poll_interval, 0.1, 3600),
        ("infrastructure-retries", settings.infrastructure_retries, 0, 100),
        ("spot-preemptions", settings.spot_preemptions, 0, 100),
        ("service-patience", settings.service_patience, 0, 7 * 24 * 60),
        ("pool-patience", settings.pool_patience, 0, 7 * 24 * 60),
        ("sas-hours", settings.sas_hours, 0.25, 24 * 365),
    )
    problems.extend(
        f"--azurebatch-{name}: {value} is not between {low} and {high}"
        for name, value, low, high in rules
        if not low <= value <= high
    )


def _pool(settings: ExecutorSettings, environment: Environment, problems: list[str]) -> PoolOptions:
    if not settings.vm_size.strip():
        problems.append("--azurebatch-vm-size is empty: name a size, for example Standard_D4s_v5")
    if settings.pool_id is not None and not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", settings.pool_id):
        problems.append(
            f"--azurebatch-pool-id: {settings.pool_id!r} is not a pool's id (1 to 64 letters, digits, '-' and '_')"
        )
    if settings.pool_id is None and settings.dedicated_nodes + settings.spot_nodes == 0:
        problems.append("the pool would have no nodes: set --azurebatch-dedicated-nodes or --azurebatch-spot-nodes")
    image = tuple(settings.os_image.split(":"))
    if len(image) != 3 or not all(image):
        problems.append(f"--azurebatch-os-image: {settings.os_image!r} is not publisher:offer:sku")
        image = ("", "", "")
    password = _first(environment, "SNAKEMAKE_AZUREBATCH_REGISTRY_PASSWORD", "REGISTRY_PASSWORD")
    server = settings.registry_server or _first(environment, "REGISTRY_SERVER")
    username = settings.registry_username or _first(environment, "REGISTRY_USERNAME")
    if any((server, username, password)) and not all((server, username, password)):
        problems.append(
            "a container registry needs all of --azurebatch-registry-server, --azurebatch-registry-username "
            "and REGISTRY_PASSWORD"
        )
    return PoolOptions(
        pool_id=settings.pool_id,
        vm_size=settings.vm_size.strip(),
        dedicated_nodes=settings.dedicated_nodes,
        spot_nodes=settings.spot_nodes,
        task_slots_per_node=settings.task_slots_per_node or (os.cpu_count() or 1 if settings.emulator else 1),
        os_image=(image[0], image[1], image[2]),
        node_agent_sku=settings.node_agent_sku,
        registry_server=server,
        registry_username=username,
        subnet_id=settings.subnet_id,
        delete=settings.delete_pool,
        scaling=_one_of("scaling", settings.scaling, SCALINGS, problems),
        registry_password=password,
    )
