"""Pools are opened one by one, without keeping anybody else waiting."""

import threading
from dataclasses import dataclass, field

import pytest

from snakemake_executor_azurebatch.errors import AzureBatchError, ServiceError, StagingError
from snakemake_executor_azurebatch.jobs import JobRequest, Share
from snakemake_executor_azurebatch.run.runs import Runs
from snakemake_executor_azurebatch.staging.archive import SourceArchive

FIRST, SECOND = (SourceArchive(b"", name, "", 0) for name in ("first", "second"))

#: Only what hangs is waited for so long.
PATIENCE_S = 30.0


def job(pool="big", key="k"):
    return JobRequest(key, "j", threads=1, script="", runtime_s=None, share=Share(pool, 1))


@dataclass
class FakeSeveral:
    """Opens sessions as it is told to."""

    error: AzureBatchError | None = None
    hold: threading.Event | None = None  #: the opening waits for it
    opened: list[tuple[str, bool]] = field(default_factory=list)
    happened: list[str] = field(default_factory=list)
    opening: threading.Event = field(default_factory=threading.Event)

    def session(self, name, slots, *, waits):
        del slots
        self.opened.append((name, waits))
        self.opening.set()
        if self.hold is not None:
            assert self.hold.wait(PATIENCE_S)
        if self.error is not None:
            raise self.error
        return FakeSession(self.happened)

    def has_spot(self, name):
        return name == "spot"

    def where_left(self, work):
        return None

    def cancel(self):
        self.happened.append("several cancelled")

    def close(self):
        self.happened.append("several closed")


@dataclass
class FakeSession:
    happened: list[str]

    def close(self):
        self.happened.append("session closed")


@dataclass
class FakeRun:
    session: FakeSession
    pool_id: str = "p"
    sources: list[SourceArchive] = field(default_factory=list)
    error: AzureBatchError | None = None

    def use_sources(self, archive):
        if self.error is not None:
            raise self.error
        self.sources.append(archive)

    def keep_only(self, works):
        pass

    def name(self, request, versions, is_cut_off):
        del versions, is_cut_off
        return request

    def submit(self, requests):
        pass

    def settled(self, key, *, is_done):
        pass

    def cancel(self):
        self.session.happened.append("run cancelled")
        return 1

    def close(self):
        self.session.happened.append("run closed")
        self.session.close()


def runs_on(several, made=None):
    def make(session, _):
        run = FakeRun(session)
        if made is not None:
            made.append(run)
        return run

    return Runs(several, make, lambda request: request)


def name(runs, request):
    return runs.name(request, [], lambda _: True)


def in_thread(step):
    thread = threading.Thread(target=step, daemon=True)
    thread.start()
    return thread


def test_jobs_of_one_round_do_not_try_in_vain_one_after_the_other():
    several = FakeSeveral(ServiceError("no room", "ActiveJobAndScheduleQuotaReached"))
    runs = runs_on(several)
    for _ in range(3):
        with pytest.raises(AzureBatchError, match="no room"):
            name(runs, job())
    assert several.opened == [("big", True)]
    runs.submit([])
    several.error = None
    assert name(runs, job()).key == "k", "in the next round it is tried again"
    assert several.opened == [("big", True)] * 2


@pytest.fixture
def held():
    """A pool is being opened, by the thread that watches tasks."""
    several = FakeSeveral(hold=threading.Event())
    runs = runs_on(several)
    moved = []

    def move():
        try:
            moved.append(runs.prepare(job("spot")))
        except AzureBatchError as error:
            moved.append(error)

    mover = in_thread(move)
    assert several.opening.wait(PATIENCE_S)
    yield several, runs, mover, moved
    several.hold.set()
    mover.join(PATIENCE_S)


def test_an_opening_keeps_nobody_waiting_and_does_not_wait_itself(held):
    several, runs, mover, _ = held

    def others():
        runs.settled("other", is_done=True)
        assert runs.cancel() == 0

    other = in_thread(others)
    other.join(PATIENCE_S)
    assert not other.is_alive()
    assert mover.is_alive()
    assert several.opened == [("spot", False)]


def test_what_is_opened_while_the_run_is_cancelled_is_closed_before_the_rest(held):
    several, runs, mover, moved = held
    runs.cancel()
    closing = in_thread(runs.close)
    several.hold.set()
    for thread in (closing, mover):
        thread.join(PATIENCE_S)
        assert not thread.is_alive()
    assert several.happened[:4] == ["several cancelled", "run cancelled", "run closed", "session closed"]
    assert several.happened[-1] == "several closed"
    assert "the run has ended" in str(moved[0])


def test_a_move_does_not_wait_for_somebody_who_opens_the_pool():
    several = FakeSeveral(hold=threading.Event())
    runs = runs_on(several)
    scheduler = in_thread(lambda: name(runs, job("spot")))
    assert several.opening.wait(PATIENCE_S)
    with pytest.raises(AzureBatchError, match="being opened just now"):
        runs.prepare(job("spot"))
    several.hold.set()
    scheduler.join(PATIENCE_S)
    assert runs.prepare(job("spot")).pool_id == "p"
    assert several.opened == [("spot", True)]


def test_a_pool_that_is_opened_later_gets_the_same_sources():
    made = []
    runs = runs_on(FakeSeveral(), made)
    runs.use_sources(FIRST)
    name(runs, job("big"))
    name(runs, job("small"))
    assert [run.sources for run in made] == [[FIRST], [FIRST]]


def test_a_pool_whose_sources_cannot_be_shipped_stays_open_for_the_next_round():
    several, made = FakeSeveral(), []
    runs = runs_on(several, made)
    runs.use_sources(FIRST)
    name(runs, job())
    made[0].error = StagingError("b: not readable")
    runs.use_sources(SECOND)
    with pytest.raises(StagingError, match="not readable"):
        name(runs, job())
    runs.submit([])
    made[0].error = None
    name(runs, job())
    assert made[0].sources == [FIRST, SECOND]
    assert several.opened == [("big", True)]
    assert several.happened == []
