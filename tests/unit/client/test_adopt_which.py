"""Which task that is left goes to which job, and which ones are ended."""

from dataclasses import dataclass

import pytest

from snakemake_executor_azurebatch.jobs import JobRequest
from snakemake_executor_azurebatch.node.protocol import CommitRecord
from snakemake_executor_azurebatch.run.adopt import Adopter, Fate, Left, Leftovers, look_at_left
from snakemake_executor_azurebatch.run.fingerprint import Context, work_of, work_of_one
from snakemake_executor_azurebatch.run.judge import Sighting
from snakemake_executor_azurebatch.run.ledger import Ledger


class Task(dict):
    """As the service lists it."""

    def __init__(self, key: str, state: str):
        super().__init__(id=key, state=state)
        self.id, self.state = key, state


class Service:
    """Batch jobs with the states of their tasks, and what was terminated."""

    def __init__(self):
        self.tasks: dict[str, dict[str, str]] = {}
        self.ended: list[tuple[str, str]] = []

    def list_tasks(self, job_id, **_):
        return [Task(key, state) for key, state in self.tasks.get(job_id, {}).items()]

    def terminate_task(self, job_id, task_id):
        self.ended.append((job_id, task_id))


@dataclass
class Runs:
    """One run after the other in one workdir."""

    path: str
    service: Service
    opened: list

    def ledger(self) -> Ledger:
        """As the next run opens it."""
        self.opened.append(Ledger(self.path, "store", self.say))
        return self.opened[-1]

    def say(self, text: str) -> None:
        assert text.startswith("Ended task "), text

    def adopter(self, job_id: str, ledger: Ledger, left: Leftovers) -> Adopter:
        return Adopter(self.service, ledger, job_id, left, self.say)

    def first(self, *requests: JobRequest, job: str = "job") -> list[str]:
        """Submit them and be killed; their ids."""
        ledger = self.ledger()
        adopter = self.adopter(job, ledger, Leftovers(ledger))
        keys = [name(adopter, request) for request in requests]
        adopter.submitted(keys)
        ledger.close()
        return keys

    def second(self, fate: Fate, *jobs: str) -> list[Adopter]:
        """What is left is like this now."""
        ledger = self.ledger()
        found = [Left(entry, fate, Sighting(entry.task_id, 0)) for entry in ledger.open_tasks()]
        left = Leftovers(ledger, found)
        return [self.adopter(job, ledger, left) for job in jobs or ("job",)]


@pytest.fixture
def runs(tmp_path):
    runs = Runs(tmp_path / "ledger.sqlite", Service(), [])
    yield runs
    for one in runs.opened:
        one.close()


def group(*numbers: int, name: str = "g") -> JobRequest:
    members = tuple({"rule": "a", "wildcards": {"i": str(n)}} for n in numbers)
    return JobRequest(key="", name=name, threads=1, runtime_s=None, script="x", members=members)


def name(adopter: Adopter, request: JobRequest) -> str:
    context = Context(adopter.ledger.salt, "image", "sources", "9")
    return adopter.name(request, context, [], lambda _: True).key


WANTED = {work_of_one("a", {"i": str(n)}) for n in range(4)}


@pytest.mark.parametrize("fate", [Fate.ALIVE, Fate.FINISHED])
def test_a_group_that_has_another_name_now_keeps_its_task(runs, fate):
    [old] = runs.first(group(0, 1, name="a1878899-1f5a"))
    [adopter] = runs.second(fate)

    key = name(adopter, group(1, 0, name="156fc7c2-8b29"))

    assert key == old
    assert adopter.take(key) is not None
    assert runs.service.ended == []


def test_a_group_that_was_never_created_is_created_under_the_id_that_was_noted(runs):
    [old] = runs.first(group(0, 1, name="a1878899-1f5a"))
    [adopter] = runs.second(Fate.UNSENT)

    key = name(adopter, group(0, 1, name="156fc7c2-8b29"))
    adopter.submitted([key])

    assert (key, adopter.take(key)) == (old, None)
    assert [entry.task_id for entry in adopter.ledger.open_tasks()] == [old]


def test_groups_that_were_put_together_otherwise_end_those_they_share_a_job_with(runs):
    old = runs.first(group(0, 1), group(2, 3))
    [adopter] = runs.second(Fate.ALIVE)
    adopter.keep_only(WANTED)
    assert runs.service.ended == []

    new = [name(adopter, one) for one in (group(0, 2), group(1, 3))]
    adopter.submitted(new)

    assert sorted(runs.service.ended) == sorted(("job", key) for key in old)
    assert [adopter.take(key) for key in new] == [None, None]
    assert {entry.task_id for entry in adopter.ledger.open_tasks()} == set(new)
    assert not set(new) & set(old)


def test_a_job_that_goes_to_another_pool_ends_its_task_on_the_first_one(runs):
    [old] = runs.first(group(0), job="small")
    small, large = runs.second(Fate.ALIVE, "small", "large")
    large.keep_only(WANTED)
    assert runs.service.ended == []

    key = name(large, group(0))

    assert runs.service.ended == [("small", old)]
    assert (large.take(key), small.take(key)) == (None, None)
    assert key != old, "the old one may still write to its place"


def test_what_has_ended_is_taken_from_any_pool_and_once(runs):
    [old] = runs.first(group(0), job="small")
    small, large = runs.second(Fate.FINISHED, "small", "large")

    assert name(large, group(0)) == old
    assert large.take(old) is not None
    assert name(small, group(0)) != old


def test_what_nobody_wants_is_ended_on_all_pools_and_stays_if_it_has_finished(runs):
    [old] = runs.first(group(7), job="small")
    _, large = runs.second(Fate.ALIVE, "small", "large")
    large.keep_only(WANTED)
    assert runs.service.ended == [("small", old)]

    [finished] = runs.first(group(8))
    [adopter] = runs.second(Fate.FINISHED)
    adopter.keep_only(WANTED)
    assert [entry.task_id for entry in adopter.ledger.open_tasks()] == [finished]


@pytest.mark.parametrize("state", ["running", "completed"])
def test_a_task_that_was_moved_to_dedicated_nodes_is_found_there(runs, state):
    [key] = runs.first(group(0), job="spot")
    ledger = runs.ledger()
    runs.adopter("dedicated", ledger, Leftovers(ledger)).submitted([key])  # before it is created there
    ledger.close()
    runs.service.tasks = {"dedicated": {key: state}, "spot": {}}

    ledger = runs.ledger()
    record = CommitRecord(task_id=key, phase="done", exit_code=0, error_class=None)
    found = look_at_left(runs.service, ledger.open_tasks(), {"spot", "dedicated"}, {key: record}.get)
    left = Leftovers(ledger, found)
    work = work_of(group(0).members)
    assert left.where(work) == (None if state == "completed" else "dedicated")
    adopter = runs.adopter("dedicated", ledger, left)

    assert name(adopter, group(0)) == key
    taken = adopter.take(key)
    assert taken is not None
    assert taken.fate is (Fate.FINISHED if state == "completed" else Fate.ALIVE)
    assert runs.service.ended == []


def test_a_task_is_looked_at_in_its_own_batch_job(runs):
    """One that was created again elsewhere is listed under one id in both."""
    [moved] = runs.first(group(0), job="spot")
    [other] = runs.first(group(1), job="spot")
    ledger = runs.ledger()
    ledger.moved([moved], "dedicated")
    entries = ledger.open_tasks()
    runs.service.tasks = {"dedicated": {moved: "running"}, "spot": {moved: "completed", other: "running"}}

    for order in (entries, entries[::-1]):
        found = look_at_left(runs.service, order, {"spot", "dedicated"}, lambda _: None)
        assert {left.entry.task_id: left.fate for left in found} == {moved: Fate.ALIVE, other: Fate.ALIVE}
