"""Which access a task was given, and whether it came too late for it."""

from datetime import UTC, datetime, timedelta

import pytest

from snakemake_executor_azurebatch.node.protocol import ENV_READ_URL, ENV_WRITE_URL
from snakemake_executor_azurebatch.run.access import MARGIN, TaskAccess
from snakemake_executor_azurebatch.run.judge import Sighting
from snakemake_executor_azurebatch.staging.grants import RenewedGrant
from snakemake_executor_azurebatch.staging.sas import Access
from snakemake_executor_azurebatch.tasks import Surroundings

NOW = datetime(2030, 1, 1, tzinfo=UTC)
AROUND = Surroundings(image=None, slots_per_node=1, stager_url="stager0")


class Extendable:
    """Access whose end can be moved."""

    is_extendable = True
    access = Access("r", "w", NOW)

    def extend(self) -> None:
        """Moved."""

    def revoke(self) -> None:
        """Ended."""


@pytest.fixture
def access() -> TaskAccess:
    made = iter(range(9))
    stagers = iter(range(9))

    def make() -> Access:
        number = next(made)
        return Access(f"read{number}", f"write{number}", NOW + timedelta(days=number))

    return TaskAccess(RenewedGrant(make), lambda: f"stager{next(stagers)}")


def failed(started: datetime | None, **other: object) -> Sighting:
    return Sighting("t", **{"exit_code": 94, "started": started, **other})


def test_tasks_take_the_jobs_access_until_it_is_renewed(access):
    assert access.given("t", AROUND) is AROUND

    access.extend()

    later = access.given("t", AROUND)
    assert later.access == {ENV_READ_URL: "read1", ENV_WRITE_URL: "write1"}
    assert later.stager_url == "stager1"
    assert "read1" not in repr(later)
    assert "stager1" not in repr(later)


@pytest.mark.parametrize(
    ("sighting", "late"),
    [
        (failed(NOW), True),
        (failed(NOW - MARGIN), True),
        (failed(NOW - MARGIN - timedelta(seconds=1)), False),
        (failed(None), False),
        (failed(None, ended=NOW), True),
        (failed(None, exit_code=None, ended=NOW), True),
        (failed(NOW, exit_code=0), False),
        (failed(NOW, failure_code="TaskEnded"), False),
    ],
)
def test_a_task_came_too_late(access, sighting, late):
    assert not access.had_ended(sighting)  # never given any
    access.given("t", AROUND)

    assert access.had_ended(sighting) is late


@pytest.mark.parametrize(
    ("sighting", "has"),
    [
        (failed(NOW - timedelta(hours=9), ended=NOW), True),
        (failed(NOW - timedelta(hours=9), ended=NOW - timedelta(seconds=1)), False),
        (failed(None), False),
        (failed(None, exit_code=0, ended=NOW), False),
        (failed(None, failure_code="TaskEnded", ended=NOW), False),
    ],
)
def test_access_runs_out_while_a_task_runs(access, sighting, has):
    assert not access.has_run_out(sighting)  # never given any
    access.given("t", AROUND)

    assert access.has_run_out(sighting) is has


def test_what_can_be_extended_never_comes_too_late():
    access = TaskAccess(Extendable(), lambda: "stager")
    access.given("t", AROUND)
    access.extend()

    assert access.given("t", AROUND) is AROUND
    assert not access.had_ended(failed(NOW + timedelta(days=400)))
