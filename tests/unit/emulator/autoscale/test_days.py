"""Two days of a pool in virtual time: samples go in, targets come out, nodes and tasks follow."""

from datetime import UTC, datetime, timedelta

from snakemake_executor_azurebatch.emulator.autoscale import SAMPLE_PERIOD, Context, SampleStore, evaluate

FORMULA = """
waiting = $PendingTasks.GetSamplePercent(5 * TimeInterval_Minute) < 70
    ? max(0, $PendingTasks.GetSample(1)) : max($PendingTasks.GetSample(5 * TimeInterval_Minute));
$TargetDedicatedNodes = min(10, ceil(waiting / $TaskSlotsPerNode));
$NodeDeallocationOption = taskcompletion;
"""
SLOTS, TASK_DURATION = 2, timedelta(minutes=20)
START = datetime(2025, 3, 19, tzinfo=UTC)


class Pool:
    """Nodes with two slots. A node goes only when it is idle, as ``taskcompletion`` asks."""

    def __init__(self):
        self.nodes: list[list[datetime]] = []  # the ends of what each one runs
        self.waiting = self.done = self.target = 0
        self.store = SampleStore()

    def step(self, now):
        for node in self.nodes:
            self.done += sum(end <= now for end in node)
            node[:] = [end for end in node if end > now]
        self._resize()
        for node in self.nodes:
            while self.waiting and len(node) < SLOTS and len(self.nodes) <= self.target:
                node.append(now + TASK_DURATION)
                self.waiting -= 1

    def _resize(self):
        surplus = len(self.nodes) - self.target
        for node in [node for node in self.nodes if not node][: max(0, surplus)]:
            self.nodes.remove(node)
        self.nodes.extend([] for _ in range(-surplus))

    def sample(self, now):
        running = sum(map(len, self.nodes))
        values = {"$ActiveTasks": self.waiting, "$RunningTasks": running, "$CurrentDedicatedNodes": len(self.nodes)}
        self.store.record(now, {**values, "$TaskSlotsPerNode": SLOTS})

    def scale(self, now):
        context = Context(now, self.target, 0, samples=self.store, current={"$TaskSlotsPerNode": SLOTS})
        evaluation = evaluate(FORMULA, context)
        assert evaluation.error is None, evaluation.error
        assert evaluation.node_deallocation_option == "taskcompletion"
        self.target = evaluation.target_dedicated
        return evaluation


def test_two_days():
    pool, targets = Pool(), {}
    arrivals = {9 * 120: 100, 15 * 120: 3, 33 * 120: 100}  # the tasks that come at a step of 30 s
    for number in range(48 * 120):
        now = START + number * SAMPLE_PERIOD
        pool.waiting += arrivals.get(number, 0)
        pool.step(now)
        assert pool.store.due(now)
        pool.sample(now)
        if number % 10 == 0:  # every five minutes
            pool.scale(now)
            targets[number / 120] = pool.target
    assert pool.done == 203
    assert pool.waiting == 0
    assert pool.nodes == []
    assert len(pool.store) == 2880
    assert max(targets.values()) == 10
    assert {hour for hour, target in targets.items() if target} >= {9.25, 10.0, 15.25, 33.25}
    assert not any(targets[hour] for hour in (0.0, 8.0, 9.0, 14.5, 20.0, 33.0, 47.0))
    assert targets[15.25] == 2
