"""The pages agree with each other and with the code: links, anchors, settings, resources, security's tests."""

import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
from typer.main import get_command

from snakemake_executor_azurebatch.cli.main import app
from snakemake_executor_azurebatch.settings import ExecutorSettings
from tests.workflow.docs_blocks import PAGES, ROOT

DOCS = ROOT / "docs"
_LINK = re.compile(r"\]\(([^)\s]+)\)|(?:src|href)=\"([^\"]+)\"")


def prose(page: Path) -> str:
    """A page without its fenced blocks."""
    return re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """Of the headings, as GitHub makes them."""
    found = set()
    for heading in re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE):
        text = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").strip().lower()
        found.add(re.sub(r"[^\w\- ]", "", text).replace(" ", "-"))
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_link_is_dead(page):
    dead = []
    for one, other in _LINK.findall(prose(page)):
        link = one or other
        if "://" in link or link.startswith("mailto:"):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name) if name else page
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
            dead.append(link)
    assert dead == []


def test_every_page_is_in_the_list_of_pages():
    index = DOCS / "README.md"
    linked = {link.partition("#")[0] for link, _ in _LINK.findall(index.read_text())}
    assert sorted({page.name for page in PAGES if page.parent == DOCS} - linked) == ["README.md"]


def test_pages_name_no_home_folder():
    """What somebody has pasted from a terminal."""
    wrong = [page.name for page in PAGES if re.search(r"/root/|/home/\w+/|/Users/\w+/", page.read_text())]
    assert wrong == []


# -- settings --------------------------------------------------------------------------------------------


def test_every_setting_has_a_description():
    short = [field.name for field in fields(ExecutorSettings) if len(str(field.metadata.get("help", ""))) < 20]
    assert short == []


def test_every_option_of_every_command_has_a_description():
    missing = []

    def look(command, path):
        named = [one for one in command.params if one.name != "help"]
        missing.extend(f"{path} {one.name}" for one in named if not getattr(one, "help", None))
        if not command.help:
            missing.append(path)
        for name, inner in getattr(command, "commands", {}).items():
            look(inner, f"{path} {name}")

    look(get_command(app), "snakemake-azurebatch")
    assert missing == []


def test_the_reference_is_up_to_date():
    code = "import runpy, sys; sys.stdout.write(runpy.run_path(sys.argv[1])['page']())"
    made = subprocess.run(
        [sys.executable, "-c", code, ROOT / "scripts/reference.py"], capture_output=True, text=True, check=True
    )
    assert (DOCS / "reference-settings.md").read_text() == made.stdout, "run: python scripts/reference.py"


def test_the_reference_has_every_resource_and_secret_that_the_code_reads():
    text = (DOCS / "reference-settings.md").read_text()
    code = "".join(file.read_text() for file in (ROOT / "snakemake_executor_azurebatch").rglob("*.py"))
    assert sorted(name for name in set(re.findall(r'_RESOURCE = "(\w+)"', code)) if f"`{name}`" not in text) == []
    options = (ROOT / "snakemake_executor_azurebatch/options.py").read_text()
    secrets = set(re.findall(r'"((?:SNAKEMAKE_AZUREBATCH_)?\w+_(?:KEY|PASSWORD|CONNECTION_STRING))"', options))
    assert secrets
    assert sorted(name for name in secrets if f"`{name}`" not in text) == []


def test_every_command_is_described():
    text = (DOCS / "commands.md").read_text()
    assert [name for name in get_command(app).commands if f"## {name}" not in text and name != "emulator"] == []


# -- pages for those who come from elsewhere -------------------------------------------------------------


def rows(page: str) -> str:
    return (DOCS / page).read_text()


#: source: super_batch, schema of its configuration, and its Client.
SUPERBATCH = (
    *("POOL_ID", "POOL_NODE_COUNT", "POOL_LOW_PRIORITY_NODE_COUNT", "POOL_VM_SIZE", "JOB_ID", "DELETE_POOL_WHEN_DONE"),
    *("DELETE_JOB_WHEN_DONE", "DELETE_CONTAINER_WHEN_DONE", "BLOB_CONTAINER_NAME", "BATCH_DIRECTORY", "DOCKER_IMAGE"),
    *("COMMAND_LINE", "SUBNET_ID", "STORAGE_ACCESS_DURATION_HRS", "BATCH_ACCOUNT_NAME", "BATCH_ACCOUNT_KEY"),
    *("BATCH_ACCOUNT_ENDPOINT", "STORAGE_ACCOUNT_KEY", "STORAGE_ACCOUNT_CONNECTION_STRING", "REGISTRY_SERVER"),
    *("REGISTRY_USERNAME", "REGISTRY_PASSWORD", "build_resource_file", "build_output_file", "add_task", "run"),
    *("load_results", "output_files", "data", "from_data", "print_task_output"),
)
#: source: snakemake-executor-plugin-azure-batch 0.3.0, ExecutorSettings.
AZURE_BATCH = (
    *("account-url", "autoscale", "container-registry-pass", "container-registry-url", "container-registry-user"),
    *("keep-pool", "managed-identity-resource-id", "managed-identity-client-id", "node-start-task-url"),
    *("node-fill-type", "node-communication-mode", "pool-subnet-id", "pool-image-publisher", "pool-image-offer"),
    *("pool-image-sku", "pool-vm-node-agent-sku-id", "pool-vm-size", "pool-node-count", "resource-group-name"),
    *("subscription-id", "tasks-per-node"),
)


def test_every_name_of_superbatch_has_an_answer():
    text = rows("from-superbatch.md")
    assert [name for name in SUPERBATCH if not re.search(rf"`{name}[`(]", text)] == []


def test_every_setting_of_the_azure_batch_plugin_has_an_answer():
    text = rows("from-azure-batch-plugin.md")
    assert [name for name in AZURE_BATCH if f"`--azure-batch-{name}`" not in text] == []


# -- security --------------------------------------------------------------------------------------------


def test_every_statement_on_security_names_a_test_that_is_there():
    """A row says something, and which test shows it."""
    table = re.findall(r"^\| (?!Statement|---)(.*) \| (.*) \|$", rows("security.md"), re.MULTILINE)
    assert len(table) > 10
    for statement, shown in table:
        for name in re.findall(r"`([^`]+)`", shown):
            file, _, test = name.partition("::")
            found = ROOT / "tests" / file
            assert found.is_file(), f"{statement}: {name}"
            assert f"def {test}(" in found.read_text(), f"{statement}: {name}"
        assert "`" in shown, statement
