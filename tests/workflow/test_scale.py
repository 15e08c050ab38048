"""Few requests for many jobs."""

from collections import Counter

FAN = """
rule total:
    input: expand("out/{i}.txt", i=range(200))
    output: "total.txt"
    shell: "cat {input} | awk '{{s += $1}} END {{print s}}' > {output}"

rule one:
    output: "out/{i}.txt"
    shell: "echo {wildcards.i} > {output}"
"""


def test_two_hundred_jobs_are_submitted_in_few_requests(workdir):
    workdir.write("Snakefile", FAN)
    before = len(workdir.requests())

    workdir.run(jobs=200).must_succeed()

    assert workdir.read("total.txt") == "19900\n"
    ours = Counter((line["method"], line["route"]) for line in workdir.requests()[before:])
    creating = {route: count for route, count in ours.items() if route[0] == "POST" and "task" in route[1]}
    assert sum(creating.values()) <= 8, creating
    assert set(creating) == {("POST", "/jobs/{jobId}/addtaskcollection")}
    assert not [route for route in ours if "{taskId}" in route[1]], ours
    workdir.nothing_to_do()
