"""Keys and SAS never show: not on the screen, not in any file of the workdir, not on a command line."""

import re
from pathlib import Path

import pytest
from azure.batch import BatchClient
from azure.core.credentials import AzureNamedKeyCredential
from azure.core.exceptions import HttpResponseError
from azure.storage.blob import ContainerClient

FAILING = """
rule all:
    input: "good.txt", "bad.txt"

rule good:
    input: "in.txt"
    output: "good.txt"
    resources: azurebatch_lane="snakemake"
    shell: "env > {output}; cat /proc/$PPID/cmdline >> {output}"

rule bad:
    output: "bad.txt"
    shell: "env >&2; exit 1"
"""

SIGNATURE = re.compile(rb"sig=[A-Za-z0-9%+/]{20,}")


def leaks(folder: Path, secrets: list[bytes]) -> list[str]:
    found = []
    for path in folder.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            if SIGNATURE.search(data) or any(secret in data for secret in secrets):
                found.append(str(path.relative_to(folder)))
    return found


def test_no_secret_shows_anywhere(workdir):
    workdir.write("in.txt", "x\n")
    workdir.write("Snakefile", FAILING)
    environment = workdir.service.environment
    secrets = [environment[name].encode() for name in ("BATCH_ACCOUNT_KEY", "STORAGE_ACCOUNT_KEY")]

    outcome = workdir.run("--keep-going", "--verbose", "--show-failed-logs", "--printshellcmds")

    assert outcome.status == 1
    shown = outcome.text.encode()
    assert not SIGNATURE.search(shown)
    assert not any(secret in shown for secret in secrets)
    assert leaks(workdir.path, secrets) == []
    assert "SMK_STAGE" in workdir.read("good.txt")  # the environment of the command was looked at


def test_the_access_of_a_run_ends_with_it(workdir, service):
    workdir.write("Snakefile", 'rule a:\n    output: "a.txt"\n    shell: "echo a > {output}"\n')
    workdir.run("--azurebatch-pool-id", "access-pool").must_succeed()

    key = service.environment["BATCH_ACCOUNT_KEY"]
    with BatchClient(service.batch_url, AzureNamedKeyCredential(service.account, key)) as client:
        job = next(job for job in client.list_jobs() if job.pool_info.pool_id == "access-pool")
    urls = {one.name: one.value for one in job.common_environment_settings}

    for name in ("SMK_STAGE_READ_URL", "SMK_STAGE_WRITE_URL"):
        with ContainerClient.from_container_url(urls[name]) as blobs, pytest.raises(HttpResponseError) as refused:
            blobs.upload_blob("late", b"x") if "WRITE" in name else blobs.download_blob("x").readall()
        assert refused.value.status_code == 403
