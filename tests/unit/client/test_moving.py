"""Jobs that go to dedicated nodes."""

from snakemake_executor_azurebatch.errors import ServiceError
from snakemake_executor_azurebatch.jobs import JobRequest
from snakemake_executor_azurebatch.run import moving
from snakemake_executor_azurebatch.run.moving import Mover

JOB = JobRequest("k", "j", threads=1, script="", runtime_s=None)


def test_a_pool_that_cannot_be_opened_is_asked_for_again_only_after_a_while(monkeypatch):
    asked, said, now_s = [], [], [1000.0]
    monkeypatch.setattr(moving.time, "monotonic", lambda: now_s[0])

    class Refuses:
        def prepare(self, request):
            asked.append(request.key)
            raise ServiceError("no room")

    mover = Mover(Refuses(), 3, said.append)
    for _ in range(5):
        assert mover.prepare(JOB) is None
    assert asked == ["k"]
    now_s[0] += moving.AGAIN_S
    assert mover.prepare(JOB) is None
    assert asked == ["k", "k"]
    assert said == ["Task k cannot go to dedicated nodes, and stays where it is: no room"]
