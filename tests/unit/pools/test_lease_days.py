"""A leased pool over simulated days, on the local service's own engine: with its run, without, with tasks that wait."""

import pytest

from tests.bench.bench_pools import MOST, SLOTS, TERMS, Lease, Work, ideal, simulate, workflow
from tests.bench.simulated_service import SimulatedService, Times

HOUR_S = 3600.0


def test_time_and_node_hours_are_near_those_of_perfect_knowledge():
    """The goals: 10 % of the node-hours, 5 % of the time. The figures stand in docs/performance.md."""
    waves = workflow(seed=0, scale=1.0)
    found, best = simulate(waves, Lease()), ideal(waves)
    assert found.first_s <= best.first_s + 2
    assert found.total_s / best.total_s < 1.05
    assert found.node_h / best.node_h < 1.10


class Day:
    """One pool, and a run that can be there or not."""

    def __init__(self, takes_s):
        self.service = SimulatedService(Times(), takes_s)
        self.lease = Lease()
        self.works = []
        self.is_made = False

    def submit(self, works):
        if not self.is_made:
            self.is_made = True
            self.lease.create(self.service, "main", works)
            self.service.create_job("main", "main")
        for work in works:
            self.service.create_task("main", work.id, work.slots)
        self.works += works

    def pass_time(self, seconds, *, alive):
        """Node-seconds that have passed meanwhile."""
        service, before = self.service, self.service.node_s
        until_s = service.clock.now_s + seconds
        while service.clock.now_s < until_s:
            service.run_until(service.clock.now_s + 10)
            if alive:
                self.lease.tick(service, "main", self.open())
            found = service.state.pools["main"].wire.get("autoScaleRun", {})
            assert "error" not in found, found
        return service.node_s - before

    def open(self):
        tasks = self.service.state.jobs["main"].tasks
        return [work for work in self.works if tasks[work.id].state != "completed"]

    def nodes(self):
        return self.service.nodes()


def tasks(count, slots=1, prefix="t", takes_s=600.0):
    works = [Work(f"{prefix}{number}", "main", slots, takes_s) for number in range(count)]
    return works, {work.id: work.takes_s for work in works}


@pytest.mark.parametrize("slots", [1, 3, SLOTS])
def test_without_its_run_everything_is_done_and_then_nothing_costs(slots):
    """Far more tasks than nodes: those that wait get theirs long after the lease has ended."""
    works, takes_s = tasks(300, slots)
    day = Day(takes_s)
    day.submit(works)
    day.pass_time(300, alive=True)
    assert day.nodes() == MOST["main"]
    day.pass_time(4 * HOUR_S, alive=False)
    assert day.open() == []
    assert day.nodes() == 0
    assert day.pass_time(2 * HOUR_S, alive=False) == 0


def test_nobody_is_paid_for_between_two_busy_times_of_a_run():
    """A run that waits for something else in the night."""
    evening, takes_s = tasks(40, prefix="evening")
    morning, more = tasks(40, prefix="morning")
    day = Day({**takes_s, **more})
    day.submit(evening)
    day.pass_time(HOUR_S, alive=True)
    assert (day.open(), day.nodes()) == ([], 0)
    assert day.pass_time(10 * HOUR_S, alive=True) == 0
    day.submit(morning)
    day.pass_time(300, alive=True)
    assert day.nodes() == 10
    day.pass_time(HOUR_S, alive=True)
    assert (day.open(), day.nodes()) == ([], 0)


def test_a_run_that_is_gone_leaves_its_nodes_for_a_lease_at_most():
    """Nothing runs and nothing waits: only the lease holds them."""
    works, takes_s = tasks(40, takes_s=60.0)
    day = Day(takes_s)
    day.submit(works)
    day.pass_time(330, alive=True)
    assert day.open() == []
    assert day.nodes() == 10
    cost_s = day.pass_time(HOUR_S, alive=False)
    assert day.nodes() == 0
    assert cost_s <= 10 * (TERMS.lease_s + 2 * 300)


def test_while_samples_are_missing_the_lease_holds_and_afterwards_nobody_is_paid_for():
    works, takes_s = tasks(8, takes_s=2 * HOUR_S)
    day = Day(takes_s)
    day.submit(works)
    day.pass_time(300, alive=True)
    pool = day.service.state.pools["main"]
    for _ in range(12):  # an hour
        pool.samples.clear()
        pool.schedule += 1  # no more samples, and no evaluations but those that the run asks for
        day.pass_time(300, alive=True)
        assert day.nodes() == 2
    assert len(day.open()) == 8
