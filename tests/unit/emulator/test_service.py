"""The life of a local service: real processes."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading

import pytest

from snakemake_executor_azurebatch.emulator import azurite_install, running, service
from snakemake_executor_azurebatch.emulator.config import DEVELOPMENT_KEY
from snakemake_executor_azurebatch.emulator.environment import export_commands, variables
from tests.unit.emulator.process_support import alive, processes_with, wait_gone

STARTER = """
import sys
from pathlib import Path
from snakemake_executor_azurebatch.emulator import service

started = service.start(Path(sys.argv[1]), lifeline=sys.argv[2] == "lifeline")
print(started.service.pid, flush=True)
sys.stdin.read()
"""


def start_and_be_killed(state_dir, lifeline):
    """A process starts a service and is killed. Returns the ids of the service and of its Azurite."""
    starter = subprocess.Popen(
        [sys.executable, "-c", STARTER, str(state_dir), lifeline],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    pid = int(starter.stdout.readline())
    azurite = azurite_of(state_dir)
    starter.kill()
    starter.wait()
    starter.stdin.close()
    starter.stdout.close()
    return pid, azurite


def azurite_of(state_dir):
    (pid,) = processes_with(f"--location {state_dir}/azurite ")
    return pid


def record(state_dir, **facts):
    (state_dir / service.READY_FILE).write_text(json.dumps(facts))


def test_a_service_from_start_to_stop(azurite, tmp_path):
    with service.start(tmp_path) as started:
        found = service.find(tmp_path)
        assert found == started.service
        assert found.account == "localbatch"
        assert found.state_dir == tmp_path
        blobs = azurite_of(tmp_path)
        assert running.probe(found.batch_url) is True
        assert (tmp_path / service.READY_FILE).stat().st_mode & 0o077 == 0
    assert service.find(tmp_path) is None
    assert not alive(found.pid)
    wait_gone(blobs)
    assert not (tmp_path / service.READY_FILE).exists()
    assert service.stop(tmp_path) is False


def test_its_keys_are_in_its_environment_and_not_in_its_repr(tmp_path):
    found = service.RunningService(
        1, "http://127.0.0.1:1", "localbatch", "http://127.0.0.1:2/devstoreaccount1", tmp_path
    )
    environment = found.environment
    assert sorted(environment) == [
        "AZURE_STORAGE_CONNECTION_STRING", "BATCH_ACCOUNT_KEY", "BATCH_ACCOUNT_NAME", "BATCH_ACCOUNT_RESOURCE_ID",
        "BATCH_ACCOUNT_URL", "BATCH_MANAGEMENT_URL",
        "STORAGE_ACCOUNT_CONNECTION_STRING", "STORAGE_ACCOUNT_KEY", "STORAGE_ACCOUNT_NAME",
    ]  # fmt: skip
    assert "BlobEndpoint=http://127.0.0.1:2/devstoreaccount1;" in environment["AZURE_STORAGE_CONNECTION_STRING"]
    assert environment["BATCH_ACCOUNT_KEY"] == DEVELOPMENT_KEY
    assert environment["STORAGE_ACCOUNT_KEY"] not in repr(found)
    assert DEVELOPMENT_KEY not in repr(found)


def test_with_a_lifeline_it_ends_when_its_starter_is_killed(azurite, tmp_path):
    pid, blobs = start_and_be_killed(tmp_path, "lifeline")
    wait_gone(pid)
    wait_gone(blobs)
    assert service.find(tmp_path) is None


def test_without_a_lifeline_it_lives_on_until_it_is_stopped(azurite, tmp_path):
    pid, blobs = start_and_be_killed(tmp_path, "none")
    assert service.find(tmp_path).pid == pid
    assert service.stop(tmp_path) is True
    assert not alive(pid)
    wait_gone(blobs)
    assert service.stop(tmp_path) is False


def test_a_second_one_in_the_same_place_is_refused(azurite, tmp_path):
    started, refused = [], []

    def start():
        try:
            started.append(service.start(tmp_path))
        except service.ServiceStartError as error:
            refused.append(str(error))

    threads = [threading.Thread(target=start) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (one,) = started
    one.stop()
    assert refused == [f"A local service runs in {tmp_path} already: {one.service.batch_url}"]


def test_a_taken_port_is_named(azurite, tmp_path):
    told = rf"could not be started: port {azurite.port} of 127\.0\.0\.1 cannot be used"
    with pytest.raises(service.ServiceStartError, match=told):
        service.start(tmp_path, port=azurite.port)
    assert service.find(tmp_path) is None


def test_azurites_trouble_is_told_in_its_own_words(tmp_path, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    monkeypatch.setenv("npm_config_registry", f"http://127.0.0.1:{port}/")
    monkeypatch.setenv("npm_config_fetch_retries", "0")
    monkeypatch.setenv("npm_config_cache", str(tmp_path / "npm"))
    monkeypatch.setenv(azurite_install.CACHE_VARIABLE, str(tmp_path / "cache"))
    told = []
    with pytest.raises(service.ServiceStartError) as refused:
        service.start(tmp_path / "state", progress=told.append)
    assert str(refused.value).startswith(
        "The local service could not be started: Azurite could not be installed: npm ended with"
    )
    assert "ECONNREFUSED" in str(refused.value)
    assert len(told) == 1
    assert told[0].startswith(f"Installing Azurite {azurite_install.VERSION} (the local blob storage) into ")


def test_a_state_directory_that_cannot_be_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(service.ServiceStartError, match=r"cannot use .*/file/state: Not a directory"):
        service.start(tmp_path / "file" / "state")


def test_without_the_extra_the_message_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    with pytest.raises(service.ServiceStartError) as refused:
        service.start(tmp_path)
    assert 'pip install "snakemake-executor-plugin-azurebatch[emulator]"' in str(refused.value)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"pid": "x", "batch_url": "u", "account": "a", "blob_url": ""}'])
def test_a_record_that_is_none_is_no_service(tmp_path, text):
    (tmp_path / service.READY_FILE).write_text(text)
    assert service.find(tmp_path) is None
    assert service.stop(tmp_path) is False


def test_a_stale_record_is_deleted_and_the_process_that_has_its_number_now_is_left_alone(tmp_path):
    other = subprocess.Popen(["sleep", "600"])
    record(tmp_path, pid=other.pid, batch_url="http://127.0.0.1:1", account="a", blob_url="http://127.0.0.1:2/d")
    assert service.find(tmp_path) is None
    assert not (tmp_path / service.READY_FILE).exists()
    record(tmp_path, pid=other.pid, batch_url="http://127.0.0.1:1", account="a", blob_url="http://127.0.0.1:2/d")
    assert service.stop(tmp_path) is False
    assert other.poll() is None
    other.kill()
    other.wait()


def test_a_service_that_says_nothing_is_not_replaced_but_can_be_stopped(azurite, tmp_path, monkeypatch):
    pid, blobs = start_and_be_killed(tmp_path, "none")
    monkeypatch.setattr(running, "_ANSWER_S", 0.2)
    os.kill(pid, signal.SIGSTOP)
    assert service.find(tmp_path) is None
    with pytest.raises(service.ServiceStartError, match=rf"does not answer \(process {pid}\)\. Stop it first"):
        service.start(tmp_path)
    assert service.stop(tmp_path, timeout_s=0.2) is True
    assert not alive(pid)
    wait_gone(blobs)
    assert not (tmp_path / service.READY_FILE).exists()


def test_the_state_directory_can_be_named(monkeypatch, tmp_path):
    monkeypatch.setenv(service.STATE_DIR_VARIABLE, str(tmp_path))
    assert service.default_state_dir() == tmp_path
    monkeypatch.delenv(service.STATE_DIR_VARIABLE)
    assert service.default_state_dir().is_absolute()


def test_exports_are_quoted_for_each_shell():
    odd = {"NAME": "it's a $x \\ `y`"}
    assert export_commands(odd, "fish") == "set -gx NAME 'it\\'s a $x \\\\ `y`'\n"
    assert export_commands(odd, "powershell") == "$env:NAME = 'it''s a $x \\ `y`'\n"
    script = export_commands(odd, "bash") + 'printf %s "$NAME"'
    assert subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True).stdout == odd["NAME"]
    with pytest.raises(ValueError, match="unknown shell 'tcsh': one of bash, fish, powershell"):
        export_commands(odd, "tcsh")


def test_a_service_without_blobs_exports_no_storage():
    assert set(variables("http://127.0.0.1:1", "a", "k", "")) == {
        "BATCH_ACCOUNT_NAME", "BATCH_ACCOUNT_KEY", "BATCH_ACCOUNT_URL", "BATCH_ACCOUNT_RESOURCE_ID",
        "BATCH_MANAGEMENT_URL",
    }  # fmt: skip


def test_looking_for_a_service_loads_neither_aiohttp_nor_an_azure_sdk():
    script = (
        "import sys; import snakemake_executor_azurebatch.emulator.service; "
        "print([name for name in sys.modules if name.split('.')[0] in ('aiohttp', 'azure')])"
    )
    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert shown.stdout == "[]\n"
