"""The local Azure Batch service for one run: reused where one runs already, else started and stopped with the run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from snakemake_executor_azurebatch.errors import LocalServiceError
from snakemake_executor_azurebatch.options import Account, Storage
from snakemake_executor_azurebatch.resource_manager import resource_in

if TYPE_CHECKING:
    from snakemake_executor_azurebatch.emulator.service import RunningService

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class LocalService:
    """Where the local service is. ``stop`` ends it where this run started it, and else does nothing."""

    account: Account
    storage: Storage
    stop: Callable[[], object]


def use_local_service(state_dir: Path, say: Say) -> LocalService:
    """Reuse the service that ``snakemake-azurebatch emulator start`` started, or start one in ``state_dir``.

    The started one ends when this process does, whatever ends it. Raises LocalServiceError.
    """
    from snakemake_executor_azurebatch.emulator import service as emulator

    running = emulator.find(emulator.default_state_dir())
    if running is not None:
        say(f"Using the local Azure Batch service at {running.batch_url}.")
        return _described(running, lambda: None)
    try:
        started = emulator.start(state_dir, lifeline=True, progress=say)
    except emulator.ServiceStartError as error:
        raise LocalServiceError(str(error)) from error
    say(f"Started a local Azure Batch service at {started.service.batch_url} for this run.")
    return _described(started.service, started.stop)


def running_service() -> LocalService | None:
    """The service that ``snakemake-azurebatch emulator start`` started, if it runs."""
    from snakemake_executor_azurebatch.emulator import service as emulator

    running = emulator.find(emulator.default_state_dir())
    return None if running is None else _described(running, lambda: None)


def _described(running: RunningService, stop: Callable[[], object]) -> LocalService:
    environment = running.environment
    resource = resource_in(environment, running.account)
    return LocalService(
        account=Account(running.batch_url, running.account, environment["BATCH_ACCOUNT_KEY"], resource),
        storage=Storage(str(running.blob_url), environment["STORAGE_ACCOUNT_NAME"], environment["STORAGE_ACCOUNT_KEY"]),
        stop=stop,
    )
