"""Whatever happens in whatever order, the invariants hold (they are checked after every event)."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from snakemake_executor_azurebatch.emulator import events, job_spec
from snakemake_executor_azurebatch.emulator.engine_jobs import LIVE
from snakemake_executor_azurebatch.emulator.model import Schedule

from .conftest import ENDED, World

IDS = ("1", "2", "3", "d")
ENDINGS = ("requeue", "terminate", "taskcompletion")


class Account(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.world = World()
        self.count = 0

    def _jobs(self, *states):
        return [job for job in self.world.state.jobs.values() if job.state in states]

    def _nodes(self, *states):
        nodes = self.world.nodes() if "p" in self.world.state.pools else []
        return [node for node in nodes if node.wire["state"] in states and not node.is_leaving]

    def _tasks(self, *states):
        return [(job, task) for job in self._jobs(*LIVE) for task in job.tasks.values() if task.state in states]

    def _pick(self, data, choices):
        return data.draw(st.sampled_from(choices))

    @initialize(nodes=st.integers(1, 3), slots=st.integers(1, 3), data=st.data())
    def something_to_begin_with(self, nodes, slots, data):
        self.world.add_pool(nodes=nodes, slots=slots)
        self.world.settle()
        self.job(data)
        self.tasks(data, 1, 0, 0)

    # -- pools and nodes --------------------------------------------------------------------------

    @precondition(lambda self: "p" not in self.world.state.pools)
    @rule(
        nodes=st.integers(0, 3),
        low=st.integers(0, 1),
        slots=st.integers(1, 3),
        fill=st.sampled_from(["Spread", "Pack"]),
    )
    def pool(self, nodes, low, slots, fill):
        self.world.add_pool(nodes=nodes, slots=slots, fill=fill, low=low)

    @precondition(lambda self: "p" in self.world.state.pools)
    @rule(nodes=st.integers(0, 3), option=st.sampled_from(ENDINGS))
    def pool_is_resized(self, nodes, option):
        if self.world.state.pools["p"].wire["allocationState"] == "steady":
            self.world.feed(events.PoolResized("p", nodes, 0, option))

    @precondition(lambda self: "p" in self.world.state.pools)
    @rule()
    def pool_is_deleted(self):
        if self.world.state.pools["p"].wire["state"] == "active":
            self.world.feed(events.PoolDeleted("p"))

    @precondition(lambda self: self._nodes("idle", "running"))
    @rule(data=st.data(), how=st.sampled_from(["reboot", "reimage"]), option=st.sampled_from(ENDINGS))
    def node_restarts(self, data, how, option):
        node = self._pick(data, self._nodes("idle", "running"))
        self.world.feed(events.NodeRestarted("p", node.id, how, option))

    @precondition(lambda self: self._nodes("idle", "running"))
    @rule(data=st.data(), kind=st.sampled_from([events.NodePreempted, events.NodeLost, events.NodeUnusable]))
    def node_drops_out(self, data, kind):
        self.world.feed(kind("p", self._pick(data, self._nodes("idle", "running")).id))

    @precondition(lambda self: self._nodes("idle", "running", "offline"))
    @rule(data=st.data(), is_enabled=st.booleans())
    def node_scheduling(self, data, is_enabled):
        node = self._pick(data, self._nodes("idle", "running", "offline"))
        self.world.feed(events.NodeSchedulingSet("p", node.id, is_enabled))

    # -- jobs -------------------------------------------------------------------------------------

    @precondition(lambda self: len(self.world.state.jobs) < 3)
    @rule(data=st.data())
    def job(self, data):
        self.count += 1
        priority, limit = data.draw(st.integers(-1, 1)), data.draw(st.sampled_from([-1, -1, 1]))
        more = {"onAllTasksComplete": data.draw(st.sampled_from(["noaction", "terminatejob"]))}
        if data.draw(st.booleans()):
            more["onTaskFailure"] = "performexitoptionsjobaction"
        if data.draw(st.booleans()):
            waits, retries = data.draw(st.booleans()), data.draw(st.integers(0, 1))
            limits = {"maxTaskRetryCount": retries}
            more["jobPreparationTask"] = {"commandLine": "x", "waitForSuccess": waits, "constraints": limits}
            if data.draw(st.booleans()):
                more["jobReleaseTask"] = {"commandLine": "y"}
        if data.draw(st.integers(0, 3)) == 0:
            more["jobManagerTask"] = {"id": "m", "commandLine": "x", "runExclusive": data.draw(st.booleans())}
        self.world.add_job(f"j{self.count}", priority=priority, limit=limit, **more)

    @precondition(lambda self: self._jobs("active", "disabled"))
    @rule(data=st.data(), option=st.sampled_from(["requeue", "terminate", "wait"]))
    def job_is_disabled(self, data, option):
        self.world.feed(events.JobDisabled(self._pick(data, self._jobs("active", "disabled")).key, option))

    @precondition(lambda self: self._jobs("disabled", "disabling"))
    @rule(data=st.data())
    def job_is_enabled(self, data):
        self.world.feed(events.JobEnabled(self._pick(data, self._jobs("disabled", "disabling")).key))

    @precondition(lambda self: self._jobs(*LIVE))
    @rule(data=st.data(), is_forced=st.booleans())
    def job_is_terminated(self, data, is_forced):
        job = self._pick(data, self._jobs(*LIVE))
        self.world.feed(events.JobTerminated(job.key, is_forced=is_forced))

    @precondition(lambda self: self._jobs(*LIVE, "terminating", "completed"))
    @rule(data=st.data(), is_forced=st.booleans())
    def job_is_deleted(self, data, is_forced):
        job = self._pick(data, self._jobs(*LIVE, "terminating", "completed"))
        self.world.feed(events.JobDeleted(job.key, is_forced))

    # -- tasks ------------------------------------------------------------------------------------

    @precondition(lambda self: self._jobs(*LIVE))
    @rule(data=st.data(), slots=st.integers(1, 3), retries=st.integers(0, 1), depends=st.integers(0, 3))
    def tasks(self, data, slots, retries, depends):
        job = self._pick(data, self._jobs(*LIVE))
        new = [task_id for task_id in IDS if task_id not in job.tasks]
        more = {}
        if depends == 1:
            more["dependsOn"] = {"taskIds": [self._pick(data, IDS)], "taskIdRanges": [{"start": 1, "end": 2}]}
            new = new[-1:]
        conditions = {"default": {"dependencyAction": data.draw(st.sampled_from(["satisfy", "block"]))}}
        conditions["default"]["jobAction"] = data.draw(st.sampled_from(["none", "disable", "terminate"]))
        self.world.add_tasks(job, *new, slots=slots, retries=retries, exitConditions=conditions, **more)

    @precondition(lambda self: self.world.state.runs)
    @rule(data=st.data(), exit_code=st.sampled_from([0, 0, 1]))
    def a_run_ends(self, data, exit_code):
        begun = [run for run in self.world.state.runs.values() if not run.is_held]
        if not begun:
            return
        run = self._pick(data, begun)
        if run.ending:
            self.world.end(run, None, ENDED)
        else:
            self.world.end(run, exit_code)

    @precondition(lambda self: self.world.state.runs)
    @rule(exit_code=st.sampled_from([0, 0, 1]))
    def all_runs_end(self, exit_code):
        for run in [run for run in self.world.state.runs.values() if not run.is_held]:
            self.world.end(run, *((None, ENDED) if run.ending else (exit_code,)))

    @precondition(lambda self: self._tasks("active", "preparing", "running", "completed"))
    @rule(data=st.data(), kind=st.sampled_from([events.TaskTerminated, events.TaskDeleted]))
    def task_ends(self, data, kind):
        job, task = self._pick(data, self._tasks("active", "preparing", "running", "completed"))
        self.world.feed(kind(job.key, task.key))

    @precondition(lambda self: self._tasks("completed"))
    @rule(data=st.data())
    def task_is_reactivated(self, data):
        job, task = self._pick(data, self._tasks("completed"))
        if task.wire["executionInfo"]["result"] == "failure":
            self.world.feed(events.TaskReactivated(job.key, task.key))

    # -- job schedules ----------------------------------------------------------------------------

    @precondition(lambda self: not self.world.state.schedules)
    @rule(interval=st.sampled_from([None, "PT1M"]))
    def schedule(self, interval):
        world = self.world
        spec = job_spec.complete_specification({"poolInfo": {"poolId": "p"}, "onAllTasksComplete": "terminatejob"})
        version = job_spec.version(world.state, world.now)
        wire = {
            "id": "s", **version, "state": "active", "stateTransitionTime": version["lastModified"],
            "schedule": {"recurrenceInterval": interval} if interval else {}, "jobSpecification": spec,
            "executionInfo": {},
        }  # fmt: skip
        world.feed(events.ScheduleAdded(Schedule("s", "s", wire, None)))

    @precondition(lambda self: self.world.state.schedules)
    @rule(kind=st.sampled_from([events.ScheduleTerminated, events.ScheduleDeleted, events.ScheduleDisabled]))
    def schedule_ends(self, kind):
        if self.world.state.schedules["s"].state in ("active", "disabled"):
            self.world.feed(kind("s"))

    # -- time -------------------------------------------------------------------------------------

    @rule()
    def time_passes(self):
        self.world.settle()

    @rule(minutes=st.integers(1, 3))
    def much_time_passes(self, minutes):
        self.world.settle()
        self.world.pass_time(minutes=minutes)

    @invariant()
    def dependencies_are_respected(self):
        """What runs had all it depends on completed when it was placed; here: nothing waits that is placed."""
        for job in self.world.state.jobs.values():
            for key in job.dependencies.waiting:
                assert job.tasks[key].state == "active"
            for tasks in job.waiting.values():
                assert not {key for key, ticket in tasks if _is_valid(job, key, ticket)} & set(job.dependencies.waiting)

    @invariant()
    def a_schedule_has_one_active_job(self):
        made = [job for job in self.world.state.jobs.values() if job.schedule_key]
        assert sum(job.state in LIVE for job in made) <= 1

    def teardown(self):
        """Everything can be brought to its end."""
        world = self.world
        world.settle()
        for schedule in list(world.state.schedules.values()):
            if schedule.state != "deleting":
                world.feed(events.ScheduleDeleted(schedule.key))
        for job in self._jobs(*LIVE, "terminating", "completed"):
            world.feed(events.JobDeleted(job.key))
        world.settle()  # release tasks start
        while world.state.runs:
            for run in list(world.state.runs.values()):
                if run.number in world.state.runs:
                    world.end(run, None, ENDED)
            world.settle()
        world.settle()
        assert (world.state.jobs, world.state.schedules, world.state.runs) == ({}, {}, {})
        if "p" in world.state.pools and world.state.pools["p"].wire["state"] == "active":
            world.feed(events.PoolDeleted("p"))
            world.settle()
        assert world.state.pools == {}


def _is_valid(job, key, ticket):
    return key in job.tasks and job.tasks[key].ticket == ticket


Account.TestCase.settings = settings(max_examples=120, stateful_step_count=40, deadline=None)
TestAccount = Account.TestCase
