"""What tests of a task's files share."""

import asyncio
import socket
from contextlib import asynccontextmanager

from snakemake_executor_azurebatch.emulator.agent.work import NodePlace, TaskWork

BOUND_S = 120


def place(root):
    return NodePlace(root, "pool1", "n1", True, "localbatch", "http://127.0.0.1:1")


async def run(agent, command="true", **body):
    return await asyncio.wait_for(agent.run(TaskWork("j", "t", {"commandLine": command, **body})), BOUND_S)


def wd(agent):
    return agent.task_directory("j", "t") / "wd"


def url(container, blob, sas):
    return f"{container.get_blob_client(blob).url}?{sas}"


def output(container, sas, pattern, path=None, condition=None, headers=()):
    destination = {"containerUrl": f"{container.url}?{sas}", "uploadHeaders": list(headers)}
    if path is not None:
        destination["path"] = path
    spec = {"filePattern": pattern, "destination": {"container": destination}}
    return spec | ({"uploadOptions": {"uploadCondition": condition}} if condition else {})


def names(container):
    return sorted(container.list_blob_names())


def closed_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@asynccontextmanager
async def silence():
    """A server that takes connections and never says anything: its URL, and an event for the first connection."""
    connected = asyncio.Event()

    async def silent(reader, writer):
        connected.set()
        while await reader.read(1024):  # until the agent lets go
            pass
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", connected
    server.close()
    await server.wait_closed()
