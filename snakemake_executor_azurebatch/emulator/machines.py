"""The machines behind the nodes: made, started, switched off and removed, each with its agent.

What takes long (ending tasks, deleting files) is done one after the other for each node; a boot that was
overtaken by another one, or by the node's end, is given up.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from snakemake_executor_azurebatch.emulator import events, instructions
from snakemake_executor_azurebatch.emulator.agent.agent import NodeAgent
from snakemake_executor_azurebatch.emulator.agent.containers import ContainerRuntime
from snakemake_executor_azurebatch.emulator.agent.work import NodePlace, TaskFailure, TaskOutcome, TaskWork
from snakemake_executor_azurebatch.emulator.model import Node

if TYPE_CHECKING:
    from snakemake_executor_azurebatch.emulator.runtime import Runtime, Timings

log = logging.getLogger(__name__)

_Key = tuple[str, str]


class Machines:
    """The machines of all nodes. ``agents`` has each node's present agent, by pool key and node id."""

    def __init__(self, runtime: Runtime, timings: Timings) -> None:
        self.agents: dict[_Key, NodeAgent] = {}
        self.containers: ContainerRuntime | None = None  #: what tasks with container settings run in
        self._runtime = runtime
        self._timings = timings
        self._locks: defaultdict[_Key, asyncio.Lock] = defaultdict(asyncio.Lock)

    def new_agent(self, node: Node) -> NodeAgent:
        """An agent in the directories of the node, which it makes."""
        runtime = self._runtime
        pool_id = runtime.state.pools[node.pool_key].id
        return runtime.new_agent(
            NodePlace(
                root=runtime.node_root(pool_id, node.id),
                pool_id=pool_id,
                node_id=node.id,
                is_dedicated=node.is_dedicated,
                account_name=runtime.config.account,
                account_url=runtime.account_url,
            ),
            self.containers,
        )

    async def carry_out(
        self, what: instructions.BootNode | instructions.StopNode | instructions.RunStartTask | instructions.CloseNode
    ) -> None:
        """Do what the engine instructs; the event that the instruction names follows."""
        match what:
            case instructions.BootNode():
                await self._boot(what)
            case instructions.StopNode():
                await self._stop(what)
            case instructions.RunStartTask():
                await self._run_start_task(what)
            case instructions.CloseNode():
                await self._close(what)

    async def _boot(self, what: instructions.BootNode) -> None:
        """Bring the machine up, with an agent of its own; NodeStarting and NodeReady follow."""
        clock = self._runtime.clock
        if what.how in ("reboot", "reimage"):
            await clock.sleep(self._timings.restart_s)
        if not await self._prepare(what):
            return
        await clock.sleep(self._timings.boot_s / 2)
        self._runtime.dispatch(events.NodeStarting(what.pool_key, what.node_id, what.boot))
        await clock.sleep(self._timings.boot_s / 2)
        failure = await self._prefetch(what)
        if failure is None:
            self._runtime.dispatch(events.NodeReady(what.pool_key, what.node_id, what.boot))
        else:
            self._runtime.dispatch(events.NodeUnusable(what.pool_key, what.node_id, failure.code, failure.message))

    async def _run_start_task(self, what: instructions.RunStartTask) -> None:
        """Run the node's start task once; StartTaskEnded follows."""
        clock = self._runtime.clock
        began = clock.now()
        try:
            agent = self.agents[what.pool_key, what.node_id]
            is_broken = "start-task-failure" in self._runtime.injection.of_node(what.pool_key, what.node_id)
            body = {**what.body, "commandLine": "false"} if is_broken else what.body
            outcome = await agent.run(TaskWork("", "", body, kind="start"))
        except Exception:  # the agent's own bug must not leave the node waiting for ever
            log.exception("the agent failed with the start task of node %s", what.node_id)
            outcome = TaskOutcome(None, began, began, TaskFailure("servererror", "Unknown", "The node agent failed"))
        outcome = replace(outcome, start_time=began, end_time=clock.now())
        self._runtime.dispatch(events.StartTaskEnded(what.pool_key, what.node_id, what.boot, outcome))

    async def _stop(self, what: instructions.StopNode) -> None:
        """Switch the machine off. Its files are lost with it."""
        key = (what.pool_key, what.node_id)
        async with self._locks[key]:
            agent = self.agents.get(key)
            if agent is not None:
                await agent.close()
        if not what.is_sudden:
            await self._runtime.clock.sleep(self._timings.restart_s)
            self._runtime.dispatch(events.NodeStopped(what.pool_key, what.node_id, what.boot))

    async def _close(self, what: instructions.CloseNode) -> None:
        """End the machine and remove its files; NodeGone follows."""
        key = (what.pool_key, what.node_id)
        async with self._locks[key]:
            agent = self.agents.pop(key, None)
            if agent is not None:
                await agent.close()
            await asyncio.to_thread(remove_tree, self._root(key))
        self._locks.pop(key, None)
        self._runtime.dispatch(events.NodeGone(what.pool_key, what.node_id))

    async def _prepare(self, what: instructions.BootNode) -> bool:
        """A fresh agent, on the files that survive; False where the node has other plans by now."""
        key = (what.pool_key, what.node_id)
        async with self._locks[key]:
            node = self._runtime.state.node(*key)
            if node is None or node.is_leaving or node.boot != what.boot:
                return False
            former = self.agents.get(key)
            if former is not None:
                await former.close()
            if what.how in ("reimage", "start"):
                await asyncio.to_thread(remove_tree, self._root(key))
            self.agents[key] = self.new_agent(node)
        return True

    async def _prefetch(self, what: instructions.BootNode) -> TaskFailure | None:
        """Get the images that the pool names for its containers. What goes wrong makes the node unusable."""
        pool = self._runtime.state.pools.get(what.pool_key)
        agent = self.agents.get((what.pool_key, what.node_id))
        machine = pool.wire.get("virtualMachineConfiguration", {}) if pool else {}
        settings = machine.get("containerConfiguration")
        if pool is None or agent is None or settings is None:
            return None
        return await agent.prefetch(settings.get("containerImageNames", ()), pool.registries)

    def _root(self, key: _Key) -> Path:
        return self._runtime.node_root(self._runtime.state.pools[key[0]].id, key[1])


def remove_tree(root: Path) -> None:
    """Delete directories of nodes, folders without write permission included."""
    for folder, folders, _ in os.walk(root):
        for name in folders:
            path = Path(folder, name)
            if not path.is_symlink():
                with contextlib.suppress(OSError):
                    path.chmod(0o700)
    shutil.rmtree(root, ignore_errors=True)
