"""One local service: a socket, the pipeline, Azurite beside it, and an orderly end."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import logging
import os
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiohttp import web

from snakemake_executor_azurebatch.emulator.agent.containers import ContainerRuntime
from snakemake_executor_azurebatch.emulator.agent.strays import kill_strays_of_nodes
from snakemake_executor_azurebatch.emulator.app import make_app
from snakemake_executor_azurebatch.emulator.config import ServiceConfig
from snakemake_executor_azurebatch.emulator.machines import remove_tree
from snakemake_executor_azurebatch.emulator.requestlog import LineLog
from snakemake_executor_azurebatch.emulator.runtime import Runtime, Timings
from snakemake_executor_azurebatch.emulator.wire import Json, time_text

if TYPE_CHECKING:
    from snakemake_executor_azurebatch.emulator.azurite import Azurite

log = logging.getLogger(__name__)

#: A request line: long filters go into it. Assumed: what Windows' own HTTP server takes.
_MAX_LINE_BYTES = 16 * 1024


class PortTaken(Exception):
    """The port is in use; the message says which."""


@contextlib.asynccontextmanager
async def batch_service(config: ServiceConfig, timings: Timings | None = None) -> AsyncIterator[str]:
    """A running Batch service without blobs; yields its URL. Ends every task on the way out.

    Raises PortTaken.
    """
    async with _prepared(config, timings) as service:
        await service.listen()
        yield service.runtime.account_url


async def serve(
    config: ServiceConfig, ready: Callable[[Json], None], stop: asyncio.Event, *, with_blobs: bool = True
) -> str:
    """Run until ``stop`` is set or Azurite ends; answers which: "stopped" or "azurite".

    ``ready`` gets the facts for the ready file once both answer. Raises PortTaken, or AzuriteError where
    Azurite cannot be started.
    """
    async with _prepared(config) as service:
        stopping = asyncio.ensure_future(stop.wait())
        try:
            if not with_blobs:
                await service.listen()
                ready(_facts(config, service.runtime.account_url, None))
                await stopping
                return "stopped"
            return await _serve_with_blobs(config, ready, service, stopping)
        finally:
            stopping.cancel()


async def _serve_with_blobs(
    config: ServiceConfig, ready: Callable[[Json], None], service: _Service, stopping: asyncio.Future[Any]
) -> str:
    from snakemake_executor_azurebatch.emulator.azurite import Azurite

    port = 0 if config.has_blob_faults else _former_port(config, "blob")
    starting = asyncio.ensure_future(Azurite.start(config.state_dir / "azurite", port, progress=log.info))
    await asyncio.wait((starting, stopping), return_when=asyncio.FIRST_COMPLETED)
    if not starting.done():
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        return "stopped"
    azurite = starting.result()
    try:
        async with _blob_url(config, service.runtime, azurite) as blob_url:
            await service.listen()
            ready(_facts(config, service.runtime.account_url, blob_url))
            await asyncio.wait((azurite.exited, stopping), return_when=asyncio.FIRST_COMPLETED)
            # tasks that are asked to end still send their logs to the blob storage
            await service.runtime.close()
        return "stopped" if stopping.done() else "azurite"
    finally:
        await service.runtime.close()
        await azurite.stop()


@contextlib.asynccontextmanager
async def _blob_url(config: ServiceConfig, runtime: Runtime, azurite: Azurite) -> AsyncIterator[str]:
    """Where clients and tasks find the blobs: at Azurite, or at a proxy that can fail on purpose."""
    if not config.has_blob_faults:
        _remember_port(config, "blob", azurite.port)
        yield azurite.blob_url
        return
    from snakemake_executor_azurebatch.emulator.blob_proxy import BlobProxy

    proxy = await BlobProxy(runtime.injection, azurite.port).start(_former_port(config, "blob"))
    try:
        _remember_port(config, "blob", proxy.port)
        yield azurite.blob_url.replace(f":{azurite.port}/", f":{proxy.port}/", 1)
    finally:
        await proxy.stop()


class _Service:
    """A service that has its port, and does not answer before ``listen``."""

    def __init__(
        self, runtime: Runtime, runner: web.AppRunner, taken: socket.socket, tls: ssl.SSLContext | None
    ) -> None:
        self.runtime = runtime
        self._tls = tls
        self._runner = runner
        self._socket = taken

    async def listen(self) -> None:
        """Go on where a former service ended, and answer requests."""
        self.runtime.resume()
        await web.SockSite(self._runner, self._socket, ssl_context=self._tls).start()


@contextlib.asynccontextmanager
async def _prepared(config: ServiceConfig, timings: Timings | None = None) -> AsyncIterator[_Service]:
    """A service on its port. Raises PortTaken, ContainerRuntimeUnavailable."""
    with (
        LineLog(config.request_log) as request_log,
        LineLog(config.task_log) as task_log,
        _own_nodes(config) as is_alone,
        _bound(config) as taken,
    ):
        runtime = Runtime(config, timings=timings)
        runtime.note_run = task_log.write
        port = taken.getsockname()[1]
        tls = await asyncio.to_thread(_tls, config) if config.is_https else None
        runtime.account_url = f"{'https' if tls else 'http'}://{config.host}:{port}"
        if config.container_runtime != "process":
            runtime.use_containers(await ContainerRuntime.choose(config.container_runtime, str(config.state_dir)))
        if is_alone:
            await _take_over(config, runtime)
            _remember_port(config, "batch", port)
        app = make_app(runtime, request_log)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0, max_line_size=_MAX_LINE_BYTES)
        await runner.setup()
        try:
            yield _Service(runtime, runner, taken, tls)
            for site in list(runner.sites):
                await site.stop()
        finally:
            await runtime.close()
            await runner.cleanup()


async def _take_over(config: ServiceConfig, runtime: Runtime) -> None:
    """Recall a former service's state, and end what it left running: nobody watches that any more."""
    await asyncio.to_thread(kill_strays_of_nodes, config.nodes_dir)
    if runtime.containers is not None:
        await runtime.containers.remove_leftovers()
    runtime.open_store()
    await asyncio.to_thread(_remove_unknown_nodes, config, runtime)


def _tls(config: ServiceConfig) -> ssl.SSLContext:
    from snakemake_executor_azurebatch.emulator.tls import server_context

    return server_context(config.tls_dir)


@contextlib.contextmanager
def _bound(config: ServiceConfig) -> Iterator[socket.socket]:
    """The socket of the service: its own port, or the one it had before, or any free one."""
    port = config.port or _former_port(config, "batch")
    try:
        taken = socket.create_server((config.host, port), backlog=128)
    except OSError as error:
        raise PortTaken(f"port {port} of {config.host} cannot be used: {error.strerror}") from error
    with taken:
        yield taken


def _former_port(config: ServiceConfig, name: str) -> int:
    """The port of the service before, so that URLs in tasks and clients still hold; 0 where it is taken."""
    try:
        port = int((config.state_dir / f"{name}.port").read_text(encoding="utf-8"))
        with socket.create_server((config.host, port)):
            return port
    except (OSError, ValueError, OverflowError):
        return 0


def _remember_port(config: ServiceConfig, name: str, port: int) -> None:
    (config.state_dir / f"{name}.port").write_text(f"{port}\n", encoding="utf-8")


def _remove_unknown_nodes(config: ServiceConfig, runtime: Runtime) -> None:
    """Delete the directories of nodes that the state does not know."""
    known = {(pool.id, node_id) for pool in runtime.state.pools.values() for node_id in pool.nodes}
    for root in config.nodes_dir.glob("*/*"):
        if (root.parent.name, root.name) not in known:
            remove_tree(root)
    for folder in config.nodes_dir.glob("*"):
        with contextlib.suppress(OSError):  # it has nodes
            folder.rmdir()


@contextlib.contextmanager
def _own_nodes(config: ServiceConfig) -> Iterator[bool]:
    """Whether no other service uses the same directories of nodes, and will not while this one runs."""
    with (config.state_dir / "nodes.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def write_ready_file(path: Path, facts: Json) -> None:
    """Write the facts for the starter, at once and for the owner only."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        json.dump(facts, stream)
    temporary.replace(path)


def _facts(config: ServiceConfig, batch_url: str, blob_url: str | None) -> Json:
    return {
        "pid": os.getpid(),
        "batch_url": batch_url,
        "account": config.account,
        "blob_url": blob_url,
        "ca_file": str(config.ca_file) if config.is_https else None,
        "started": time_text(datetime.now(UTC)),
    }
