"""How many jobs at a time, and in which order."""

import re

import pytest

COUNTED = """
ROOM = "ROOM_PATH"

rule all:
    input: expand("{n}.txt", n=range(4))

rule counted:
    output: "{n}.txt"
    priority: lambda wildcards: int(wildcards.n)
    resources: tokens=1
    shell: "mkdir -p {ROOM}; touch {ROOM}/{wildcards.n}; sleep 0.3; ls {ROOM} | wc -l > {output}; "
           "rm {ROOM}/{wildcards.n}"
"""


@pytest.mark.parametrize(
    ("limit", "at_a_time"), [(["--jobs", "1", "--prioritize", "2.txt"], 1), (["--resources", "tokens=2"], 2)]
)
def test_no_more_jobs_at_a_time_than_allowed(workdir, limit, at_a_time):
    workdir.write("Snakefile", COUNTED.replace("ROOM_PATH", str(workdir.path.parent / "room")))

    outcome = workdir.run(*limit, "--printshellcmds", "--latency-wait", "1", "--local-cores", "1").must_succeed()

    assert all(int(workdir.read(f"{n}.txt")) <= at_a_time for n in range(4))
    assert outcome.text.count("mkdir -p ") == 4
    if "--prioritize" in limit:
        assert re.findall(r"^    output: (\d)", outcome.text, re.MULTILINE)[0] == "2"
