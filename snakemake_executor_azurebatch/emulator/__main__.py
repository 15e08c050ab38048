"""``python -m snakemake_executor_azurebatch.emulator``: the local service as a process of its own.

Exit codes: 0 stopped by SIGTERM, SIGINT or the end of the lifeline; 3 the port is taken; 4 Azurite could
not be started; 5 Azurite ended; 6 the container engine that was asked for does not work.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import signal
import sys
import threading
from pathlib import Path
from typing import get_args

from snakemake_executor_azurebatch.emulator.agent.containers import ContainerRuntimeUnavailable
from snakemake_executor_azurebatch.emulator.config import DEVELOPMENT_ACCOUNT, RuntimeChoice, ServiceConfig
from snakemake_executor_azurebatch.emulator.server import PortTaken, serve, write_ready_file
from snakemake_executor_azurebatch.emulator.wire import Json

log = logging.getLogger("snakemake_executor_azurebatch.emulator")

EXIT_PORT_TAKEN = 3
EXIT_NO_AZURITE = 4
EXIT_AZURITE_ENDED = 5
EXIT_NO_CONTAINERS = 6


def main(arguments: list[str] | None = None) -> int:
    """Run one local service until it is told to stop; answers the exit code."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO, stream=sys.stderr)
    options.state_dir.mkdir(parents=True, exist_ok=True)
    config = ServiceConfig(
        options.state_dir.resolve(),
        port=options.port,
        account=options.account,
        clock_speed=options.clock_speed,
        simulate_s=options.simulate,
        is_https=options.https,
        bearer_tokens=options.bearer_tokens,
        container_runtime=options.container_runtime,
        has_blob_faults=options.blob_faults,
    )
    if options.fresh:
        for file in options.state_dir.glob("state.db*"):
            file.unlink()
    try:
        return asyncio.run(_run(config, options))
    finally:
        if options.ready_file:
            options.ready_file.unlink(missing_ok=True)


async def _run(config: ServiceConfig, options: argparse.Namespace) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if options.lifeline:
        _watch_lifeline(loop, stop)

    def ready(facts: Json) -> None:
        if options.ready_file:
            write_ready_file(options.ready_file, facts)
        log.info("Azure Batch account %s at %s", facts["account"], facts["batch_url"])

    try:
        reason = await serve(config, ready, stop, with_blobs=not options.no_blobs)
    except PortTaken as error:
        return _complain(str(error), EXIT_PORT_TAKEN)
    except _azurite_error() as error:
        return _complain(str(error), EXIT_NO_AZURITE)
    except ContainerRuntimeUnavailable as error:
        return _complain(str(error), EXIT_NO_CONTAINERS)
    if reason == "azurite":
        return _complain("Azurite has ended; so does the local service", EXIT_AZURITE_ENDED)
    return 0


def _azurite_error() -> type[Exception]:
    from snakemake_executor_azurebatch.emulator.azurite import AzuriteError

    return AzuriteError


def _complain(message: str, code: int) -> int:
    sys.stderr.write(f"{message}\n")
    return code


def _watch_lifeline(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    """Stop when stdin ends: whoever started this service is gone. A thread, so that any kind of stdin works."""

    def wait() -> None:
        with contextlib.suppress(OSError):  # closed already
            while os.read(0, 4096):
                pass
        loop.call_soon_threadsafe(stop.set)

    threading.Thread(target=wait, name="lifeline", daemon=True).start()


def _range(text: str) -> tuple[float, float]:
    least, dash, most = text.partition("-")
    found = float(least), float(most if dash else least)
    if not 0 <= found[0] <= found[1] < float("inf"):
        raise ValueError(text)
    return found


def _tokens(text: str) -> frozenset[str]:
    lines = Path(text).read_text(encoding="utf-8").splitlines()
    return frozenset(line.strip() for line in lines if line.strip())


def _speed(text: str) -> float:
    speed = float(text)
    if not 0 < speed < float("inf"):
        raise ValueError(text)
    return speed


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m snakemake_executor_azurebatch.emulator", description=__doc__)
    parser.add_argument("--state-dir", type=Path, required=True, help="node roots, blobs, logs")
    parser.add_argument("--port", type=int, default=0, help="0: any free port")
    parser.add_argument("--account", default=DEVELOPMENT_ACCOUNT, help="name of the Batch account")
    parser.add_argument("--ready-file", type=Path, help="JSON written once the service answers")
    parser.add_argument("--lifeline", action="store_true", help="stop when stdin ends")
    parser.add_argument("--fresh", action="store_true", help="forget pools, jobs and tasks of the service before")
    parser.add_argument("--clock-speed", type=_speed, default=1.0, help="seconds of its clock per second")
    parser.add_argument("--simulate", type=_range, metavar="SECONDS|MIN-MAX", help="tasks take so long and run nothing")
    parser.add_argument("--https", action="store_true", help="with a certificate of its own: tls/ca.pem")
    parser.add_argument("--bearer-tokens", type=_tokens, metavar="FILE", help="accept these only, one per line")
    parser.add_argument("--container-runtime", choices=get_args(RuntimeChoice), default="process")
    parser.add_argument("--blob-faults", action="store_true", help="blob storage that can fail on purpose")
    parser.add_argument("--no-blobs", action="store_true", help="without Azurite")
    return parser


if __name__ == "__main__":
    sys.exit(main())
