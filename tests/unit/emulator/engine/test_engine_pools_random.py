"""Whatever happens to pools and their nodes in whatever order, the invariants hold and everything can end."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from snakemake_executor_azurebatch.emulator import events, instructions
from snakemake_executor_azurebatch.emulator.agent.work import TaskOutcome
from snakemake_executor_azurebatch.emulator.model import AllocationFault

from .conftest import ENDED, World

OPTIONS = st.sampled_from(["requeue", "terminate", "taskcompletion", "retaineddata"])
CODES = st.sampled_from(["AllocationFailed", "AllocationTimedout"])


class Nodes(RuleBasedStateMachine):
    """One pool, one job, and everything that users and Azure do to nodes."""

    @initialize(nodes=st.integers(0, 3), low=st.integers(0, 2), waits=st.booleans())
    def begin(self, nodes, low, waits):
        self.world = World()
        self.pool = self.world.add_pool(nodes=nodes, low=low, slots=2)
        self.pool.wire["startTask"] = {"commandLine": "x", "maxTaskRetryCount": 1, "waitForSuccess": waits}
        self.job = self.world.add_job()
        self.count = 0

    def _nodes(self, *states):
        return [node.id for node in self.pool.nodes.values() if not states or node.wire["state"] in states]

    @property
    def _is_steady(self):
        return self.pool.wire["allocationState"] == "steady"

    @rule(retries=st.integers(0, 1))
    def a_task_comes(self, retries):
        self.count += 1
        self.world.add_tasks(self.job, f"t{self.count}", retries=retries)

    @precondition(lambda self: self.world.state.runs)
    @rule(data=st.data(), exit_code=st.sampled_from([0, 1]))
    def a_run_ends(self, data, exit_code):
        run = data.draw(st.sampled_from(list(self.world.state.runs.values())))
        if run.ending:
            self.world.end(run, None, ENDED)
        else:
            self.world.end(run, exit_code)

    @rule(exit_code=st.sampled_from([0, 3]))
    def start_tasks_end(self, exit_code):
        for run in self.world.take(instructions.RunStartTask):
            outcome = TaskOutcome(exit_code, self.world.now, self.world.now)
            self.world.feed(events.StartTaskEnded(run.pool_key, run.node_id, run.boot, outcome))

    @precondition(lambda self: self._nodes("idle", "running"))
    @rule(data=st.data(), how=st.sampled_from(["reboot", "reimage", "deallocate"]), option=OPTIONS)
    def a_node_is_restarted(self, data, how, option):
        node_id = data.draw(st.sampled_from(self._nodes("idle", "running")))
        self.world.feed(events.NodeRestarted("p", node_id, how, option))

    @rule()
    def machines_stop(self):
        for stop in self.world.take(instructions.StopNode):
            if not stop.is_sudden:
                self.world.feed(events.NodeStopped(stop.pool_key, stop.node_id, stop.boot))

    @precondition(lambda self: self._nodes("deallocated"))
    @rule(data=st.data())
    def a_node_starts(self, data):
        self.world.feed(events.NodeStarted("p", data.draw(st.sampled_from(self._nodes("deallocated")))))

    @precondition(lambda self: self._nodes())
    @rule(data=st.data(), option=OPTIONS)
    def scheduling_changes(self, data, option):
        node = self.pool.nodes[data.draw(st.sampled_from(self._nodes()))]
        is_enabled = node.wire["schedulingState"] == "disabled"
        self.world.feed(events.NodeSchedulingSet("p", node.id, is_enabled, option))

    @precondition(lambda self: self._nodes())
    @rule(data=st.data(), kind=st.sampled_from([events.NodePreempted, events.NodeLost, events.NodeUnusable]))
    def a_node_fails(self, data, kind):
        self.world.feed(kind("p", data.draw(st.sampled_from(self._nodes()))))

    @rule(code=CODES, limit=st.integers(0, 3))
    def capacity_is_short(self, code, limit):
        self.world.feed(events.AllocationFaultSet("p", AllocationFault(code, limit=limit)))

    @rule()
    def there_is_capacity_again(self):
        self.world.feed(events.AllocationFaultSet("p", None))

    @precondition(lambda self: self._is_steady)
    @rule(nodes=st.integers(0, 3), low=st.integers(0, 2), option=OPTIONS)
    def the_pool_is_resized(self, nodes, low, option):
        self.world.feed(events.PoolResized("p", nodes, low, option))

    @precondition(lambda self: self._is_steady and self._nodes())
    @rule(data=st.data(), option=OPTIONS)
    def nodes_are_removed(self, data, option):
        chosen = data.draw(st.lists(st.sampled_from(self._nodes()), min_size=1, unique=True))
        self.world.feed(events.NodesRemoved("p", chosen, option))

    @precondition(lambda self: self.pool.wire["allocationState"] == "resizing")
    @rule()
    def the_resize_is_stopped(self):
        self.world.feed(events.PoolResizeStopped("p"))

    @rule()
    def time_passes(self):
        self.world.settle()

    @rule()
    def much_time_passes(self):
        self.world.settle()
        for after in self.world.take(instructions.After):
            self.world.feed(after.event)
        self.world.settle()

    @invariant()
    def counts_are_right(self):
        nodes = self.pool.nodes.values()
        wire = self.pool.wire
        if "currentDedicatedNodes" in wire:
            assert wire["currentDedicatedNodes"] == sum(node.is_dedicated for node in nodes)
            assert wire["currentLowPriorityNodes"] == sum(not node.is_dedicated for node in nodes)
        assert ("resizeErrors" in wire) <= self._is_steady
        for node in nodes:
            assert (node.wire["state"] == "running") <= bool(node.runs)
            assert (node.wire["state"] == "idle") <= (not node.runs)
            assert (node.wire["state"] == "offline") <= (node.wire["schedulingState"] == "disabled")

    def teardown(self):
        """The pool can be brought to its end, and its tasks wait for another one."""
        if not hasattr(self, "world"):
            return
        world = self.world
        world.feed(events.PoolDeleted("p"))
        for run in list(world.state.runs.values()):
            world.end(run, None, ENDED)
        world.settle()
        assert (world.state.pools, world.state.runs) == ({}, {})
        assert {task.state for task in self.job.tasks.values()} <= {"active", "completed"}


Nodes.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestNodes = Nodes.TestCase
