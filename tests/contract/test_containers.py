"""Tasks in real containers: the node agent with podman and with docker."""

import asyncio
import logging
import os
import shlex
import shutil
import subprocess
from contextlib import suppress

import pytest

from snakemake_executor_azurebatch.emulator.agent.agent import NodeAgent
from snakemake_executor_azurebatch.emulator.agent.containers import ContainerRuntime, ContainerRuntimeUnavailable
from snakemake_executor_azurebatch.emulator.agent.engine import COMMAND_VARIABLE, OWNER_LABEL
from snakemake_executor_azurebatch.emulator.agent.strays import kill_strays_of_nodes
from snakemake_executor_azurebatch.emulator.agent.usage import METER
from snakemake_executor_azurebatch.emulator.agent.work import NodePlace, TaskWork
from tests.contract.container_support import (
    IMAGE,
    IMAGE_FOLDER,
    Registry,
    Tool,
    doomed_service,
    find_tool,
    unmount_below,
)
from tests.unit.emulator.process_support import wait_until

BOUND_S = 120  # a hang, not a speed


@pytest.fixture(scope="session", params=["podman", "docker"])
def found(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    tool = find_tool(request.param, folder)
    try:
        if not isinstance(tool, Tool):
            pytest.skip(tool)
        yield tool
        assert tool.services_containers() == []  # no test left one
        tool("rmi", IMAGE)
    finally:
        unmount_below(folder)


@pytest.fixture
def tool(found, monkeypatch):
    """The service is told of it as a user would tell it."""
    monkeypatch.setenv(COMMAND_VARIABLE, found.text)
    for name, value in found.environment.items():
        monkeypatch.setenv(name, value)
    return found


@pytest.fixture
async def agent(tool, tmp_path):
    runtime = await ContainerRuntime.choose(tool.kind, str(tmp_path))
    agent = NodeAgent(NodePlace(tmp_path / "node", "pool1", "n1", True, "localbatch", "http://127.0.0.1:1"), runtime)
    yield agent
    await asyncio.wait_for(agent.close(), BOUND_S)
    assert await runtime.engine.owned() == []


def work(command, body=None, **settings):
    return TaskWork(
        "j", "t", {"commandLine": command, "containerSettings": {"imageName": IMAGE, **settings}, **(body or {})}
    )


def shell(script):
    return shlex.join(["/bin/sh", "-c", script])


async def run(agent, item):
    return await asyncio.wait_for(agent.run(item), BOUND_S)


def read(agent, name="stdout.txt"):
    return (agent.task_directory("j", "t") / name).read_text()


async def up(agent):
    """Wait for a task's first line: its output is there while it runs."""
    async with asyncio.timeout(BOUND_S):
        while True:
            with suppress(FileNotFoundError):
                if "\n" in read(agent):
                    return
            await asyncio.sleep(0.02)


def message(outcome):
    return dict(outcome.failure.details)["Message"]


async def test_a_task_sees_the_node_at_the_same_path(agent):
    (agent.place.root / "shared" / "given").write_text("shared\n")
    outcome = await run(agent, work(shell('pwd; cat "$AZ_BATCH_NODE_SHARED_DIR/given"; echo x > made; echo no >&2')))
    assert outcome.succeeded
    wd = agent.task_directory("j", "t") / "wd"
    assert read(agent) == f"{wd}\nshared\n"
    assert read(agent, "stderr.txt") == "no\n"
    assert (wd / "made").stat().st_uid == os.getuid()
    assert outcome.container.state == "exited"
    assert len(outcome.container.container_id) == 64


async def test_its_environment_is_the_images_with_the_tasks(agent):
    odd = {"PLAIN": "a b", "QUOTED": "\"x\" 'y' $Z #", "LINES": "one\ntwo", "EMPTY": ""}
    settings = [{"name": name, "value": value} for name, value in odd.items()]
    assert (await run(agent, work("env", {"environmentSettings": settings}))).succeeded
    seen = read(agent)
    for name, value in odd.items():
        assert f"{name}={value}\n" in seen
    assert f"AZ_BATCH_TASK_WORKING_DIR={agent.task_directory('j', 't')}/wd\n" in seen
    assert "HOME=/home/_azbatchtask_1\n" in seen  # as on Azure: it is not in the container
    assert os.environ["PATH"] not in seen
    assert COMMAND_VARIABLE not in seen


async def test_an_empty_command_line_is_the_images_own(agent):
    assert (await run(agent, work(""))).succeeded
    assert read(agent) == "from the image\n"


async def test_the_images_own_working_directory(agent):
    assert (await run(agent, work("pwd", workingDirectory="containerImageDefault"))).succeeded
    assert read(agent) == f"{IMAGE_FOLDER}\n"


async def test_run_options_win(agent):
    options = "--rm --workdir / --env 'GIVEN=a b' --user 1234:1234"
    assert (await run(agent, work(shell('pwd; id -u; echo "$GIVEN"'), containerRunOptions=options))).succeeded
    assert read(agent) == "/\n1234\na b\n"


async def test_only_what_is_asked_for_is_mounted(agent):
    (agent.place.root / "startup" / "given").touch()
    mounts = [{"source": "Task"}, {"source": "Startup", "isReadOnly": True}]
    script = 'cd "$AZ_BATCH_NODE_ROOT_DIR"; ls; ls startup; touch startup/x || touch "$AZ_BATCH_TASK_DIR/wd/made"'
    assert (await run(agent, work(shell(script), containerHostBatchBindMounts=mounts))).succeeded
    assert read(agent) == "startup\nworkitems\ngiven\n"
    assert (agent.task_directory("j", "t") / "wd" / "made").exists()
    assert not (agent.place.root / "startup" / "x").exists()


async def test_an_administrator_is_root(agent):
    identity = {"userIdentity": {"autoUser": {"scope": "pool", "elevationLevel": "admin"}}}
    assert (await run(agent, work("id -u", identity))).succeeded
    assert read(agent) == "0\n"


@pytest.mark.parametrize("exit_code", [3, 125, 127])
async def test_an_exit_code_is_the_commands_own(agent, exit_code):
    outcome = await run(agent, work(shell(f"exit {exit_code}")))
    assert (outcome.exit_code, outcome.failure.code) == (exit_code, "FailureExitCode")


async def test_much_output_arrives_whole(agent):
    assert (await run(agent, work("seq 200000"))).succeeded
    assert read(agent) == "".join(f"{number}\n" for number in range(1, 200001))


@pytest.mark.parametrize(
    ("command", "settings", "code", "words"),
    [
        ("no-such-program", {}, "ContainerInvalidSettings", "no-such-program"),
        ("true", {"containerRunOptions": "--no-such-option"}, "ContainerInvalidSettings", "--no-such-option"),
        ("true", {"containerRunOptions": "'open"}, "ContainerInvalidSettings", "cannot be split"),
        ("true", {"containerHostBatchBindMounts": [{"source": "Moon"}]}, "ContainerInvalidSettings", "'Moon'"),
        ("true", {"containerHostBatchBindMounts": [{"source": "JobPrep"}]}, "ContainerInvalidSettings", "'JobPrep'"),
        ("true", {"imageName": "NOT:A:NAME"}, "ContainerInvalidImage", "invalid reference"),
        ("true", {"imageName": "--privileged"}, "ContainerInvalidImage", "not the name of an image"),
        ("true", {"imageName": "127.0.0.1:1/none:1"}, "ContainerInvalidRegistry", "refused"),
        (
            "true",
            {"imageName": "127.0.0.1:1/none:1", "registry": {"identityReference": {"resourceId": "x"}}},
            "ContainerInvalidRegistry",
            "identities",
        ),
    ],
)
async def test_what_cannot_run_says_why(agent, command, settings, code, words):
    outcome = await run(agent, work(command, **settings))
    assert (outcome.exit_code, outcome.failure.code, outcome.failure.category) == (None, code, "usererror")
    assert words in message(outcome)


async def test_terminate_asks_first(agent):
    script = "trap 'echo asked; exit 5' TERM; echo up; while :; do sleep 0.05; done"
    running = asyncio.create_task(run(agent, work(shell(script))))
    await up(agent)
    agent.terminate("j", "t")
    outcome = await running
    assert (outcome.exit_code, outcome.failure.code) == (5, "TaskEnded")
    assert read(agent) == "up\nasked\n"


async def test_a_wall_clock_limit_ends_the_container(agent):
    limit = {"constraints": {"maxWallClockTime": "PT3S"}}
    outcome = await run(agent, work(shell("trap '' TERM; echo up; while :; do sleep 600; done"), limit))
    assert outcome.failure.code == "TaskEnded"
    assert "maxWallClockTime" in message(outcome)


async def test_a_cancelled_run_leaves_no_container(agent):
    running = asyncio.create_task(agent.run(work(shell("echo up; sleep 600"))))
    await up(agent)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert await agent._means.containers.engine.owned() == []


@pytest.mark.parametrize("step", ["image", "create", "start"])
async def test_a_task_that_is_ended_while_it_starts_leaves_no_container(agent, tool, step, tmp_path, monkeypatch):
    """The engine's program is held up at one step, so that the end comes right then."""
    reached, go_on, slow = tmp_path / "reached", tmp_path / "go-on", tmp_path / tool.kind
    real = shutil.which(tool.kind)
    slow.write_text(f"""#!/bin/sh
case " $* " in *" {step} "*) touch {reached}; while [ ! -e {go_on} ]; do sleep 0.05; done;; esac
exec {real} "$@"
""")
    slow.chmod(0o700)
    monkeypatch.setenv(COMMAND_VARIABLE, shlex.join([str(slow), *tool.command[1:]]))
    held_up = NodeAgent(agent.place, await ContainerRuntime.choose(tool.kind, str(tmp_path)))
    running = asyncio.create_task(run(held_up, work(shell("sleep 600"))))
    async with asyncio.timeout(BOUND_S):
        while not reached.exists():  # noqa: ASYNC110 - another process makes it
            await asyncio.sleep(0.02)
    held_up.terminate("j", "t")
    go_on.touch()
    outcome = await running
    await held_up.close()
    assert outcome.failure.code == "TaskEnded"
    assert await agent._means.containers.engine.owned() == []


async def test_memory_and_processor_time_are_seen(agent):
    directory = agent.task_directory("j", "t")
    running = asyncio.create_task(run(agent, work(shell("while [ ! -e go ]; do :; done"))))
    async with asyncio.timeout(BOUND_S):
        while not (METER.seen(directory).cpu_s and METER.seen(directory).peak_memory_bytes):
            assert not running.done(), await running
            await asyncio.sleep(0.05)
    (directory / "wd" / "go").touch()
    outcome = await running
    assert outcome.succeeded
    assert outcome.cpu_s > 0
    assert 100_000 < outcome.peak_memory_bytes < 50_000_000


@pytest.fixture
def registry(tool, tmp_path, monkeypatch):
    with Registry(tool.root_file_system, "me", "secret word") as registry:
        allowed = tmp_path / "registries.conf"  # for podman; docker takes this machine's own without encryption
        allowed.write_text(f'[[registry]]\nlocation = "{registry.host}"\ninsecure = true\n')
        monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", str(allowed))
        yield registry
        with suppress(subprocess.CalledProcessError):  # not every test gets it
            tool("rmi", f"{registry.host}/busy:1")


def login(registry, password="secret word"):  # noqa: S107 - the test's own
    return {"registryServer": f"https://{registry.host}", "username": "me", "password": password}


async def test_an_image_comes_from_its_registry(agent, registry):
    image = f"{registry.host}/busy:1"
    outcome = await run(agent, work("", imageName=image, registry=login(registry)))
    assert outcome.succeeded
    assert read(agent) == "from the image\n"


async def test_the_pools_registries_hold_for_its_tasks(agent, registry):
    assert await agent.prefetch([], [login(registry)]) is None
    assert (await run(agent, work("", imageName=f"{registry.host}/busy:1"))).succeeded


async def test_a_prefetched_image_needs_no_registry_any_more(agent, registry):
    image = f"{registry.host}/busy:1"
    assert await agent.prefetch([image, image], [login(registry)]) is None
    registry.accepted = "nobody"
    assert (await run(agent, work("", imageName=image))).succeeded


@pytest.mark.parametrize(
    ("image", "password", "code"),
    [("busy:1", "wrong", "ContainerInvalidRegistry"), ("none:1", "secret word", "ContainerInvalidImage")],
)
async def test_a_failed_pull_says_whose_fault_it_is(agent, registry, image, password, code):
    failure = await agent.prefetch([f"{registry.host}/{image}"], [login(registry, password)])
    assert (failure.code, failure.category) == (code, "usererror")
    outcome = await run(agent, work("", imageName=f"{registry.host}/{image}"))
    assert (outcome.exit_code, outcome.failure.code) == (None, code)
    assert password not in repr(outcome) + repr(failure)


async def test_what_a_killed_service_left_is_found_and_removed(tool, tmp_path):
    nodes, owner = tmp_path / "nodes", str(tmp_path)
    service = doomed_service(nodes / "p" / "n", owner, tool.kind)
    try:
        out = nodes / "p/n/workitems/j/job-1/t/stdout.txt"
        wait_until(lambda: out.exists() and out.read_text() == "up\n", "the container did not come up")
    finally:
        service.kill()
        service.wait()
    other = tool("create", "--label", f"{OWNER_LABEL}=another", IMAGE).strip()
    kill_strays_of_nodes(nodes)
    runtime = await ContainerRuntime.choose(tool.kind, owner)
    assert await runtime.remove_leftovers() == 1
    assert await runtime.engine.owned() == []
    assert tool.services_containers() == [other]
    tool("rm", other)


async def test_auto_takes_what_answers(tool, tmp_path, monkeypatch):
    if tool.kind == "docker":
        assert (await ContainerRuntime.choose("auto", "x")).kind == "docker"
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nobody")
    with pytest.raises(ContainerRuntimeUnavailable, match="docker"):
        await ContainerRuntime.choose("docker", "x")
    if tool.kind == "podman":
        assert (await ContainerRuntime.choose("auto", "x")).kind == "podman"
        monkeypatch.setenv(COMMAND_VARIABLE, "podman --no-such-option")
        assert (await ContainerRuntime.choose("auto", "x")).kind == "process"
        with pytest.raises(ContainerRuntimeUnavailable, match="no-such-option"):
            await ContainerRuntime.choose("podman", "x")
    assert (await ContainerRuntime.choose("process", "x")).kind == "process"


async def test_without_an_engine_images_are_noted_once_and_commands_run_on_the_host(tmp_path, caplog):
    runtime = await ContainerRuntime.choose("process", "x")
    agent = NodeAgent(NodePlace(tmp_path / "node", "pool1", "n1", True, "localbatch", "http://127.0.0.1:1"), runtime)
    with caplog.at_level(logging.WARNING):
        assert await agent.prefetch(["one", "two"]) is None
        outcome = await run(agent, work("pwd", imageName="one"))
        own = await run(agent, work("", imageName="one"))
    await agent.close()
    assert outcome.succeeded
    assert outcome.container is None
    assert [record.getMessage() for record in caplog.records] == [
        "image one is not used: without docker or podman, commands run on this machine itself"
    ]
    assert (own.exit_code, own.failure.code) == (None, "ContainerInvalidSettings")
    assert "needs docker or podman" in message(own)
