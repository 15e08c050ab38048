"""Programs that are started, run to their end and cancelled. Nothing of them is left."""

import asyncio
from asyncio.subprocess import DEVNULL, PIPE, STDOUT

import pytest

from snakemake_executor_azurebatch.emulator import programs
from tests.unit.emulator.process_support import BOUND_S, processes_with, wait_until

#: More turns of the event loop than a start takes.
TURNS = 12


async def test_what_a_program_says_and_how_it_ends():
    assert await programs.run("sh", "-c", "echo out; echo err >&2; exit 3", stderr=PIPE) == programs.Ended(
        3, "out\n", "err\n"
    )
    assert await programs.run("sh", "-c", "echo out; echo err >&2", stderr=STDOUT) == programs.Ended(
        0, "out\nerr\n", ""
    )
    assert (await programs.run("sh", "-c", "kill -KILL $$")).exit_code == -9
    with pytest.raises(FileNotFoundError):
        await programs.run("no-such-program")


@pytest.mark.parametrize("turns", range(TURNS))
async def test_a_program_is_cancelled_at_any_moment_of_its_start(turns):
    asleep = f"sleep 6{turns:02}.25"
    running = asyncio.create_task(programs.run("sh", "-c", f"{asleep} & {asleep}", stderr=PIPE))
    for _ in range(turns):
        await asyncio.sleep(0)
    assert not running.done()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(running, BOUND_S)
    wait_until(lambda: not processes_with(asleep), f"{asleep} still runs")


async def test_a_start_that_is_cancelled_twice_leaves_nothing():
    asleep = "sleep 699.25"
    starting = asyncio.create_task(programs.start("sh", "-c", f"{asleep} & {asleep}", stdin=DEVNULL, stdout=PIPE))
    for _ in range(2):  # the process is there, its pipes are not
        await asyncio.sleep(0)
    starting.cancel()
    await asyncio.sleep(0)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(starting, BOUND_S)
    await asyncio.to_thread(wait_until, lambda: not processes_with(asleep), f"{asleep} still runs")


async def test_a_program_that_cannot_be_started_and_is_cancelled():
    starting = asyncio.create_task(programs.start("no-such-program"))
    await asyncio.sleep(0)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting


async def test_what_nobody_has_read_keeps_no_program():
    process = await programs.start("yes", stdin=DEVNULL, stdout=PIPE)
    await process.stdout.readline()
    await asyncio.wait_for(programs.kill(process), BOUND_S)
    assert process.returncode == -9
