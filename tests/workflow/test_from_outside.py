"""One terminal has the service, another runs a workflow on it, a third looks with the plain SDK."""

import sys

from azure.batch import BatchClient
from azure.core.credentials import AzureNamedKeyCredential

from snakemake_executor_azurebatch.emulator import service as emulator

ONE = 'rule a:\n    output: "a.txt"\n    shell: "echo a > {output}"\n'


def test_the_plain_sdk_sees_what_a_run_did(workdir, service):
    workdir.write("Snakefile", ONE)
    workdir.run("--azurebatch-pool-id", "shared-pool").must_succeed()

    key = service.environment["BATCH_ACCOUNT_KEY"]
    with BatchClient(service.batch_url, AzureNamedKeyCredential(service.account, key)) as client:
        assert "shared-pool" in {pool.id for pool in client.list_pools()}
        job = next(job for job in client.list_jobs() if job.pool_info.pool_id == "shared-pool")
        task = next(iter(client.list_tasks(job.id)))

        assert {item.name: item.value for item in job.metadata}["workdir"] == str(workdir.path)
        assert task.id.startswith("a-")
        assert task.state == "completed"
        assert task.execution_info.exit_code == 0


def test_a_second_run_finds_the_pool_of_the_first(workdir):
    workdir.write("Snakefile", ONE)

    assert "(new)" in workdir.run("--azurebatch-spot-nodes", "1").must_succeed().text
    (workdir.path / "a.txt").unlink()
    assert "(existing)" in workdir.run("--azurebatch-spot-nodes", "1").must_succeed().text


def test_pool_and_job_are_deleted_when_asked_for(workdir, service):
    workdir.write("Snakefile", ONE)

    workdir.run(
        "--azurebatch-pool-id", "short-lived", "--azurebatch-delete-pool", "--azurebatch-delete-job"
    ).must_succeed()

    key = service.environment["BATCH_ACCOUNT_KEY"]
    with BatchClient(service.batch_url, AzureNamedKeyCredential(service.account, key)) as client:
        jobs = [job for job in client.list_jobs() if job.pool_info.pool_id == "short-lived" and job.state != "deleting"]
        pools = [pool for pool in client.list_pools() if pool.id == "short-lived" and pool.state != "deleting"]
        assert (jobs, pools) == ([], [])


def test_a_run_reuses_the_service_that_is_there_and_leaves_it_alone(workdir, service):
    workdir.write("Snakefile", ONE)
    workdir.environment["SNAKEMAKE_AZUREBATCH_EMULATOR_DIR"] = str(service.state_dir)
    command = [sys.executable, "-m", "snakemake", "--executor", "azurebatch", "--azurebatch-emulator", "--jobs", "2"]

    outcome = workdir.call(command).must_succeed()

    assert f"Using the local Azure Batch service at {service.batch_url}." in outcome.text
    assert emulator.find(service.state_dir) == service
