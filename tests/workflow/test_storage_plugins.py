"""Files of storage providers that their own plugin moves, inside the task; and Snakemake's tests with providers."""

import shutil
import sys
from pathlib import Path

import pytest
from snakemake.common.tests import TestWorkflowsBase
from snakemake_interface_common.plugin_registry.plugin import TaggedSettings

from snakemake_executor_plugin_azurebatch import ExecutorSettings

pytest.importorskip("snakemake_storage_plugin_azure")
pytest.importorskip("snakemake_storage_plugin_fs")

needs_rsync = pytest.mark.skipif(not shutil.which("rsync"), reason="the fs storage plugin needs rsync")

FS = """
rule all:
    input: "total.txt", "here.txt"

rule upper:
    input: "in/{sample}.txt"
    output: temp("upper/{sample}.txt"), directory("folders/{sample}")
    log: "logs/{sample}.log"
    shell:
        "tr a-z A-Z < {input} > {output[0]}; mkdir -p {output[1]}/deep; cp {input} {output[1]}/deep/; "
        "echo {wildcards.sample} > {log}"

rule total:
    input: expand("upper/{sample}.txt", sample=["a", "b"]), "folders/a"
    output: "total.txt", temp("nobody/needs.this")
    run:
        from pathlib import Path
        files = [*input[:2], *sorted(map(str, Path(input[2]).rglob("*.txt")))]
        Path(output[0]).write_text("".join(Path(f).read_text() for f in files))
        Path(output[1]).touch()

rule here:
    input: local("here.in")
    output: local("here.txt")
    shell: "cp {input} {output}"
"""


@needs_rsync
def test_the_default_provider_fs_is_served_by_its_plugin_in_the_task(workdir, tmp_path):
    workdir.write("Snakefile", FS)
    workdir.write("here.in", "here\n")
    provider = {
        prefix: ("--default-storage-provider", "fs", "--default-storage-prefix", str(tmp_path / prefix))
        for prefix in ("remote", "local")
    }
    for prefix in provider:
        for name in ("a", "b"):
            file = tmp_path / prefix / "in" / f"{name}.txt"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"sample {name}\n")
    # for Snakemake "here.txt" is a wish like any other: what is local has to be asked for as such
    workdir.write("Snakefile", FS.replace('"total.txt", "here.txt"', '"total.txt", local("here.txt")', 1))
    workdir.run(*provider["remote"]).must_succeed()
    assert "Nothing to be done" in workdir.run("-n", *provider["remote"]).must_succeed().text
    assert not [path for path in (workdir.path / ".snakemake/storage").rglob("*") if path.is_file()]
    assert not {name for name in workdir.blobs("tasks/") if "/outputs" in name or "/logs" in name}
    workdir.run_locally(*provider["local"]).must_succeed()
    assert content(tmp_path / "remote") == content(tmp_path / "local")
    assert workdir.read("here.txt") == "here\n"


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


class _OnTheLocalService(TestWorkflowsBase):
    """Snakemake's own tests for executor plugins, with a storage provider."""

    @pytest.fixture(autouse=True)
    def _account(self, service, monkeypatch, tmp_path):
        self.folder = tmp_path
        for name, value in service.environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("AZURITE_CONNECTION_STRING", service.environment["STORAGE_ACCOUNT_CONNECTION_STRING"])

    def get_executor(self):
        return "azurebatch"

    def get_executor_settings(self):
        return ExecutorSettings(poll_interval=0.3, task_slots_per_node=2)

    def get_assume_shared_fs(self):
        return False


@needs_rsync
class TestWithFs(_OnTheLocalService):
    __test__ = True

    def get_default_storage_provider(self):
        return "fs"

    def get_default_storage_prefix(self):
        return str(self.folder / "storage")

    def get_default_storage_provider_settings(self):
        return {}


class TestWithAzure(_OnTheLocalService):
    __test__ = True

    def get_default_storage_provider(self):
        return "azure"

    def get_default_storage_prefix(self):
        return f"az://tests-{self.folder.name.replace('_', '-').lower()[:40].strip('-')}/p"

    def get_default_storage_provider_settings(self):
        from snakemake_storage_plugin_azure import StorageProviderSettings

        settings = TaggedSettings()
        settings.register_settings(StorageProviderSettings(account_name="devstoreaccount1"))
        return {"azure": settings}


def test_a_plugin_that_the_image_lacks_is_told(workdir):
    """As the task's Python is the controller's here, the stager's runner is asked directly."""
    from snakemake_executor_azurebatch.staging.bundle import build_stager

    stager, pins = workdir.path / "stager.pyz", workdir.write("pins.json", "[]")
    stager.write_bytes(build_stager())
    workdir.environment.update(SMK_STAGE_PINS=str(pins), SMK_STAGE_TASK_PROVIDERS="fs,does-not-exist")
    failed = workdir.call([sys.executable, str(stager), "snakemake", "-m", "snakemake", "--version"]).must_fail()
    assert "lacks snakemake-storage-plugin-does-not-exist, which this workflow uses" in failed.text
    assert "--container-image" in failed.text
