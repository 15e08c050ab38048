"""One clear message, exit status 1, no traceback, nothing half-written."""

import os
import socket
import sys

import pytest

ONE = 'rule a:\n    input: "in.txt"\n    output: "a.txt"\n    shell: "cp {input} {output}"\n'


@pytest.fixture
def one(workdir):
    workdir.write("Snakefile", ONE)
    workdir.write("in.txt", "x\n")
    return workdir


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def without_account(workdir, *arguments):
    environment = dict.fromkeys(workdir.service.environment, "")
    bare = type(workdir)(workdir.path, workdir.service, environment)
    return bare.call([sys.executable, "-m", "snakemake", "--executor", "azurebatch", "-j1", "--nocolor", *arguments])


def left(workdir) -> set[str]:
    return {p.name for p in workdir.path.iterdir()} - {".snakemake"}


def test_no_account_at_all(one):
    outcome = without_account(one).must_fail()

    assert "The azurebatch settings cannot work:" in outcome.text
    assert "no Batch account: give --azurebatch-account-url (or BATCH_ACCOUNT_URL)" in outcome.text
    assert "no storage account: give --azurebatch-storage-account" in outcome.text


def test_nobody_answers_at_the_account_url(one):
    outcome = one.run("--azurebatch-account-url", f"http://127.0.0.1:{free_port()}").must_fail()

    assert "looking for pool" in outcome.text
    assert "no answer" in outcome.text
    assert left(one) == {"Snakefile", "in.txt"}


def test_a_wrong_account_key(one):
    one.environment["BATCH_ACCOUNT_KEY"] = "d3Jvbmc="

    outcome = one.run().must_fail()

    assert "AuthenticationFailed" in outcome.text
    assert "d3Jvbmc=" not in outcome.text


def test_a_wrong_storage_key(one):
    key = one.service.environment["STORAGE_ACCOUNT_KEY"]
    connection = one.service.environment["STORAGE_ACCOUNT_CONNECTION_STRING"]
    wrong = "d3Jvbmc" + key[7:]
    one.environment["STORAGE_ACCOUNT_CONNECTION_STRING"] = connection.replace(key, wrong)

    outcome = one.run().must_fail()

    assert "opening the blob container" in outcome.text
    assert wrong not in outcome.text


def test_nobody_answers_at_the_storage_account(one):
    key = one.service.environment["STORAGE_ACCOUNT_KEY"]
    one.environment["STORAGE_ACCOUNT_CONNECTION_STRING"] = (
        f"AccountName=devstoreaccount1;AccountKey={key};BlobEndpoint=http://127.0.0.1:{free_port()}/devstoreaccount1"
    )

    outcome = one.run().must_fail()

    assert "opening the blob container" in outcome.text
    assert "no answer" in outcome.text


def test_an_empty_vm_size(one):
    outcome = one.run("--azurebatch-vm-size", "").must_fail()

    assert "--azurebatch-vm-size is empty: name a size, for example Standard_D4s_v5" in outcome.text


def test_jobs_is_missing(one):
    command = [word for word in one.azurebatch() if word != "--jobs"]
    command.remove("10")

    outcome = one.call(command).must_fail()

    assert "--jobs" in outcome.text


def test_an_input_that_is_missing(one):
    (one.path / "in.txt").unlink()

    outcome = one.run().must_fail()

    assert "MissingInputException" in outcome.text
    assert "in.txt" in outcome.text


@pytest.mark.skipif(os.geteuid() == 0, reason="root can read everything")
def test_an_input_that_cannot_be_read(one):
    (one.path / "in.txt").chmod(0)

    outcome = one.run().must_fail()

    assert "input file in.txt cannot be read: Permission denied" in outcome.text


def test_an_input_that_disappears_behind_snakemakes_back(one):
    one.write(
        "Snakefile",
        'rule a:\n    input: "in.txt"\n    output: "a.txt"\n    shell: "cp {input} {output}"\n\n'
        'onstart:\n    import os\n    os.remove("in.txt")\n',
    )

    outcome = one.run().must_fail()

    assert "input file in.txt is missing" in outcome.text


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        ("../a.txt", "lies outside the working directory"),
        ("/nowhere/at/all/a.txt", "is an absolute path. Outputs and logs have to be given relative"),
    ],
)
def test_an_output_outside_the_workdir_is_refused_before_anything_is_submitted(one, output, reason):
    one.write("Snakefile", f'rule a:\n    output: "{output}"\n    shell: "echo > {{output}}"\n')
    before = len(one.requests())

    outcome = one.run().must_fail()

    assert f"rule a: '{output}' {reason}" in outcome.text
    assert "snakemake-azurebatch emulator start --container-runtime podman" in outcome.text
    # the service was asked what it runs tasks in, and nothing else
    assert [request["route"] for request in one.requests()[before:]] == ["/_admin/"]
    assert left(one) == {"Snakefile", "in.txt"}


def test_immediate_submit_is_refused(one):
    before = len(one.requests())

    outcome = one.run("--immediate-submit", "--notemp").must_fail()

    assert "--immediate-submit cannot work here: outputs come back when their job has ended. Leave" in outcome.text
    assert one.requests()[before:] == []


def test_an_output_path_computed_from_the_current_folder_is_refused(one):
    one.write("Snakefile", 'import os\n\nrule a:\n    output: os.path.abspath("a.txt")\n    shell: "echo > {output}"\n')

    outcome = one.run().must_fail()

    assert "is an absolute path" in outcome.text
