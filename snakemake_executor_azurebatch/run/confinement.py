"""Whether tasks run in containers, where any path can be made for them; if they do not, why."""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit

from snakemake_executor_azurebatch.options import Options

#: What a user reads after the name of a file. A task that is a process of this machine would write to the very
#: places that its user has.
AS_PROCESSES = (
    "the local service runs tasks as processes of this machine. To have any path, run them in containers: "
    "snakemake-azurebatch emulator start --container-runtime podman (or docker), with an image that has "
    "Snakemake (--container-image)"
)


def why_confined(options: Options) -> str:
    """Why tasks are to stay below the working directory; empty where they run in containers.

    On Azure they do. A local service is asked; one that does not answer is as good as Azure here, since nothing
    can be submitted to it.
    """
    from snakemake_executor_azurebatch.emulator import service
    from snakemake_executor_azurebatch.emulator.running import container_runtime

    if options.account is not None:
        url, ca_file = options.account.url, ""
    else:
        running = service.find(service.default_state_dir())
        if running is None:
            return AS_PROCESSES  # the one that is to be started for this run
        url, ca_file = running.batch_url, running.ca_file
    return AS_PROCESSES if is_local(url) and container_runtime(url, ca_file) == "process" else ""


def why_pool_confined(pool_id: str) -> str:
    """The same of a pool that has no containers."""
    return (
        f"pool {pool_id} runs tasks without containers. To have any path, use a pool with a container "
        "configuration, or let this plugin make one (no --azurebatch-pool-id)"
    )


def is_local(url: str) -> bool:
    """Whether a service is on this machine: the local one."""
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
