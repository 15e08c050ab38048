"""Completed tasks, many at a time."""

import threading
from contextlib import contextmanager

import pytest

from snakemake_executor_azurebatch.node.protocol import CommitRecord, StoredFile
from snakemake_executor_azurebatch.run.arrivals import MOST, WORKERS, Arrivals, Steps
from snakemake_executor_azurebatch.run.judge import Sighting

SMALL = StoredFile("out.txt", "runs/out.txt", 2, "", content="aGk=")
LARGE = StoredFile("out.bam", "runs/out.bam", 1 << 30, "")
AT_ONCE, WITH_THREAD = "azurebatch-arrive_0", "azurebatch-finish"


def record(key, *outputs, **values):
    return CommitRecord(key, **{"phase": "done", "exit_code": 0, "outputs": list(outputs), **values})


class Tasks:
    """What is known of tasks, and what became of them."""

    def __init__(self, records):
        self.records = records
        self.asked = []
        self.done = {}
        self.go_on = set()  #: tasks that are tried again
        self.reported = []
        self.may_go_on = threading.Event()
        self.may_go_on.set()
        self._changed = threading.Condition()
        self._finished = 0

    def read(self, keys):
        self.asked.append(list(keys))
        return {key: self.records[key] for key in self.asked[-1] if key in self.records}

    def finish(self, sighting, found):
        name = threading.current_thread().name
        if name.startswith(WITH_THREAD):
            self.may_go_on.wait(60)
        self.done[sighting.task_id] = name, found
        return None if sighting.task_id in self.go_on else (sighting.task_id, None)

    def came(self, count, reports):
        with self._changed:
            self.reported += [key for key, _ in reports]
            self._finished += count
            self._changed.notify_all()

    def wait_for(self, count):
        with self._changed:
            assert self._changed.wait_for(lambda: self._finished >= count, timeout=60)

    def arrivals(self):
        return Arrivals(Steps(self.read, self.finish, self.came))


def sighted(keys):
    return [Sighting(key, 0) for key in keys]


def test_what_needs_nothing_more_is_finished_in_order_by_one_thread():
    keys = [f"task-{number}" for number in range(3 * MOST)]
    tasks = Tasks({key: record(key, SMALL) for key in keys})
    arrivals = tasks.arrivals()
    arrivals.add(sighted(keys))
    arrivals.close(wait=True)

    assert list(tasks.done) == tasks.reported == keys
    assert {thread for thread, _ in tasks.done.values()} == {AT_ONCE}
    assert all(found is tasks.records[key] for key, (_, found) in tasks.done.items())
    assert [key for some in tasks.asked for key in some] == keys
    assert max(map(len, tasks.asked)) <= MOST


@pytest.mark.parametrize(
    "found",
    [
        record("slow", LARGE),
        record("slow", SMALL, logs=[LARGE]),
        record("slow", exit_code=1, phase="command", error_class="command"),
        None,
    ],
    ids=["something to fetch", "a log", "failed", "no record"],
)
def test_others_do_not_wait_for_what_takes_its_time(found):
    tasks = Tasks({"quick": record("quick", SMALL), **({"slow": found} if found else {})})
    tasks.may_go_on.clear()
    arrivals = tasks.arrivals()
    arrivals.add(sighted(["slow", "quick"]))
    tasks.wait_for(1)
    assert list(tasks.done) == tasks.reported == ["quick"]

    tasks.may_go_on.set()
    arrivals.close(wait=True)

    assert tasks.done["slow"][0].startswith(WITH_THREAD)
    assert tasks.done["slow"][1] is found


def test_what_is_tried_again_has_come_and_is_not_reported():
    tasks = Tasks({"again": record("again", SMALL), "slow": record("slow", LARGE), "well": record("well", SMALL)})
    tasks.go_on = {"again", "slow"}
    arrivals = tasks.arrivals()
    arrivals.add(sighted(tasks.records))
    tasks.wait_for(3)
    arrivals.close(wait=True)

    assert tasks.reported == ["well"]


def test_what_is_finished_together_is_kept_before_it_is_reported():
    tasks = Tasks({key: record(key, SMALL) for key in ("one", "two")})
    seen = []

    @contextmanager
    def together():
        seen.append(("begins", list(tasks.done), list(tasks.reported)))
        yield
        seen.append(("ends", list(tasks.done), list(tasks.reported)))

    arrivals = Arrivals(Steps(tasks.read, tasks.finish, tasks.came, together))
    arrivals.add(sighted(tasks.records))
    arrivals.close(wait=True)

    assert seen == [("begins", [], []), ("ends", ["one", "two"], [])]
    assert tasks.reported == ["one", "two"]


def test_where_records_cannot_be_read_each_task_is_finished_by_itself():
    tasks = Tasks({})

    def fail(keys):
        raise RuntimeError("no")

    arrivals = Arrivals(Steps(fail, tasks.finish, tasks.came))
    arrivals.add(sighted(["one", "two"]))
    arrivals.close(wait=True)

    assert {key: found for key, (_, found) in tasks.done.items()} == {"one": None, "two": None}


def test_a_cancelled_run_begins_nothing_more():
    keys = [f"task-{number}" for number in range(5 * WORKERS)]
    tasks = Tasks({key: record(key, LARGE) for key in keys})
    tasks.may_go_on.clear()
    arrivals = tasks.arrivals()
    arrivals.add(sighted(keys))
    arrivals.close(wait=False)
    tasks.may_go_on.set()
    arrivals.close(wait=True)

    assert len(tasks.done) <= WORKERS
