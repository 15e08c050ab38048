"""Files in Azure Blob Storage, by the azure storage plugin: our stager moves them, the controller does not."""

import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from azure.storage.blob import BlobServiceClient, ContainerClient

from .blob_log import BlobLog, logging_blobs
from .conftest import Workdir

pytest.importorskip("snakemake_storage_plugin_azure")

ACCOUNT = "devstoreaccount1"


@dataclass(frozen=True)
class Cloud:
    """A workdir, and a blob container for the files of its workflow."""

    workdir: Workdir
    container: ContainerClient
    account_key: str
    log: BlobLog

    def provider(self, prefix: str) -> tuple[str, ...]:
        query = f"az://{self.container.container_name}/{prefix}"
        return ("--default-storage-provider", "azure", "--default-storage-prefix", query)

    @property
    def config(self) -> tuple[str, ...]:
        return ("--config", f"container={self.container.container_name}")

    def write(self, blob: str, data: bytes) -> None:
        self.container.upload_blob(blob, data)

    def read(self, blob: str) -> bytes:
        return self.container.download_blob(blob).readall()

    def content(self, prefix: str = "") -> dict[str, bytes]:
        """All blobs below a prefix."""
        names = [blob.name for blob in self.container.list_blobs(prefix)]
        return {name.removeprefix(prefix): self.read(name) for name in names}

    def moved(self, *, by_controller: bool) -> set[tuple[str, str]]:
        """Which blobs were read and written, in this blob container, by the controller or by nodes."""
        own = f"/{ACCOUNT}/{self.container.container_name}/"
        return {(how, path.removeprefix(own)) for how, path in self.log.moved(by_controller=by_controller)}

    def manifests(self) -> list[bytes]:
        """What the stager was told for each task."""
        return [told.to_json().encode() for told in self.workdir.manifests()]


@pytest.fixture
def cloud(workdir: Workdir) -> Iterator[Cloud]:
    connection = workdir.service.environment["STORAGE_ACCOUNT_CONNECTION_STRING"]
    with logging_blobs(connection) as log, BlobServiceClient.from_connection_string(connection) as client:
        container = client.create_container(f"data-{uuid.uuid4().hex[:12]}")
        variables = {
            "AZURITE_CONNECTION_STRING": log.connection_string,
            "SNAKEMAKE_STORAGE_AZURE_ACCOUNT_NAME": ACCOUNT,
        }
        yield Cloud(Workdir(workdir.path, workdir.service, variables), container, client.credential.account_key, log)


DEFAULT_PROVIDER = """
localrules: here

rule all:
    input:
        "total.txt", "kept/protected.txt", "chain/last.txt", "here.txt"

rule upper:
    input: "in/{sample}.txt"
    output: temp("upper/{sample}.txt")
    log: "logs/{sample}.log"
    benchmark: "bench/{sample}.tsv"
    params: length=lambda wildcards, input: len(input[0].rpartition("/in/")[2])
    shell: "tr a-z A-Z < {input} > {output}; echo made {wildcards.sample} of {params.length} > {log}"

rule total:
    input: expand("upper/{sample}.txt", sample=["a", "b"]), data="data with space.txt"
    output: "total.txt", side="side/of total.txt"
    run:
        import os
        open(output[0], "w").write("".join(open(f).read() for f in input[:-1]))
        open(output.side, "w").write(str(os.path.getsize(input.data)))

rule protected:
    input: "total.txt"
    output: protected("kept/protected.txt"), touch("kept/touched"), temp("scrap/nobody needs.txt")
    log: "logs/environment"
    shell: "cp {input} {output[0]}; env > {log}; echo > '{output[2]}'"

rule first:
    output: "chain/first.txt", temp("chain/gone.txt")
    group: "chain"
    shell: "echo first | tee {output[0]} > {output[1]}"

rule last:
    input: "chain/first.txt", "chain/gone.txt"
    output: "chain/last.txt"
    group: "chain"
    shell: "cat {input} > {output}"

rule here:
    input: local("here.in"), "total.txt"
    output: "here.txt"
    shell: "cat {input} > {output}"
"""


@pytest.mark.long
def test_the_default_provider_is_served_by_the_stager(cloud):
    cloud.workdir.write("Snakefile", DEFAULT_PROVIDER)
    cloud.workdir.write("here.in", "here\n")
    data = os.urandom(1000)
    for prefix in ("remote", "local"):
        cloud.write(f"{prefix}/data with space.txt", data)
        for name in ("a", "b"):
            cloud.write(f"{prefix}/in/{name}.txt", f"sample {name}\n".encode())

    cloud.workdir.run(*cloud.provider("remote")).must_succeed()
    # what a local rule reads and writes passes through here, and nothing else
    assert cloud.moved(by_controller=True) == {("GET", "remote/total.txt"), ("PUT", "remote/here.txt")}
    moved_by_nodes = cloud.moved(by_controller=False)
    assert {("GET", "remote/in/a.txt"), ("GET", "remote/total.txt"), ("PUT", "remote/total.txt")} <= moved_by_nodes
    assert cloud.workdir.run(*cloud.provider("remote"), "-n").must_succeed().text.count("Nothing to be done") == 1

    assert {path.name for path in cloud.workdir.path.iterdir()} == {"Snakefile", "here.in", ".snakemake"}
    assert not [path for path in (cloud.workdir.path / ".snakemake/storage").rglob("*") if path.is_file()]

    cloud.workdir.run_locally(*cloud.provider("local")).must_succeed()
    found, wanted = cloud.content("remote/"), cloud.content("local/")
    assert set(found) == set(wanted)
    own = {name for name in wanted if name.startswith("bench/")} | {"logs/environment"}
    assert {k: v for k, v in found.items() if k not in own} == {k: v for k, v in wanted.items() if k not in own}
    assert "chain/gone.txt" not in found
    assert "upper/a.txt" not in found
    assert "scrap/nobody needs.txt" not in found
    assert b"max_rss" in found["bench/a.tsv"]

    # no credential but a SAS for each file, in a blob, which the command does not see
    secret = {told.task_id for told in cloud.workdir.manifests() if told.is_secret}
    assert secret
    assert secret <= {name.split("/")[1] for name in cloud.workdir.blobs("tasks/") if "manifest.json" in name}
    assert cloud.manifests()
    for text in (*cloud.manifests(), found["logs/environment"]):
        assert cloud.account_key.encode() not in text
    assert b"sig=" not in found["logs/environment"]


MIXED = """
AZ = "az://" + config["container"]

storage second:
    provider="azure",
    account_name="devstoreaccount1"

rule all:
    input: storage.azure(f"{AZ}/deep/er/b.txt"), "local.txt", "query.txt", "again.txt"

rule make:
    input: storage.azure(f"{AZ}/in.txt"), "here.txt"
    output: storage.azure(f"{AZ}/deep/er/{{x}}.txt"), "side/{x}.txt", "{x}.dir/done"
    log: storage.azure(f"{AZ}/{{x}}.log"), "{x}.log"
    shell: "cat {input} | tee {output} > {log[0]}; echo here > {log[1]}"

rule local:
    input: storage("az://" + config["container"] + "/deep/er/b.txt", keep_local=True), "side/b.txt"
    output: "local.txt"
    run:
        open(output[0], "w").write(open(input[0]).read() + input[0])

rule query:
    input: storage.azure(f"{AZ}/in.txt", retrieve=False)
    output: "query.txt"
    shell: "echo {input} > {output}"

rule again:
    input: lambda wildcards: [storage.second(f"{AZ}/{open('which.txt').read().strip()}")]
    output: "again.txt"
    shell: "cat {input} > {output}"
"""


@pytest.mark.long
def test_single_files_in_storage_beside_staged_ones(cloud):
    """Input functions that read files of the controller's are evaluated there alone."""
    cloud.workdir.write("Snakefile", MIXED)
    cloud.workdir.write("here.txt", "here\n")
    cloud.workdir.write("which.txt", "in.txt\n")
    cloud.write("in.txt", b"there\n")
    cloud.workdir.run(*cloud.config).must_succeed()
    assert cloud.moved(by_controller=True) == set()
    copy = f".snakemake/storage/azure/{cloud.container.container_name}/deep/er/b.txt"
    assert cloud.content() == {
        "in.txt": b"there\n",
        "deep/er/b.txt": b"there\nhere\n",
        "b.log": b"there\nhere\n",
    }
    assert cloud.workdir.read("side/b.txt") == cloud.workdir.read("b.dir/done") == "there\nhere\n"
    assert cloud.workdir.read("local.txt") == f"there\nhere\n{copy}"
    assert cloud.workdir.read("query.txt") == f"az://{cloud.container.container_name}/in.txt\n"
    assert cloud.workdir.read("again.txt") == "there\n"
    assert cloud.workdir.read("b.log") == "here\n"
    assert "Nothing to be done" in cloud.workdir.run("-n", *cloud.config).must_succeed().text


FEATURES = """
checkpoint split:
    output: "parts.txt", ensure("whole.txt", sha256="0f044da0abb8aabed6bbbe0fecae23e80af0c48e98f3755ce25f1f0dfab18283")
    shadow: "minimal"
    shell: "echo x y > made.here; cp made.here {output[0]}; cp {output}"

rule part:
    input: "whole.txt"
    output: multiext("parts/{part}", ".a", ".b")
    script: "part.py"

def parts(wildcards):
    with checkpoints.split.get().output[0].open() as stream:
        return expand("parts/{part}.b", part=stream.read().split())

rule joined:
    default_target: True
    input: parts, "piped.txt"
    output: "joined.txt"
    shell: "cat {input} > {output}"

rule pipes:
    output: pipe("pipe")
    shell: "echo piped > {output}"

rule piped:
    input: "pipe"
    output: "piped.txt"
    shell: "cat {input} > {output}"
"""


@pytest.mark.long
def test_checkpoints_pipes_shadows_scripts(cloud):
    """A checkpoint's output is read by the user's own function, here."""
    cloud.workdir.write("Snakefile", FEATURES)
    cloud.workdir.write(
        "part.py", "for file in snakemake.output:\n    print(snakemake.wildcards.part, file=open(file, 'w'))\n"
    )
    cloud.workdir.run(*cloud.provider("p")).must_succeed()
    assert cloud.content("p/joined.txt") == {"": b"x\ny\npiped\n"}
    assert cloud.moved(by_controller=True) == {("GET", "p/parts.txt")}
    assert "Nothing to be done" in cloud.workdir.run(*cloud.provider("p"), "-n").must_succeed().text


FAILING = """
rule all:
    input: "out.txt", "empty.txt"

rule fails:
    input: "in.txt"
    output: "out.txt"
    log: "fails.log"
    shell: "echo half > {output}; echo why > {log}; exit 7"

rule empty:
    output: ensure("empty.txt", non_empty=True)
    shell: "touch {output}"
"""


def test_a_failed_job_leaves_its_log_in_storage_and_no_output(cloud):
    cloud.workdir.write("Snakefile", FAILING)
    cloud.write("p/in.txt", b"")
    failed = cloud.workdir.run(*cloud.provider("p"), "--keep-going").must_fail()
    assert "exit code 7" in failed.text
    assert "Detected unexpected empty output files" in failed.text
    assert cloud.content("p/") == {"in.txt": b"", "fails.log": b"why\n"}
    assert cloud.moved(by_controller=True) == set()


REFUSED = """
rule all:
    input: "folder", "updated.txt", storage.fs("relative/path.txt")

rule folder:
    output: directory("folder")
    shell: "mkdir {output}"

rule updated:
    output: update("updated.txt")
    shell: "date >> {output}"

rule relative:
    output: storage.fs("relative/path.txt")
    shell: "touch {output}"
"""


def test_what_cannot_work_is_refused_before_anything_is_submitted(cloud):
    cloud.workdir.write("Snakefile", REFUSED)
    refused = cloud.workdir.run(*cloud.provider("p"), "--local-storage-prefix", "/tmp/copies").must_fail()
    for rule, reason in (
        ("rule folder: az://", "directory() cannot be used in Azure Blob Storage"),
        ("rule updated: az://", "update() cannot be used in storage"),
        ("rule relative: relative/path.txt", "a relative path of the fs storage provider"),
        ("--local-storage-prefix /tmp/copies", "a task keeps its local copies in its own folder"),
    ):
        assert any(rule in line and reason in line for line in refused.text.splitlines()), refused.text
    assert "Batch job" not in refused.text
    assert cloud.content() == {}
