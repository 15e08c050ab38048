"""A real Azurite for tests, in a thread of its own so that it outlives each test's event loop."""

import asyncio
import threading
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from azure.storage.blob import ContainerSasPermissions, generate_container_sas

from snakemake_executor_azurebatch.emulator.azurite import Azurite

START_BOUND_S = 600  # the first one is installed
STOP_BOUND_S = 60


@contextmanager
def running_azurite(location, port=0):
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    def do(coroutine, bound_s):
        return asyncio.run_coroutine_threadsafe(coroutine, loop).result(bound_s)

    try:
        azurite = do(Azurite.start(location, port, progress=print), START_BOUND_S)
        yield azurite
        do(azurite.stop(), STOP_BOUND_S)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(STOP_BOUND_S)
        loop.close()


def container_sas(container, azurite, permissions="rwlc", hours=1):
    return generate_container_sas(
        azurite.account,
        container,
        account_key=azurite.key,
        permission=ContainerSasPermissions.from_string(permissions),
        expiry=datetime.now(UTC) + timedelta(hours=hours),
    )
