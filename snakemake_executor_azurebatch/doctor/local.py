"""The local service: what it needs on this machine."""

from __future__ import annotations

import os
import platform
import shutil
import socket
import subprocess
from importlib.util import find_spec
from pathlib import Path

from snakemake_executor_azurebatch.doctor.findings import Finding, failed, passed, warned
from snakemake_executor_azurebatch.emulator import azurite_install, service

EXTRA = 'pip install "snakemake-executor-plugin-azurebatch[emulator]"'
FREE_BYTES = 1 << 30
_LIMIT_S = 30


def check_local(state_dir: Path) -> list[Finding]:
    """Everything, in the order in which a start needs it."""
    return [
        _platform(),
        _packages(),
        _node(),
        _azurite(),
        _state(state_dir),
        _port(),
        _containers(),
        _running(state_dir),
    ]


def _platform() -> Finding:
    system = platform.system()
    if system == "Linux":
        return passed("system", system)
    return warned("system", f"{system}: only Linux was tried")


def _packages() -> Finding:
    missing = [name for name in ("aiohttp", "lark") if find_spec(name) is None]
    if missing:
        return failed("packages", f"not installed: {', '.join(missing)}", EXTRA)
    return passed("packages", "aiohttp and lark are installed")


def _node() -> Finding:
    try:
        found = azurite_install.find_node()
        done = subprocess.run(
            [found.node, "--version"],
            capture_output=True,
            text=True,
            check=True,
            stdin=subprocess.DEVNULL,
            timeout=_LIMIT_S,
        )
    except azurite_install.AzuriteError as error:
        return failed("Node.js", str(error), EXTRA)
    except (OSError, subprocess.SubprocessError) as error:
        return failed("Node.js", f"cannot be run: {error}", EXTRA)
    return passed("Node.js", f"{done.stdout.strip()} ({found.node})")


def _azurite() -> Finding:
    about = "Azurite (blob storage)"
    if shutil.which("azurite-blob"):
        return passed(about, "on PATH")
    cache = azurite_install.cache_dir()
    if (cache / f"azurite-{azurite_install.VERSION}").is_dir():
        return passed(about, f"{azurite_install.VERSION} in {cache}")
    if why := _why_not_writable(cache):
        return failed(
            about, f"cannot be installed into {cache}: {why}", f"export {azurite_install.CACHE_VARIABLE}=FOLDER"
        )
    return warned(
        about,
        f"{azurite_install.VERSION} is installed with npm at the first start",
        "snakemake-azurebatch emulator start",
    )


def _state(state_dir: Path) -> Finding:
    about = "state folder"
    if why := _why_not_writable(state_dir):
        return failed(about, f"{state_dir}: {why}", f"export {service.STATE_DIR_VARIABLE}=FOLDER")
    free = shutil.disk_usage(_nearest(state_dir)).free
    if free < FREE_BYTES:
        return warned(about, f"{state_dir}: {free >> 20} MiB are free", f"export {service.STATE_DIR_VARIABLE}=FOLDER")
    return passed(about, f"{state_dir}, {free >> 30} GiB are free")


def _port() -> Finding:
    try:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
    except OSError as error:
        return failed("ports", f"none can be listened to on 127.0.0.1: {error.strerror}", "ip link set lo up")
    return passed("ports", "127.0.0.1 can be listened to")


def _containers() -> Finding:
    about = "container engine"
    reasons = []
    for engine in ("docker", "podman"):
        if (program := shutil.which(engine)) is None:
            continue
        try:
            done = subprocess.run(
                [program, "info"],
                capture_output=True,
                text=True,
                check=False,
                stdin=subprocess.DEVNULL,
                timeout=_LIMIT_S,
            )
        except (OSError, subprocess.SubprocessError) as error:
            reasons.append(f"{engine}: {error}")
            continue
        if done.returncode == 0:
            return passed(about, f"{engine} works (emulator start --container-runtime {engine})")
        last = (done.stderr.strip() or done.stdout.strip() or f"exit code {done.returncode}").splitlines()[-1]
        reasons.append(f"{engine}: {last}")
    why = "; ".join(reasons) or "there is neither docker nor podman"
    return warned(
        about, f"{why}: tasks run as processes, with the programs of this machine", "sudo apt-get install podman"
    )


def _running(state_dir: Path) -> Finding:
    found = service.find(state_dir)
    if found is None:
        return passed("service", "none runs; --azurebatch-emulator starts one for a run")
    return passed("service", f"runs at {found.batch_url}")


def _nearest(path: Path) -> Path:
    """The folder itself, or the nearest one above it that is there."""
    return next(each for each in (path, *path.absolute().parents) if each.exists())


def _why_not_writable(folder: Path) -> str:
    nearest = _nearest(folder)
    if not nearest.is_dir():
        return f"{nearest} is no folder"
    return "" if os.access(nearest, os.W_OK | os.X_OK) else f"you may not write to {nearest}"
