"""What can be asked about a finished run, and the cache between workflows: as after a local run."""

import json
import re
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.workflow.test_command_line_plan import beside, plan

REPORTED = """
report: "report/workflow.rst"

rule all:
    input: "text.txt", "tables", "page.html"

rule text:
    input: "in.txt"
    output: report("text.txt", caption="report/text.rst", category="Texts", labels={"kind": "plain"})
    benchmark: "bench/text.tsv"
    log: "logs/text.log"
    params: n=3
    shell: "cat {input} > {output}"

rule tables:
    output: report(directory("tables"), patterns=["{name}.csv"], category="Tables")
    shell: "mkdir {output}; echo a,b > {output}/one.csv"

rule page:
    input: "text.txt", "tables"
    output: report("page.html")
    shell: "echo '<p>hello</p>' > {output}"
"""


def reported(report: Path) -> dict[str, object]:
    """What a zipped report shows. Of durations only for which rules there is one: no two runs have the same."""
    with zipfile.ZipFile(report) as archive:
        page = archive.read("report/report.html").decode()
        names = set(archive.namelist())
    said = {
        name: json.loads(re.findall(rf"^ *var {name} = (.*?);?$", page, re.MULTILINE)[-1])
        for name in ("workflow_desc", "results", "categories", "rules", "runtimes_spec", "timeline_spec")
    }
    for name in ("runtimes_spec", "timeline_spec"):
        said[name] = sorted(job["rule"] for job in said[name]["data"]["values"])
    for rule in said["rules"].values():
        rule.update(input=sorted(rule["input"]), output=sorted(rule["output"]))
    return {"files": names, **said}


@pytest.mark.long
def test_reports_and_summaries(workdir):
    twin = beside(workdir)
    database = ("--persistence-backend", "db")
    for where, run in ((workdir, workdir.run), (twin, twin.run_locally)):
        where.write("Snakefile", REPORTED)
        where.write("in.txt", "in\n")
        where.write("report/workflow.rst", "All of *it*.\n")
        where.write("report/text.rst", "Text with {{ snakemake.params.n }}.\n")
        run(*database).must_succeed()

    def asked(where) -> list[object]:
        where.run_locally(*database, "--report", "report.zip").must_succeed()
        where.run_locally(*database, "--archive", "all.tar.gz").must_succeed()
        summary = where.run_locally(*database, "--detailed-summary").must_succeed().text
        with tarfile.open(where.path / "all.tar.gz") as archive:
            names = sorted(archive.getnames())
        return [plan(where, *database), reported(where.path / "report.zip"), names, comparable(summary)]

    said = asked(workdir)
    assert said == asked(twin)
    assert "<p>Text with 3.</p>" in str(said)
    assert said[0] == {}


def comparable(summary: str) -> list[list[list[str]]]:
    """Without dates, and with the inputs of a job in one order: Snakemake names them in any."""
    dateless = re.sub(r"\t\w{3} \w{3} +\d+ [\d:]+ \d{4}\t", "\tdate\t", summary)
    return [[sorted(cell.split(",")) for cell in line.split("\t")] for line in dateless.splitlines()]


CACHED = """
rule all:
    input: "sub/file.txt", "folder", "both.txt"

rule file:
    input: "in.txt"
    output: "sub/file.txt"
    cache: True
    shell: "cat {input} > {output}"

rule folder:
    output: directory("folder")
    cache: "omit-software"
    shell: "mkdir {output}; echo x > {output}/x"

rule both:
    input: "sub/file.txt", "folder"
    output: "both.txt"
    shell: "cat sub/file.txt folder/x > {output}"
"""


@pytest.mark.long
def test_results_of_other_workflows_come_from_the_cache(workdir):
    cache = workdir.path.parent / "cache"
    cache.mkdir()
    workdir.environment["SNAKEMAKE_OUTPUT_CACHE"] = str(cache)
    twin = beside(workdir)
    for where in (workdir, twin):
        where.write("Snakefile", CACHED)
        where.write("in.txt", "in\n")

    workdir.run("--cache", "file", "folder").must_succeed()
    assert workdir.read("both.txt") == "in\nx\n"
    stored = {path.name for path in cache.iterdir()}
    assert len(stored) == 2
    assert "Symlinking output file sub/file.txt from cache" in twin.run_locally("--cache").must_succeed().text
    assert {path.name for path in cache.iterdir()} == stored

    workdir.run("--cache", "--forceall").must_succeed()
    tasks = [told.task_id for told in workdir.manifests()]
    assert sorted(task.split("-")[0] for task in tasks) == ["both", "both", "file", "folder"]
    assert workdir.read("both.txt") == "in\nx\n"
    workdir.nothing_to_do()
