"""Threads that hold up nothing."""

import subprocess
import sys
import threading
import time

import pytest

from snakemake_executor_azurebatch.daemons import DaemonPool, within

PATIENCE_S = 60


def test_everything_is_done_by_as_many_threads_as_are_allowed():
    seen: set[str] = set()
    meet = threading.Barrier(3)

    def step(number: int) -> int:
        seen.add(threading.current_thread().name)
        if number < 3:
            meet.wait(PATIENCE_S)  # three at once, or never
        return number * 2

    with DaemonPool(3, "ours") as pool:
        assert list(pool.map(step, range(50))) == [number * 2 for number in range(50)]

    assert seen == {"ours_0", "ours_1", "ours_2"}


def test_what_is_raised_is_the_callers():
    with DaemonPool(1) as pool:
        future = pool.submit(int, "x")
        with pytest.raises(ValueError, match="invalid literal"):
            future.result(PATIENCE_S)
        assert pool.submit(int, "1").result(PATIENCE_S) == 1


def test_after_the_end_nothing_is_taken_and_what_waits_is_cancelled():
    go, begun = threading.Event(), threading.Event()

    def hold() -> None:
        begun.set()
        go.wait(PATIENCE_S)

    pool = DaemonPool(1)
    first, second = pool.submit(hold), pool.submit(int)
    assert begun.wait(PATIENCE_S)
    pool.shutdown(wait=False, cancel_futures=True)
    go.set()
    pool.shutdown()

    assert first.done()
    assert second.cancelled()
    with pytest.raises(RuntimeError):
        pool.submit(int)


def test_a_process_ends_though_a_thread_hangs():
    program = (
        "import time\n"
        "from snakemake_executor_azurebatch.daemons import DaemonPool\n"
        "DaemonPool(1).submit(time.sleep, 3600)\n"
    )

    subprocess.run([sys.executable, "-c", program], check=True, timeout=PATIENCE_S)


def test_a_step_is_waited_for_as_long_as_allowed_and_no_longer():
    assert within(PATIENCE_S, lambda: None)
    began_s = time.monotonic()
    assert not within(0.05, lambda: time.sleep(PATIENCE_S))
    assert time.monotonic() - began_s < PATIENCE_S / 2


def test_what_a_step_raises_is_raised():
    def slow() -> None:
        raise TimeoutError("its own")

    with pytest.raises(TimeoutError, match="its own"):
        within(PATIENCE_S, slow)
