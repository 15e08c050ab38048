"""Which accounts a command means: flags, then a profile of Snakemake, then the environment, as the executor's."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from snakemake_executor_azurebatch.cli.common import fail

if TYPE_CHECKING:
    from snakemake_executor_azurebatch.options import Account, Options, Storage

STATE = Path(".snakemake", "azurebatch")
_PREFIX = "azurebatch-"
#: Tasks that have not ended. A filter may only ask what the state is, and not what it is not (source: Azure Batch
#: documentation, properties for filtering of list queries).
OPEN_TASKS = " or ".join(f"state eq '{state}'" for state in ("active", "preparing", "running"))
#: What says where to ask.
_OF_ACCOUNTS = ("account_url", "account_name", "storage_account", "emulator")

Workdir = Annotated[Path, typer.Option("--directory", "-d", help="Where snakemake was started.")]
AccountUrl = Annotated[
    str | None, typer.Option(help="URL of the Batch account. Default: the profile's, or the shell's.")
]
StorageAccount = Annotated[str | None, typer.Option(help="Name of the storage account, or URL of its blob endpoint.")]
Profile = Annotated[Path | None, typer.Option(help="Folder of a Snakemake profile with azurebatch-* settings.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@dataclass(frozen=True, slots=True)
class Accounts:
    """Where to ask."""

    account: Account
    storage: Storage


@contextmanager
def told() -> Iterator[None]:
    """Errors of this plugin end the command with their message and exit code 1."""
    from snakemake_executor_azurebatch.errors import AzureBatchError

    try:
        yield
    except AzureBatchError as error:
        fail(str(error))


@dataclass(frozen=True, slots=True)
class Given:
    """What was given, before it is checked: ``settings`` by the names of their fields, and the whole profile."""

    settings: Mapping[str, Any]
    profile: Mapping[str, Any]


def given_settings(account_url: str | None, storage_account: str | None, profile: Path | None) -> Given:
    """The profile's settings, those of the flags before them; otherwise the end."""
    read = _of_profile(profile)
    given = {_field(key): value for key, value in read.items() if key.startswith(_PREFIX)}
    given |= {k: v for k, v in (("account_url", account_url), ("storage_account", storage_account)) if v}
    return Given(given, read)


def read(given: Given) -> Options:
    """The checked settings. Raises SettingsError with every problem, unknown names too."""
    from dataclasses import fields

    from snakemake_executor_azurebatch.errors import SettingsError
    from snakemake_executor_azurebatch.settings import ExecutorSettings

    known = {field.name for field in fields(ExecutorSettings)}
    if strange := [name for name in given.settings if name not in known]:
        raise SettingsError(f"{_PREFIX}{name.replace('_', '-')}: there is no such setting" for name in strange)
    return _options(dict(given.settings))


def accounts_of(options: Options) -> Accounts:
    """The accounts of checked settings. Raises LocalServiceError where the local one does not run."""
    from snakemake_executor_azurebatch.errors import LocalServiceError
    from snakemake_executor_azurebatch.run.local_service import running_service

    if options.account is not None and options.storage is not None:
        return Accounts(options.account, options.storage)
    local = running_service()
    if local is None:
        raise LocalServiceError(
            "No local Azure Batch service is running, and what a run has started ends with it. "
            "Start one: snakemake-azurebatch emulator start"
        )
    return Accounts(local.account, local.storage)


def find_accounts(account_url: str | None, storage_account: str | None, profile: Path | None) -> Accounts:
    """The accounts that are meant; otherwise the end, with every problem."""
    from snakemake_executor_azurebatch.errors import LocalServiceError, SettingsError

    given = given_settings(account_url, storage_account, profile)
    wanted = {name: value for name, value in given.settings.items() if name in _OF_ACCOUNTS}
    try:
        return accounts_of(_options(wanted))
    except LocalServiceError as error:
        fail(str(error))
    except SettingsError as error:
        fail(
            f"{error}\nHere the options are --account-url and --storage-account, or --profile with those of snakemake."
        )


def workdir_id(workdir: Path) -> str:
    """What names this workdir in metadata; otherwise the end."""
    try:
        return (workdir / STATE / "workdir.id").read_text().strip()
    except OSError:
        fail(f"No run was started in {workdir.absolute()}: there is no {STATE / 'workdir.id'}. Name it: --directory")


def _options(given: dict[str, Any]) -> Options:
    from snakemake_executor_azurebatch.options import read_options
    from snakemake_executor_azurebatch.parse_reads import PARSE_READS
    from snakemake_executor_azurebatch.settings import ExecutorSettings

    try:
        return read_options(ExecutorSettings(**given), os.environ)
    finally:
        PARSE_READS.stop()


def _of_profile(profile: Path | None) -> dict[str, Any]:
    if profile is None:
        return {}
    import yaml

    file = next((f for f in sorted(profile.glob("config*.yaml"), reverse=True)), profile / "config.yaml")
    try:
        read = yaml.safe_load(file.read_text()) or {}
    except (OSError, ValueError, yaml.YAMLError) as error:
        fail(f"The profile cannot be read: {file}: {error}")
    if not isinstance(read, dict):
        fail(f"The profile cannot be read: {file}: it has to be a mapping of options")
    return {str(key).replace("_", "-"): value for key, value in read.items()}


def _field(key: str) -> str:
    return key.removeprefix(_PREFIX).replace("-", "_")
