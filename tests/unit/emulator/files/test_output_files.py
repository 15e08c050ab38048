"""Output files against a real Azurite."""

import os

import pytest

from snakemake_executor_azurebatch.emulator.agent.output_files import SINGLE_BYTES
from tests.unit.emulator.azurite_support import container_sas
from tests.unit.emulator.files.support import closed_port, names, output, run, silence, wd


async def test_files_go_up_by_name_and_by_pattern(agent, container, sas):
    script = "sh -c 'mkdir -p r/deep; echo one > r/1.txt; echo two > r/deep/2.txt; echo no > r/x.csv; echo three > 3'"
    files = [
        output(container, sas, "3", "named/three.txt"),
        output(container, sas, "3"),
        output(container, sas, "r/**/*.txt", "all"),
        output(container, sas, "r/**/*.txt"),
        output(container, sas, "../std*.txt", "logs/"),
        output(container, sas, "no-such-file", "never"),
        output(container, sas, "no-*", "never"),
        output(container, sas, "$AZ_BATCH_TASK_WORKING_DIR/r/x.*", "$x"),
    ]
    outcome = await run(agent, script, outputFiles=files)
    assert outcome.succeeded
    assert names(container) == [
        "$x/x.csv", "1.txt", "3", "all/1.txt", "all/deep/2.txt", "deep/2.txt",
        "logs/stderr.txt", "logs/stdout.txt", "named/three.txt",
    ]  # fmt: skip
    assert container.download_blob("all/deep/2.txt").readall() == b"two\n"
    assert (agent.task_directory("j", "t") / "fileuploaderr.txt").read_bytes() == b""


@pytest.mark.parametrize(
    ("exit_code", "expected"), [(0, ["absent", "completion", "success"]), (4, ["absent", "completion", "failure"])]
)
async def test_conditions_look_at_the_exit_code_in_any_case_of_letters(agent, container, sas, exit_code, expected):
    files = [
        output(container, sas, "f", "success", "TaskSuccess"),
        output(container, sas, "f", "failure", "taskfailure"),
        output(container, sas, "f", "completion", "TASKCOMPLETION"),
        output(container, sas, "f", "absent"),
    ]
    outcome = await run(agent, f"sh -c 'touch f; exit {exit_code}'", outputFiles=files)
    assert outcome.exit_code == exit_code
    assert (outcome.failure and outcome.failure.code) == ("FailureExitCode" if exit_code else None)
    assert names(container) == expected


async def test_upload_headers_are_sent(agent, container, sas):
    headers = [{"name": "x-ms-blob-content-type", "value": "text/csv"}, {"name": "x-ms-meta-k", "value": "v"}]
    await run(agent, "touch f", outputFiles=[output(container, sas, "f", headers=headers)])
    properties = container.get_blob_client("f").get_blob_properties()
    assert properties.content_settings.content_type == "text/csv"
    assert properties.metadata == {"k": "v"}


async def test_a_large_file_goes_up_in_blocks(agent, container, sas):
    content = os.urandom(2 * SINGLE_BYTES + 5)
    wd(agent).mkdir(parents=True)
    (wd(agent) / "large").write_bytes(content)
    headers = [{"name": "x-ms-blob-content-type", "value": "text/csv"}]
    assert (await run(agent, outputFiles=[output(container, sas, "large", headers=headers)])).succeeded
    blob = container.get_blob_client("large")
    assert blob.download_blob().readall() == content
    assert blob.get_blob_properties().content_settings.content_type == "text/csv"
    assert len(blob.get_block_list()[0]) == 3


async def test_a_refused_upload_fails_the_task_and_keeps_its_exit_code(agent, container, azurite):
    read_only = container_sas(container.container_name, azurite, permissions="rl")
    outcome = await run(agent, "touch f", outputFiles=[output(container, read_only, "f")])
    assert (outcome.exit_code, outcome.failure.code) == (0, "FileUploadAccessDenied")
    assert not outcome.succeeded
    assert "sig=" not in repr(outcome)
    assert "sig=" not in (agent.task_directory("j", "t") / "fileuploaderr.txt").read_text()


async def test_a_missing_container_fails_the_upload(agent, container, sas):
    container.delete_container()
    outcome = await run(agent, "touch f", outputFiles=[output(container, sas, "f")])
    assert (outcome.exit_code, outcome.failure.code) == (0, "FileUploadContainerNotFound")
    assert "was not found while attempting to upload an output file" in outcome.failure.message


async def test_a_leased_blob_is_a_conflict(agent, container, sas):
    blob = container.upload_blob("f", b"mine")
    lease = blob.acquire_lease()
    outcome = await run(agent, "touch f", outputFiles=[output(container, sas, "f")])
    lease.release()
    assert (outcome.exit_code, outcome.failure.code, outcome.failure.category) == (0, "FileUploadConflict", "usererror")
    assert blob.download_blob().readall() == b"mine"


async def test_the_whole_pattern_language(agent, container, sas):
    made = ["a1", "b1", "c1", "d1", "x*y", "xzy", ".hidden", "d/.in", "d/e/f.txt", "d/.h/f.txt", "out-7.log"]
    wd(agent).mkdir(parents=True)
    for name in made:
        (wd(agent) / name).parent.mkdir(parents=True, exist_ok=True)
        (wd(agent) / name).touch()
    patterns = {
        "[ab]1": "set", "[a-c]1": "range", "[!abc]1": "not", "x[*]y": "escaped", "*": "star", ".*": "dot",
        "**/*.txt": "deep", "d/.h/*": "hidden-folder", "out-$N.lo?": "variable",
    }  # fmt: skip
    files = [output(container, sas, pattern, path) for pattern, path in patterns.items()]
    settings = [{"name": "N", "value": "7"}]
    assert (await run(agent, outputFiles=files, environmentSettings=settings)).succeeded
    found = {}
    for name in names(container):
        path, _, rest = name.partition("/")
        found.setdefault(path, set()).add(rest)
    assert found == {
        "set": {"a1", "b1"},
        "range": {"a1", "b1", "c1"},
        "not": {"d1"},
        "escaped": {"x*y"},
        "star": {"a1", "b1", "c1", "d1", "x*y", "xzy", "out-7.log"},
        "dot": {".hidden"},
        "deep": {"d/e/f.txt"},
        "hidden-folder": {"f.txt"},
        "variable": {"out-7.log"},
    }


async def test_no_answer_fails_the_upload(agent):
    url = f"http://127.0.0.1:{closed_port()}/c?sig=secret"
    files = [{"filePattern": "f", "destination": {"container": {"containerUrl": url}}}]
    outcome = await run(agent, "touch f", outputFiles=files)
    assert (outcome.exit_code, outcome.failure.code) == (0, "FileUploadMiscError")
    assert "secret" not in repr(outcome)


async def test_nothing_is_uploaded_where_the_command_never_started(agent, container, sas):
    outcome = await run(agent, "no-such-program", outputFiles=[output(container, sas, "../std*.txt")])
    assert outcome.failure.code == "CommandProgramNotFound"
    assert names(container) == []


async def test_after_a_timeout_files_go_up_as_after_a_failure(agent, container, sas):
    constraints = {"maxWallClockTime": "PT0.2S"}
    files = [output(container, sas, "f", "f", "taskfailure")]
    outcome = await run(agent, "sh -c 'touch f; sleep 600'", outputFiles=files, constraints=constraints)
    assert outcome.failure.code == "TaskEnded"
    assert names(container) == ["f"]


async def test_a_managed_identity_is_refused_by_name(agent):
    container = {"containerUrl": "http://127.0.0.1:1/c", "identityReference": {"resourceId": "i"}}
    files = [{"filePattern": "f", "destination": {"container": container}}]
    outcome = await run(agent, "touch f", outputFiles=files)
    assert (outcome.exit_code, outcome.failure.code) == (0, "FileUploadAccessDenied")
    assert "identit" in dict(outcome.failure.details)["Message"]


async def test_silence_is_a_timeout_of_an_upload_too(impatient):
    async with silence() as (url, _):
        files = [{"filePattern": "f", "destination": {"container": {"containerUrl": f"{url}/c?sig=secret"}}}]
        outcome = await run(impatient, "touch f", outputFiles=files)
    assert (outcome.exit_code, outcome.failure.code) == (0, "FileUploadTimedOut")
    assert outcome.failure.category == "servererror"
    assert "secret" not in repr(outcome)
