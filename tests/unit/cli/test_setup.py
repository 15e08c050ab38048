"""``setup`` and ``teardown``: names, commands for two shells, what az is really asked, profiles."""

import json
import os
import re
import subprocess
import zipfile
from pathlib import Path

import pytest
import yaml
from hatchling.builders.sdist import SdistBuilder
from hatchling.builders.wheel import WheelBuilder
from typer.testing import CliRunner

from snakemake_executor_azurebatch.cli.main import app
from snakemake_executor_azurebatch.options import read_options
from snakemake_executor_azurebatch.pools.config import read_pools
from snakemake_executor_azurebatch.provisioning.names import Names, NamesError, check
from snakemake_executor_azurebatch.provisioning.profile import template_path
from snakemake_executor_azurebatch.provisioning.shells import Shell, command
from snakemake_executor_azurebatch.provisioning.steps import Principal, Step, setup_steps
from snakemake_executor_azurebatch.settings import ExecutorSettings
from tests.unit.cli import bicep

ROOT = Path(__file__).resolve().parents[3]
EVERYTHING = ("--registry", "mylabimages", "--identity", "mylab-nodes")
WHO = "11111111-2222-3333-4444-555555555555"
NAMES = Names("westeurope", "mylab", "mylab", "mylab")


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return lambda *arguments, **options: CliRunner().invoke(app, arguments, catch_exceptions=False, **options)


def setup(run, *arguments, **options):
    return run("setup", "mylab", "--location", "westeurope", *arguments, **options)


# -- names -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"batch_account": "My-Lab"}, "Batch account 'My-Lab': 3 to 24 lower-case letters and digits, such as mylab"),
        ({"storage_account": "ab"}, "storage account 'ab': 3 to 24 lower-case letters and digits"),
        ({"storage_account": "a" * 25}, f"storage account '{'a' * 25}'"),
        ({"registry": "my-images"}, "registry 'my-images': 5 to 50 letters and digits"),
        ({"registry": "abcd"}, "registry 'abcd'"),
        ({"identity": "-x"}, "identity '-x': 3 to 128 letters"),
        ({"resource_group": "ends."}, "resource group 'ends.': 1 to 90 letters"),
        ({"resource_group": "a b"}, "resource group 'a b'"),
        ({"location": "west-europe"}, "location 'west-europe': a region's name"),
    ],
)
def test_names_that_azure_refuses(change, says):
    values = {name: getattr(NAMES, name) for name in NAMES.__slots__} | change
    with pytest.raises(NamesError) as refused:
        check(Names(**values))
    assert len(refused.value.problems) == 1
    assert says in refused.value.problems[0]


def test_all_wrong_names_are_told_at_once(run, tmp_path):
    done = run("setup", "My_Lab", "--location", "x", "--registry", "a-b")
    assert done.exit_code == 1
    assert [line.split()[1] for line in done.stderr.splitlines() if line.startswith("  - ")] == [
        *("location", "Batch", "storage", "registry"),
    ]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("location", "account", "storage", "registry"),
    [
        ("West Europe", "https://mylab.westeurope.batch.azure.com", "mylab", "images.azurecr.io"),
        (
            *("usgovvirginia", "https://mylab.usgovvirginia.batch.usgovcloudapi.net"),
            *("https://mylab.blob.core.usgovcloudapi.net", "images.azurecr.us"),
        ),
        (
            *("chinanorth3", "https://mylab.chinanorth3.batch.chinacloudapi.cn"),
            *("https://mylab.blob.core.chinacloudapi.cn", "images.azurecr.cn"),
        ),
    ],
)
def test_hosts_of_each_cloud(location, account, storage, registry):
    names = check(Names(location, "g", "mylab", "mylab", "images"))
    assert (names.account_url, names.storage, names.registry_server) == (account, storage, registry)


# -- commands --------------------------------------------------------------------------------------------


def test_the_printed_script_asks_az_for_what_it_says(run, az, tmp_path):
    printed = setup(run, *EVERYTHING)
    assert printed.exit_code == 0
    done = subprocess.run(["bash", "-eu", "-c", printed.stdout], capture_output=True, text=True, check=True, timeout=60)
    assert done.stderr == ""
    assert [asked[:2] for asked in az.asked] == [
        ["login"],
        *[["provider", "register"]] * 4,
        *(["group", "create"], ["ad", "signed-in-user"], ["deployment", "group"], ["batch", "account"]),
    ]
    deployment = az.asked[-2]
    given = dict(one.split("=") for one in deployment[deployment.index("--parameters") + 1 :])
    assert given == {
        "location": "westeurope",
        "batchAccountName": "mylab",
        "storageAccountName": "mylab",
        "registryName": "mylabimages",
        "identityName": "mylab-nodes",
        "principalId": WHO,
        "principalType": "User",
    }
    assert set(given) <= bicep.parameters()
    assert Path(deployment[deployment.index("--template-file") + 1]) == template_path()


def test_run_asks_az_for_the_same(run, az):
    assert setup(run, "--run", "--yes").exit_code == 0
    ran = az.asked
    Path(az.environment["AZ_LOG"]).unlink()
    subprocess.run(["bash", "-c", setup(run).stdout], check=True, timeout=60, capture_output=True)
    assert ran[0] == ["account", "show", "--query", "name", "--output", "tsv"]
    assert ran[1:] == az.asked[1:]


def test_run_does_nothing_unasked(run, az, tmp_path):
    done = setup(run, "--run", input="")
    assert done.exit_code == 1
    assert "Nothing is made: nobody can be asked here. To make it in subscription 'Pay as you go': --yes" in done.stderr
    assert len(az.asked) == 1
    assert not (tmp_path / "profiles").exists()


def test_run_stops_where_az_fails_and_repeats_its_words(run, az, monkeypatch):
    monkeypatch.setenv("AZ_FAILS", "deployment*")
    monkeypatch.setenv("AZ_SAYS", "StorageAccountAlreadyTaken: the name is taken")
    done = setup(run, "--run", "--yes")
    assert done.exit_code == 1
    assert "az deployment group create has failed (exit code 3):\nERROR: StorageAccountAlreadyTaken" in done.stderr
    assert az.asked[-1][0] == "deployment"


def test_run_without_az(run, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    done = setup(run, "--run", "--yes")
    assert (done.exit_code, "The Azure CLI (az) is not on PATH" in done.stderr) == (1, True)


def test_keys_go_from_azure_into_the_shell_and_nowhere_else(run, az, tmp_path):
    printed = setup(run, "--keys")
    assert "principal" not in printed.stdout
    script = f"{printed.stdout}\necho $BATCH_ACCOUNT_KEY $STORAGE_ACCOUNT_KEY >&2; env | grep -c _ACCOUNT_KEY= >&2"
    done = subprocess.run(["bash", "-eu", "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert done.stderr == "c2VjcmV0 c2VjcmV0\n2\n"
    assert all("c2VjcmV0" not in argument for asked in az.asked for argument in asked)
    assert all("c2VjcmV0" not in file.read_text() for file in (tmp_path / "profiles").rglob("*.yaml"))
    ran = setup(run, "--keys", "--run", "--yes")
    assert "export BATCH_ACCOUNT_KEY=$(az batch account keys list" in ran.stdout
    assert "c2VjcmV0" not in ran.output


def test_a_principal_that_is_named_is_not_looked_for(run, az):
    setup(run, "--run", "--yes", "--principal", "abc", "--principal-type", "ServicePrincipal")
    assert ["ad", "signed-in-user", "show"] not in [asked[:3] for asked in az.asked]
    assert {"principalId=abc", "principalType=ServicePrincipal"} <= set(az.asked[-2])


def test_powershell(run):
    printed = setup(run, *EVERYTHING, "--shell", "powershell", "--keys").stdout
    assert "$env:BATCH_ACCOUNT_KEY = az batch account keys list --name mylab" in printed
    assert "--query '{dedicated: dedicatedCoreQuota, spot: lowPriorityCoreQuota, pools: poolQuota}'" in printed
    assert "$principal = az ad signed-in-user show" in setup(run, "--overwrite", "--shell", "powershell").stdout
    assert '"principalId=$principal"' in setup(run, "--overwrite", "--shell", "powershell").stdout
    assert command(Step("", ("a b", "it's", "x")), Shell.POWERSHELL) == "az 'a b' 'it''s' x"


def test_no_step_has_double_quotes():
    """How PowerShell hands these on to a program depends on its version."""
    steps = setup_steps(Names("westeurope", "g", "b", "s", "r", "i"), "t", Principal())
    assert not any('"' in argument for step in steps for argument in step.az)


# -- profiles --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("more", [(), EVERYTHING])
def test_the_profile_works_as_it_stands(run, tmp_path, more):
    assert setup(run, *more, "--profile", "p").exit_code == 0
    config = yaml.safe_load((tmp_path / "p/config.yaml").read_text())
    given = {key.removeprefix("azurebatch-").replace("-", "_"): value for key, value in config.items()}
    chosen = {name: value for name, value in given.items() if name in ExecutorSettings.__dataclass_fields__}
    assert len(chosen) + 3 == len(config)  # executor, jobs, max-jobs-per-timespan
    options = read_options(ExecutorSettings(**chosen), {})
    assert (options.account.url, options.storage.name) == ("https://mylab.westeurope.batch.azure.com", "mylab")
    pools = read_pools(tmp_path / "p" / options.pools_file, {})
    assert pools.warnings == ()
    assert [pool.given_id for pool in pools.pools] == (["snakemake"] if more else [None])
    assert "@" not in "".join(file.read_text() for file in (tmp_path / "p").iterdir())
    image = "mylabimages.azurecr.io" if more else "REGISTRY.azurecr.io"
    assert f"# container-image: {image}/NAME:1" in (tmp_path / "p/config.yaml").read_text()


def test_a_profile_that_is_there_stays_unless_that_is_asked_for(run, tmp_path):
    setup(run)
    again = setup(run)
    assert again.exit_code == 0
    mine = tmp_path / "profiles/azure/pools.yaml"
    mine.write_text("mine")
    (tmp_path / "profiles/azure/config.yaml").unlink()
    refused = setup(run)
    assert refused.exit_code == 1
    assert "profiles/azure/pools.yaml: there already, and nothing was written" in refused.stderr
    assert (refused.stdout, mine.read_text()) == ("", "mine")
    assert not (tmp_path / "profiles/azure/config.yaml").exists()
    assert setup(run, "--overwrite").exit_code == 0
    assert mine.read_text() != "mine"
    assert sorted(file.name for file in mine.parent.iterdir()) == ["config.yaml", "pools.yaml"]


def test_json_writes_and_runs_nothing(run, az, tmp_path):
    done = setup(run, "--json")
    facts = json.loads(done.stdout)
    assert facts["account_url"] == "https://mylab.westeurope.batch.azure.com"
    assert all(command[0] == "az" for command in facts["commands"])
    assert (az.asked, (tmp_path / "profiles").exists()) == ([], False)


# -- template --------------------------------------------------------------------------------------------


def test_the_template_has_no_syntax_error():
    wrong = [node.start_point for node in bicep.nodes(bicep.tree()) if node.type == "ERROR" or node.is_missing]
    assert wrong == []


def test_the_template_has_the_roles_by_their_ids():
    """source: Azure documentation, "Azure built-in roles"."""
    text = template_path().read_text()
    assert dict(re.findall(r"^var (\w+) = '([0-9a-f-]{36})'$", text, re.MULTILINE)) == {
        "batchDataContributor": "6aaa78f1-f7de-44ca-8722-c64a23943cae",
        "storageBlobDataContributor": "ba92f5b4-2d11-453d-a403-e96b0029c9fe",
        "acrPull": "7f951dda-4ed3-4680-a7ca-43fe172d538d",
        "acrPush": "8311e382-0749-4cb8-b61a-304f252e45ec",
    }


def test_no_key_comes_out_of_the_template():
    text = template_path().read_text()
    assert "listKeys" not in text
    assert "@secure" not in text


def test_wheel_and_sdist_have_the_data_files(tmp_path):
    data = {f"snakemake_executor_azurebatch/provisioning/data/{one.name}" for one in template_path().parent.iterdir()}
    data = {name for name in data if not name.endswith("__pycache__")}
    assert len(data) == 5
    (wheel,) = WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    with zipfile.ZipFile(wheel) as archive:
        assert data <= set(archive.namelist())
    included = {file.distribution_path for file in SdistBuilder(str(ROOT)).recurse_included_files()}
    assert data <= included


# -- teardown --------------------------------------------------------------------------------------------

OURS = ("mylab", "Microsoft.Batch/batchAccounts", "snakemake-azurebatch")


def test_teardown_prints_what_it_would_do(run, az):
    done = run("teardown", "mylab")
    assert "az resource list --resource-group mylab" in done.stdout
    assert done.stdout.endswith("az group delete --name mylab --yes\n")
    assert "Lost for good: pools, Batch jobs" in done.stderr
    assert az.asked == []


def test_teardown_asks_first(run, az):
    az.has(OURS)
    done = run("teardown", "mylab", "--run", input="")
    assert done.exit_code == 1
    assert "  mylab  Microsoft.Batch/batchAccounts" in done.stdout
    assert "Nothing is deleted: nobody can be asked here" in done.stderr
    assert [asked[:2] for asked in az.asked] == [["resource", "list"]]


@pytest.mark.parametrize(("typed", "deletes"), [("mylab\n", True), ("other\n", False), ("\n", False)])
def test_teardown_wants_the_name_typed(run, az, monkeypatch, typed, deletes):
    az.has(OURS)
    monkeypatch.setattr("snakemake_executor_azurebatch.cli.teardown._can_ask", lambda: True)
    done = run("teardown", "mylab", "--run", input=typed)
    assert done.exit_code == (0 if deletes else 1)
    assert (["group", "delete", "--name", "mylab", "--yes"] in az.asked) is deletes


def test_teardown_leaves_a_group_that_has_things_of_others(run, az):
    az.has(OURS, ("precious", "Microsoft.Sql/servers", None))
    done = run("teardown", "mylab", "--run", "--yes")
    assert done.exit_code == 1
    assert "Nothing is deleted: setup has not made precious. To delete them with the rest: --everything" in done.stderr
    assert ["group", "delete", "--name", "mylab", "--yes"] not in az.asked
    assert run("teardown", "mylab", "--run", "--yes", "--everything").exit_code == 0
    assert az.asked[-1] == ["group", "delete", "--name", "mylab", "--yes"]


def test_teardown_as_json_only_looks(run, az):
    az.has(OURS)
    done = run("teardown", "mylab", "--json", "--run", "--yes")
    assert json.loads(done.stdout) == [{"name": OURS[0], "type": OURS[1], "by": OURS[2]}]
    assert len(az.asked) == 1


def test_help_is_readable_on_a_narrow_terminal(run):
    for name in ("setup", "teardown", "doctor"):
        done = run(name, "--help", env={"COLUMNS": "40", **os.environ})
        assert (done.exit_code, "Examples" in done.output) == (0, True)
