"""What docs/security.md says, shown: what a command can reach that looks for more, what listens, who sees what."""

import json
from pathlib import Path

from azure.batch import BatchClient
from azure.core.credentials import AzureNamedKeyCredential
from azure.storage.blob import BlobServiceClient

from snakemake_executor_azurebatch.naming import container_name

#: A command that is no friend: it looks for signatures in its own environment and in that of its parents, and tries
#: what they can do. Only statuses leave it.
LOOKS = """
import json, os, sys, urllib.request, urllib.error

def environment(pid):
    try:
        text = open(f"/proc/{pid}/environ", "rb").read().decode(errors="replace")
    except OSError:
        return {}
    return dict(item.partition("=")[::2] for item in text.split("\\0") if "=" in item)

def parents(pid):
    while pid > 1:
        pid = int(open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[1])
        yield pid

def status(method, url, body=None):
    headers = {"x-ms-blob-type": "BlockBlob", "x-ms-version": "2021-08-06"} if body else {"x-ms-version": "2021-08-06"}
    request = urllib.request.Request(url, data=body, method=method, headers=headers)
    try:
        return urllib.request.urlopen(request, timeout=60).status
    except urllib.error.HTTPError as error:
        return error.code

own = any(name.startswith("SMK_STAGE") or "sig=" in value for name, value in os.environ.items())
found = {}
for pid in parents(os.getpid()):
    found = {n: v for n, v in environment(pid).items() if n.endswith(("READ_URL", "WRITE_URL"))} or found
read, write = found["SMK_STAGE_READ_URL"], found["SMK_STAGE_WRITE_URL"]

def at(url, name, more=""):
    base, _, sas = url.partition("?")
    return f"{base}{name}?{sas}{more}"

other = read.replace(sys.argv[2], "smk-somebody-else")
keys = [name for pid in (os.getpid(), *parents(os.getpid())) for name in environment(pid) if name.endswith("_KEY")]
report = {
    "own environment": own,
    "reads": status("GET", at(read, "/planted")),
    "lists": status("GET", at(read, "", "&restype=container&comp=list")),
    "writes with read": status("PUT", at(read, "/new"), b"x"),
    "writes": status("PUT", at(write, "/planted-by-task"), b"x"),
    "overwrites": status("PUT", at(write, "/planted"), b"x"),
    "reads with write": status("GET", at(write, "/planted")),
    "deletes": status("DELETE", at(write, "/planted")),
    "other container": status("GET", at(other, "/secret")),
    "keys": keys,
}
open(sys.argv[1], "w").write(json.dumps(report))
"""


def test_what_a_command_can_reach_that_looks_for_more(workdir, service):
    container = container_name(str(workdir.path))
    connection = service.environment["STORAGE_ACCOUNT_CONNECTION_STRING"]
    with BlobServiceClient.from_connection_string(connection) as blobs:
        for name, blob in ((container, "planted"), ("smk-somebody-else", "secret")):
            client = blobs.get_container_client(name)
            if not client.exists():
                client.create_container()
            client.upload_blob(blob, b"of another task", overwrite=True)
    workdir.write("looks.py", LOOKS)
    workdir.write(
        "Snakefile",
        'rule a:\n    input: "looks.py"\n    output: "a.json"\n'
        f'    shell: "python3 {{input}} {{output}} {container}"\n',
    )
    workdir.run().must_succeed()

    assert json.loads(workdir.read("a.json")) == {
        "own environment": False,
        "reads": 200,
        "lists": 403,
        "writes with read": 403,
        "writes": 201,
        "overwrites": 201,
        "reads with write": 403,
        "deletes": 403,
        "other container": 403,
        "keys": [],
    }


def test_what_envvars_hold_can_be_read_in_the_batch_account(workdir, service):
    workdir.environment["TOKEN_OF_MINE"] = "a-token-of-mine"
    workdir.write("Snakefile", 'envvars: "TOKEN_OF_MINE"\nrule a:\n    output: "a.txt"\n    shell: "echo > {output}"\n')
    workdir.run("--azurebatch-pool-id", "token-pool").must_succeed()

    key = service.environment["BATCH_ACCOUNT_KEY"]
    with BatchClient(service.batch_url, AzureNamedKeyCredential(service.account, key)) as client:
        job = next(job for job in client.list_jobs() if job.pool_info.pool_id == "token-pool")
        (task,) = client.list_tasks(job.id)
    assert {one.name: one.value for one in task.environment_settings}["TOKEN_OF_MINE"] == "a-token-of-mine"


def test_nothing_of_the_local_service_listens_elsewhere(service):
    addresses = {address for pid in family(service.pid) for address in listening(pid)}
    assert addresses == {"127.0.0.1"}


def family(pid: int) -> list[int]:
    """A process and all below it."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(one for child in children for one in family(int(child)))]


def listening(pid: int) -> list[str]:
    """Addresses that a process listens to. source: proc(5), /proc/net/tcp; 0A is TCP_LISTEN."""
    links = [str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir() if link.is_symlink()]
    inodes = {link[len("socket:[") : -1] for link in links if link.startswith("socket:[")}
    found = []
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in inodes:
                raw = bytes.fromhex(fields[1].partition(":")[0])
                found.append(".".join(map(str, raw[::-1])) if table == "tcp" else fields[1])
    return found
