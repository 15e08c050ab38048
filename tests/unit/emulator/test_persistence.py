"""What is written is what is known, whatever happens in whatever order."""

import tempfile
from pathlib import Path

from hypothesis import Phase, settings
from hypothesis.stateful import invariant

from snakemake_executor_azurebatch.emulator.persistence import StateStore
from snakemake_executor_azurebatch.emulator.state import State

from .engine import test_engine_random as random_account


class KeptAccount(random_account.Account):
    """The random account of the engine's tests, saved after every step."""

    def __init__(self):
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name, "state.db")
        self.store = StateStore(self.path, self.world.state)

    @invariant()
    def a_save_misses_nothing(self):
        self.store.save(self.world.now)
        for watched in self.store._watched():
            watched.touched.update(watched)
        missed, dropped = {}, []
        self.store._collect(missed, dropped)
        assert (sorted(missed), dropped) == ([], [])

    def teardown(self):
        try:
            self.a_save_misses_nothing()
            self._can_be_read_again()
        finally:
            self.store.close()
            self.folder.cleanup()
        super().teardown()

    def _can_be_read_again(self):
        again = State()
        store = StateStore(self.path, again)
        try:
            if store.load() is not None:
                assert _facts(again) == _facts(self.world.state)
                assert list(again.problems()) == []
        finally:
            store.close()


def _facts(state):
    """Everything that counts, in a form that can be compared and read."""
    jobs = {
        key: (job.id, job.number, job.pool_key, job.wire, sorted(job.runs), sorted(job.preparations), job.dependencies)
        for key, job in state.jobs.items()
    }
    tasks = {(job.key, key): task for job in state.jobs.values() for key, task in job.tasks.items()}
    nodes = {(pool.key, key): node for pool in state.pools.values() for key, node in pool.nodes.items()}
    waiting = {key: _who_waits(job) for key, job in state.jobs.items()}
    pools = {key: (pool.id, pool.wire, pool.nodes_made) for key, pool in state.pools.items()}
    on_pools = {key: sorted(found) for key, found in state.jobs_of_pool.items() if found}
    numbers = (state.last_number, state.last_etag)
    return jobs, tasks, nodes, waiting, pools, dict(state.runs), state.schedules, on_pools, numbers


def _who_waits(job):
    """Entries of the queues that still count."""
    entries = [(slots, *entry) for slots, queue in job.waiting.items() for entry in queue]
    tasks = job.tasks
    return sorted(e for e in entries if e[1] in tasks and tasks[e[1]].ticket == e[2] and tasks[e[1]].state == "active")


KeptAccount.TestCase.settings = settings(
    max_examples=20, stateful_step_count=30, deadline=None, phases=(Phase.generate,)
)
TestKeptAccount = KeptAccount.TestCase
