"""Jobs that go to dedicated nodes."""

from snakemake_executor_azurebatch.errors import ServiceError
from snakemake_executor_azurebatch.jobs import JobRequest
from snakemake_executor_azurebatch.run import moving
from snakemake_executor_azurebatch.run.moving import Jobs, Move, Mover

JOB = JobRequest("k", "j", threads=1, script="", runtime_s=None)


class Clock:
    def __init__(self):
        self.now_s = 1000.0

    def monotonic(self):
        return self.now_s


class Nodes:
    """Dedicated nodes; tells of every job that asks for one."""

    def __init__(self, error=None):
        self.error = error
        self.asked = []

    def prepare(self, request):
        self.asked.append(request.key)
        if self.error is not None:
            raise self.error
        return Move("dedicated", lambda: None)


def mover_to(nodes, said, hand_over=lambda *_: None):
    return Mover(nodes, 3, said.append, Jobs(lambda _: JOB, hand_over))


def idle(mover):
    """Wait until nothing is under way: one goes after the other."""
    mover._mover.submit(lambda: None).result(60)


def test_a_pool_that_cannot_be_opened_is_asked_for_again_only_after_a_while(monkeypatch):
    clock, said, nodes = Clock(), [], Nodes(ServiceError("no room"))
    monkeypatch.setattr(moving, "time", clock)
    mover = mover_to(nodes, said)
    for _ in range(5):
        mover.requeued({"k": 3})
        idle(mover)
    assert nodes.asked == ["k"]

    clock.now_s += moving.AGAIN_S
    mover.requeued({"k": 3})
    idle(mover)

    assert nodes.asked == ["k", "k"]
    assert said == ["Task k cannot go to dedicated nodes, and stays where it is: no room"]
    mover.close()


def test_only_those_go_that_have_lost_too_many():
    moved, nodes = [], Nodes()
    mover = mover_to(nodes, [], lambda request, move, count: moved.append((request.key, move.pool_id, count)))
    mover.requeued({"other": 2, "k": 4})
    idle(mover)

    assert moved == [("k", "dedicated", 4)]
    mover.close()
    mover.requeued({"k": 5})  # the run ends: nothing is begun any more
    assert moved == [("k", "dedicated", 4)]
