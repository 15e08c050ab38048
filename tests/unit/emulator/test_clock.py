"""The service's clock."""

import asyncio

import pytest

from snakemake_executor_azurebatch.emulator.clock import ServiceClock


async def test_advancing_wakes_who_sleeps():
    clock = ServiceClock()
    sleeper = asyncio.create_task(clock.sleep(3600))
    await asyncio.sleep(0)
    clock.advance(3599)
    await asyncio.sleep(0)
    assert not sleeper.done()
    clock.advance(1)
    await sleeper


async def test_speed_holds_for_who_sleeps_already():
    clock = ServiceClock(1e-6)
    sleeper = asyncio.create_task(clock.sleep(1))
    await asyncio.sleep(0)
    clock.set_speed(1e6)
    await sleeper
    assert clock.speed == 1e6


def test_passed_time_is_multiplied_and_never_goes_back():
    clock = ServiceClock(1000)
    first = clock.passed_s()
    clock.set_speed(0.001)
    assert clock.passed_s() >= first
    before = clock.now()
    clock.advance(60)
    assert (clock.now() - before).total_seconds() >= 60


def test_skew_concerns_dates_of_requests_only():
    clock = ServiceClock()
    clock.set_skew(-7200)
    assert 7100 < (clock.now() - clock.wall()).total_seconds() < 7300


@pytest.mark.parametrize("speed", [0, -1])
def test_a_clock_that_stands_still_is_refused(speed):
    with pytest.raises(ValueError, match="greater than 0"):
        ServiceClock(speed)
    with pytest.raises(ValueError, match="greater than 0"):
        ServiceClock().set_speed(speed)
