"""The pure parts of running tasks in containers: what the engine is asked for, and what its answers mean."""

import json
import os
from pathlib import Path

import pytest

from snakemake_executor_azurebatch.emulator.agent.container_options import create_options, user_options
from snakemake_executor_azurebatch.emulator.agent.container_task import create_trouble
from snakemake_executor_azurebatch.emulator.agent.engine import Answer, Engine, command_of
from snakemake_executor_azurebatch.emulator.agent.failures import TaskTrouble
from snakemake_executor_azurebatch.emulator.agent.images import _login, credentials, pull_trouble, qualified, server_of
from snakemake_executor_azurebatch.emulator.agent.work import NodePlace, TaskWork

PLACE = NodePlace(Path("/n,o/de"), "p", "n", True, "a", "u")
LOGIN = {"registryServer": "https://R.example/", "username": "me", "password": "secret word"}


def engine(kind="docker", *, rootless=False):
    return Engine(kind, (kind,), rootless, "/state")


def work(settings=None, **body):
    return TaskWork("j", "t", {"containerSettings": {"imageName": "i", **(settings or {})}, **body})


def options(item, kind="docker"):
    return create_options(engine(kind), PLACE, item, "name")


def after(words, option):
    return [words[position + 1] for position, word in enumerate(words) if word == option]


def test_the_whole_node_is_mounted_at_its_own_path():
    words = options(work())
    assert after(words, "--mount") == ['type=bind,"source=/n,o/de","target=/n,o/de"']
    assert after(words, "--workdir") == ["/n,o/de/workitems/j/job-1/t/wd"]
    assert after(words, "--network") == ["host"]
    assert after(words, "--label") == ["snakemake-azurebatch.service=/state"]


def test_an_empty_list_mounts_nothing():
    item = work({"containerHostBatchBindMounts": []})
    assert after(options(item), "--mount") == []


def test_every_source_of_a_mount_is_known():
    sources = ["Shared", "Startup", "VfsMounts", "Task", "JobPrep", "Applications"]
    mounts = [{"source": source, "isReadOnly": True} for source in sources]
    item = TaskWork(
        "s:job-2", "t", {"containerSettings": {"containerHostBatchBindMounts": mounts}}, job_preparation_id="prep"
    )
    found = create_options(engine(), NodePlace(Path("/n"), "p", "n", True, "a", "u"), item, "name")
    folders = ["shared", "startup", "fsmounts", "workitems/s/job-2/t", "workitems/s/job-2/prep", "applications"]
    assert after(found, "--mount") == [f"type=bind,source=/n/{x},target=/n/{x},readonly" for x in folders]


@pytest.mark.parametrize("given", ["--network none", "--net=none", "--network=none"])
def test_a_network_of_the_tasks_own_replaces_the_hosts(given):
    words = options(work({"containerRunOptions": given}))
    assert words[-len(given.split()) :] == given.split()
    assert "host" not in words


@pytest.mark.parametrize(
    ("kind", "rootless", "elevation", "expected"),
    [
        ("docker", False, None, ["--user", "7:8"]),
        ("docker", False, "Admin", ["--user", "0:0"]),
        ("docker", True, "nonadmin", ["--user", "0:0"]),
        ("podman", False, "nonadmin", ["--user", "7:8"]),
        ("podman", True, None, ["--userns", "keep-id", "--user", "7:8"]),
        ("podman", True, "admin", ["--user", "0:0"]),
    ],
)
def test_what_a_task_writes_belongs_to_the_services_user(kind, rootless, elevation, expected):
    item = work(userIdentity={"autoUser": {"elevationLevel": elevation}})
    assert user_options(engine(kind, rootless=rootless), item, 7, 8) == expected


@pytest.mark.parametrize(
    ("image", "name", "server"),
    [
        ("busybox", "docker.io/library/busybox", "docker.io"),
        ("a/b:1", "docker.io/a/b:1", "docker.io"),
        ("quay.io/a/b", "quay.io/a/b", "quay.io"),
        ("localhost/a", "localhost/a", "localhost"),
        ("host:5000/a@sha256:0", "host:5000/a@sha256:0", "host:5000"),
    ],
)
def test_an_image_is_named_as_docker_names_it(image, name, server):
    assert (qualified(image), server_of(image)) == (name, server)


@pytest.mark.parametrize(
    ("image", "said", "code"),
    [
        ("x", "pull access denied for x, repository does not exist or may require 'docker login'", "Image"),
        ("r.example/x", "unauthorized: authentication required", "Registry"),
        ("r.example/x", "dial tcp: lookup r.example: no such host", "Registry"),
        ("x", "Get https://registry-1.docker.io/v2/: dial tcp: i/o timeout", "Registry"),
        ("r.example/x", "manifest for r.example/x:latest not found: manifest unknown", "Image"),
        ("X", "invalid reference format: repository name must be lowercase", "Image"),
    ],
)
def test_a_failed_pull_is_the_images_or_the_registrys_fault(image, said, code):
    failure = pull_trouble(image, Answer(1, "", f"Error: {said}\n"), has_credentials=False).failure
    assert (failure.code, failure.category) == (f"ContainerInvalid{code}", "usererror")
    assert dict(failure.details)["Message"] == f"Error: {said}"


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("Cannot connect to the Docker daemon at unix:///var/run/docker.sock.", "ContainerMiscError"),
        ("write /var/lib/x: no space left on device", "DiskFull"),
        ("unknown flag: --x\nSee 'docker create --help'.", "ContainerInvalidSettings"),
        (
            "unknown flag: --x\n\nUsage:  docker create\n\nRun 'docker create --help' for more",
            "ContainerInvalidSettings",
        ),
        ("No such image: x", "ContainerInvalidImage"),
    ],
)
def test_why_a_container_cannot_be_created(said, code):
    failure = create_trouble(Answer(125, "", said)).failure
    assert failure.code == code
    assert dict(failure.details)["Message"] == said.splitlines()[0]


@pytest.mark.parametrize("kind", ["docker", "podman"])
def test_credentials_are_in_a_file_that_is_only_the_users_and_only_for_a_while(kind, tmp_path, monkeypatch):
    users = tmp_path / "docker"
    (users / "contexts").mkdir(parents=True)
    (users / "config.json").write_text('{"currentContext": "far", "credsStore": "desktop", "auths": {"x": {}}}')
    monkeypatch.setenv("DOCKER_CONFIG", str(users))
    hub = {"username": "hub", "password": "p"}
    with _login(engine(kind), credentials([LOGIN, hub, {"registryServer": "open.example"}])) as environment:
        ((name, value),) = environment.items()
        assert name == {"docker": "DOCKER_CONFIG", "podman": "REGISTRY_AUTH_FILE"}[kind]
        path = Path(value, "config.json") if kind == "docker" else Path(value)
        config = json.loads(path.read_text())
        assert path.stat().st_mode & 0o777 == 0o600
        assert config["auths"]["r.example"] == {"auth": "bWU6c2VjcmV0IHdvcmQ="}
        assert len(config["auths"]) == 2
        assert config.get("currentContext") == ("far" if kind == "docker" else None)
        assert (path.parent / "contexts").is_symlink() == (kind == "docker")
        assert "credsStore" not in config
    assert not path.exists()
    assert (users / "config.json").exists()


def test_a_managed_identity_for_a_registry_is_refused():
    with pytest.raises(TaskTrouble, match="ContainerInvalidRegistry"):
        credentials([{"registryServer": "r", "identityReference": {"resourceId": "i"}}])


@pytest.mark.parametrize(
    ("kind", "configured", "command"),
    [
        ("docker", "", ("docker",)),
        ("podman", "podman --root '/a b'", ("podman", "--root", "/a b")),
        ("docker", "podman --root /x", ("docker",)),
        ("docker", "/opt/bin/docker --context c", ("/opt/bin/docker", "--context", "c")),
    ],
)
def test_the_command_of_an_engine_can_be_configured(kind, configured, command):
    assert command_of(kind, configured) == command


def test_ids_are_this_processes():
    assert after(options(work()), "--user") == [f"{os.getuid()}:{os.getgid()}"]
