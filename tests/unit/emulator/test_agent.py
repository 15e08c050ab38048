"""The node agent with real processes."""

import asyncio
import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from snakemake_executor_azurebatch.emulator.agent.agent import NodeAgent
from snakemake_executor_azurebatch.emulator.agent.usage import METER, Usage
from snakemake_executor_azurebatch.emulator.agent.work import NodePlace, TaskWork
from tests.unit.emulator.process_support import BOUND_S, alive


def place(root):
    return NodePlace(root, "pool1", "tvmps_1_d", True, "localbatch", "http://127.0.0.1:1")


@pytest.fixture
async def agent(tmp_path):
    agent = NodeAgent(place(tmp_path / "node"))
    yield agent
    await asyncio.wait_for(agent.close(), BOUND_S)


def work(command_line, task_id="t1", common=(), **body):
    return TaskWork("job1", task_id, {"commandLine": command_line, **body}, common)


def shell(script):
    quoted = script.replace("'", "'\"'\"'")
    return f"/bin/sh -c '{quoted}'"


def read(agent, name, task_id="t1"):
    return (agent.task_directory("job1", task_id) / name).read_text()


async def run(agent, item):
    return await asyncio.wait_for(agent.run(item), BOUND_S)


async def line(path):
    """The first whole line of a file that a task is going to write."""
    async with asyncio.timeout(BOUND_S):
        while not (path.exists() and "\n" in path.read_text()):  # noqa: ASYNC110 - another process writes it
            await asyncio.sleep(0.01)
    return path.read_text().splitlines()[0]


def test_a_node_has_the_documented_folders(tmp_path):
    NodeAgent(place(tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "applications", "fsmounts", "shared", "startup", "volatile", "workitems",
    ]  # fmt: skip


async def test_a_command_runs_in_wd_and_its_output_is_kept(agent):
    outcome = await run(agent, work(shell("pwd; echo trouble >&2; cat; exit 0")))
    assert outcome.succeeded
    assert outcome.exit_code == 0
    assert outcome.start_time <= outcome.end_time
    assert outcome.start_time.utcoffset().total_seconds() == 0
    assert read(agent, "stdout.txt") == f"{agent.task_directory('job1', 't1') / 'wd'}\n"
    assert read(agent, "stderr.txt") == "trouble\n"


async def test_the_command_line_is_not_given_to_a_shell(agent):
    await run(agent, work("echo $HOME '*' > out; echo \"a b\""))
    assert read(agent, "stdout.txt") == "$HOME * > out; echo a b\n"


async def test_an_exit_code_is_a_failure_in_the_services_words(agent):
    outcome = await run(agent, work(shell("exit 3")))
    assert outcome.exit_code == 3
    assert (outcome.failure.category, outcome.failure.code) == ("usererror", "FailureExitCode")
    assert outcome.failure.message == "The task exited with an exit code representing a failure"


async def test_a_command_killed_by_a_signal_ends_with_128_and_its_number(agent):
    outcome = await run(agent, work(shell("kill -KILL $$")))
    assert outcome.exit_code == 137


@pytest.mark.parametrize("command", ["no-such-program-anywhere --x", "./not-here.sh", "/no/such/program"])
async def test_a_missing_program_has_no_exit_code(agent, command):
    outcome = await run(agent, work(command))
    assert outcome.exit_code is None
    assert outcome.failure.code == "CommandProgramNotFound"
    assert dict(outcome.failure.details)["CommandProgram"] == command.split()[0]
    assert read(agent, "stdout.txt") == ""


@pytest.mark.parametrize("command", ["", "echo 'open", "/etc/passwd"])
async def test_what_cannot_be_launched_has_no_exit_code(agent, command):
    outcome = await run(agent, work(command))
    assert outcome.exit_code is None
    assert outcome.failure.code == "CommandLaunchFailed"


async def test_a_program_is_found_in_the_working_directory_by_its_relative_path(agent):
    wd = agent.task_directory("job1", "t1") / "wd"
    wd.mkdir(parents=True)
    (wd / "run.sh").write_text("#!/bin/sh\necho here\n")
    (wd / "run.sh").chmod(0o700)
    assert (await run(agent, work("./run.sh"))).succeeded
    assert read(agent, "stdout.txt") == "here\n"


async def test_the_environment_is_small_and_holds_nothing_of_the_services_own(agent, monkeypatch):
    monkeypatch.setenv("AZURE_SECRET_THING", "secret")
    monkeypatch.setenv("TMPDIR", "/elsewhere")
    monkeypatch.setenv("LANG", "C.UTF-8")
    settings = [{"name": "BOTH", "value": "task"}, {"name": "EMPTY"}, {"name": "AZ_BATCH_JOB_ID", "value": "mine"}]
    common = [{"name": "BOTH", "value": "job"}, {"name": "COMMON", "value": "a b"}]
    await run(agent, work("env", common=common, environmentSettings=settings))
    seen = dict(entry.split("=", 1) for entry in read(agent, "stdout.txt").splitlines())
    root, directory = agent.place.root, agent.task_directory("job1", "t1")
    assert seen.pop("PATH") == f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    assert seen.pop("USER") == seen.pop("LOGNAME") != ""
    seen.pop("LC_ALL", None)
    assert seen == {
        "AZ_BATCH_ACCOUNT_NAME": "localbatch",
        "AZ_BATCH_ACCOUNT_URL": "http://127.0.0.1:1",
        "AZ_BATCH_JOB_ID": "job1",
        "AZ_BATCH_NODE_ID": "tvmps_1_d",
        "AZ_BATCH_NODE_IS_DEDICATED": "true",
        "AZ_BATCH_NODE_MOUNTS_DIR": f"{root}/fsmounts",
        "AZ_BATCH_NODE_ROOT_DIR": f"{root}",
        "AZ_BATCH_NODE_SHARED_DIR": f"{root}/shared",
        "AZ_BATCH_NODE_STARTUP_DIR": f"{root}/startup",
        "AZ_BATCH_POOL_ID": "pool1",
        "AZ_BATCH_TASK_DIR": f"{directory}",
        "AZ_BATCH_TASK_ID": "t1",
        "AZ_BATCH_TASK_RESERVED_EPHEMERAL_DISK_SPACE_BYTES": "1000000",
        "AZ_BATCH_TASK_WORKING_DIR": f"{directory}/wd",
        "BOTH": "task",
        "COMMON": "a b",
        "EMPTY": "",
        "HOME": f"{directory}/wd",
        "LANG": "C.UTF-8",
    }


async def test_terminate_asks_first(agent):
    running = asyncio.create_task(run(agent, work(shell("trap 'echo asked; exit 5' TERM; echo up; sleep 600 & wait"))))
    await line(agent.task_directory("job1", "t1") / "stdout.txt")
    agent.terminate("job1", "t1")
    outcome = await running
    assert (outcome.exit_code, outcome.failure.code, outcome.failure.category) == (5, "TaskEnded", "usererror")
    assert read(agent, "stdout.txt") == "up\nasked\n"


async def test_terminate_kills_what_does_not_listen(agent):
    running = asyncio.create_task(run(agent, work(shell("trap '' TERM; echo $$; while :; do sleep 600; done"))))
    pid = int(await line(agent.task_directory("job1", "t1") / "stdout.txt"))
    agent.terminate("job1", "t1")
    outcome = await running
    assert (outcome.exit_code, outcome.failure.code) == (137, "TaskEnded")
    assert not alive(pid)


async def test_terminating_what_does_not_run_does_nothing(agent):
    agent.terminate("job1", "no-such-task")
    assert (await run(agent, work("true"))).succeeded


async def test_a_wall_clock_limit_ends_the_task(agent):
    outcome = await run(agent, work("sleep 600", constraints={"maxWallClockTime": "PT0.2S"}))
    assert (outcome.exit_code, outcome.failure.code) == (143, "TaskEnded")
    assert "maxWallClockTime of 0.2 s" in dict(outcome.failure.details)["Message"]


async def test_an_unlimited_wall_clock_is_no_limit(agent):
    constraints = {"maxWallClockTime": "P10675199DT2H48M5.4775807S"}
    assert (await run(agent, work("true", constraints=constraints))).succeeded


async def test_background_processes_end_with_the_task(agent):
    outcome = await run(agent, work(shell("sleep 600 & echo $!")))
    assert outcome.succeeded
    assert not alive(int(read(agent, "stdout.txt")))


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="strays are only found where there is /proc")
async def test_a_daemon_in_a_session_of_its_own_ends_with_the_task(agent):
    daemon = """import os, time
os.setsid() if os.fork() == 0 else os._exit(0)
print(os.getpid(), flush=True)
time.sleep(600)
"""
    wd = agent.task_directory("job1", "t1") / "wd"
    wd.mkdir(parents=True)
    (wd / "daemon.py").write_text(daemon)
    outcome = await run(
        agent, work(shell(f"{sys.executable} daemon.py; while [ ! -s ../stdout.txt ]; do sleep 0.01; done"))
    )
    assert outcome.succeeded
    assert not alive(int(read(agent, "stdout.txt")))


async def test_nothing_outlives_close(tmp_path):
    agent = NodeAgent(place(tmp_path))
    runs = [asyncio.create_task(agent.run(work(shell("echo $$; sleep 600 & wait"), f"t{n}"))) for n in range(8)]
    pids = [int(await line(agent.task_directory("job1", f"t{n}") / "stdout.txt")) for n in range(8)]
    await asyncio.wait_for(agent.close(), BOUND_S)
    assert not any(alive(pid) for pid in pids)
    outcomes = await asyncio.gather(*runs)
    assert {(outcome.failure.code, outcome.exit_code) for outcome in outcomes} == {("TaskEnded", 143)}
    late = await agent.run(work("echo late", "late"))
    assert (late.failure.code, late.exit_code) == ("TaskEnded", None)
    assert not agent.task_directory("job1", "late").exists()


async def test_a_cancelled_run_takes_its_processes_along(agent):
    running = asyncio.create_task(agent.run(work(shell("echo $$; sleep 600"))))
    pid = int(await line(agent.task_directory("job1", "t1") / "stdout.txt"))
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert not alive(pid)


async def test_a_retry_finds_the_working_directory_and_begins_its_output_anew(agent):
    await run(agent, work(shell("echo one; echo kept > file; exit 1")))
    outcome = await run(agent, work(shell("cat file")))
    assert outcome.succeeded
    assert read(agent, "stdout.txt") == "kept\n"


async def test_a_running_task_cannot_be_run_again(agent):
    running = asyncio.create_task(run(agent, work(shell("echo up; sleep 600"))))
    await line(agent.task_directory("job1", "t1") / "stdout.txt")
    with pytest.raises(ValueError, match="task t1 of job job1 is running"):
        await agent.run(work("true"))
    agent.terminate("job1", "t1")
    assert (await running).failure.code == "TaskEnded"


async def test_removing_a_task_deletes_protected_folders_too(agent):
    await run(agent, work(shell("mkdir -p a/b; echo x > a/b/c; chmod -R a-w a; ln -s / root")))
    agent.remove_task("job1", "t1")
    assert not agent.task_directory("job1", "t1").exists()
    agent.remove_task("job1", "t1")


@pytest.mark.parametrize(
    ("item", "directory", "given", "absent"),
    [
        (TaskWork("", "", {}, kind="start"), "startup", {}, ["JOB_ID", "TASK_ID", "JOB_PREP_DIR"]),
        (
            TaskWork("job1", "prep", {}, kind="jobpreparation", job_preparation_id="prep"),
            "workitems/job1/job-1/prep",
            {"JOB_ID": "job1", "TASK_ID": "prep"},
            ["JOB_PREP_DIR", "JOB_PREP_WORKING_DIR"],
        ),
        (
            TaskWork("nightly:job-3", "t1", {}, job_preparation_id="prep"),
            "workitems/nightly/job-3/t1",
            {
                "JOB_ID": "nightly:job-3",
                "JOB_PREP_DIR": "{root}/workitems/nightly/job-3/prep",
                "JOB_PREP_WORKING_DIR": "{root}/workitems/nightly/job-3/prep/wd",
            },
            [],
        ),
        (
            TaskWork("job1", "release", {}, kind="jobrelease", job_preparation_id="prep"),
            "workitems/job1/job-1/release",
            {"JOB_PREP_DIR": "{root}/workitems/job1/job-1/prep"},
            [],
        ),
    ],
    ids=lambda value: value.kind if isinstance(value, TaskWork) else "",
)
async def test_each_kind_of_task_has_its_directory_and_variables(agent, item, directory, given, absent):
    item = replace(item, body={"commandLine": "env"})
    assert (await run(agent, item)).succeeded
    assert item.root_directory == directory
    home = agent.place.root / directory
    seen = dict(entry.split("=", 1) for entry in (home / "stdout.txt").read_text().splitlines())
    assert seen["AZ_BATCH_TASK_DIR"] == str(home)
    assert seen["AZ_BATCH_TASK_WORKING_DIR"] == seen["HOME"] == f"{home}/wd"
    expected = {f"AZ_BATCH_{name}": value.replace("{root}", str(agent.place.root)) for name, value in given.items()}
    assert {name: seen[name] for name in expected} == expected
    assert [name for name in absent if f"AZ_BATCH_{name}" in seen] == []


async def test_a_start_task_is_ended_by_its_kind(agent):
    running = asyncio.create_task(run(agent, replace(work(shell("echo up; sleep 600")), kind="start")))
    await line(agent.task_directory("", "", "start") / "stdout.txt")
    agent.terminate("job1", "t1")  # another task
    agent.terminate("", "", "start")
    assert (await running).failure.code == "TaskEnded"


async def test_processor_time_is_reported(agent):
    outcome = await run(agent, work(shell("i=0; while [ $i -lt 50000 ]; do i=$((i+1)); done")))
    assert outcome.succeeded
    assert outcome.cpu_s > 0
    assert outcome.container is None


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="processes are only seen where there is /proc")
async def test_memory_of_all_processes_is_reported(agent):
    """Two processes of 64 MiB each, the second without its environment and in a session of its own."""
    hold = f"{sys.executable} -c \"import os, sys, time; held = b'x' * 2**26; print(1, flush=True); time.sleep(600)\""
    script = f"env -i setsid {hold} & {hold} & while [ ! -e go ]; do sleep 0.05; done"
    directory = agent.task_directory("job1", "t1")
    running = asyncio.create_task(run(agent, work(shell(script))))
    async with asyncio.timeout(BOUND_S):
        while (METER.seen(directory).peak_memory_bytes or 0) < 2**27:  # noqa: ASYNC110 - looked at by a thread
            await asyncio.sleep(0.05)
    (directory / "wd" / "go").touch()
    outcome = await running
    assert outcome.succeeded
    assert 2**27 < outcome.peak_memory_bytes < 2**29
    assert METER.seen(directory) == Usage()
