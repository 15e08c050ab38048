"""What tasks used is kept, one line each, whatever happens."""

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from snakemake_executor_azurebatch.jobs import JobRequest
from snakemake_executor_azurebatch.node.protocol import CommitRecord, StoredFile
from snakemake_executor_azurebatch.run.judge import Cause, Failure, Sighting
from snakemake_executor_azurebatch.run.records import Common, Ended, Records, read_records, shown

MIB = 1 << 20
TIME = datetime(2030, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC)


def ended(key="k", name="sort", *, failure=None, **used) -> Ended:
    request = JobRequest(
        key,
        name,
        threads=2,
        runtime_s=None,
        script="",
        members=({"rule": name, "wildcards": {"sample": "a", "lane": "1"}},),
        attempt=2,
        resources={"mem_mb": 1000, "tmpdir": "/tmp"},
    )
    record = CommitRecord(
        key,
        "done",
        0,
        outputs=[StoredFile("o", "b", 5, "")],
        logs=[StoredFile("l", "b", 2, "")],
        streams=[StoredFile("stderr.txt", "b", 1, "")],
        timings_s={"command": 1.25},
        cpu_s=0.5,
        **used,
    )
    sighting = Sighting(key, 0, node_id="node1", started=TIME, ended=TIME)
    return Ended(request, sighting, record, failure, bring_back_s=0.25)


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def records(tmp_path, said) -> Iterator[Records]:
    records = Records(tmp_path / "state" / "tasks.jsonl", Common("run1", "job1", "pool1", "image:1"), said.append)
    yield records
    records.close()


def test_a_line_tells_all_about_a_task(records):
    records.submitted(["k"])

    line = shown(records.ended(ended(peak_memory_bytes=3 * MIB, cache_hits=2, cache_bytes=7, downloaded_bytes=9)))

    [row] = read_records(records.path)
    assert datetime.fromisoformat(row.pop("submitted_at")) <= datetime.fromisoformat(row.pop("recorded_at"))
    assert row == {
        "version": 1,
        "run": "run1",
        "batch_job": "job1",
        "pool": "pool1",
        "image": "image:1",
        "task": "k",
        "rule": "sort",
        "members": [{"rule": "sort", "wildcards": {"sample": "a", "lane": "1"}}],
        "attempt": 2,
        "threads": 2,
        "resources": {"mem_mb": 1000, "tmpdir": "/tmp"},
        "node": "node1",
        "outcome": "succeeded",
        "cause": None,
        "exit_code": 0,
        "started_at": "2030-01-02T03:04:05.678+00:00",
        "ended_at": "2030-01-02T03:04:05.678+00:00",
        "timings_s": {"command": 1.25, "bring_back": 0.25},
        "cpu_s": 0.5,
        "peak_memory_bytes": 3 * MIB,
        "peak_disk_bytes": None,
        "cache_hits": 2,
        "cache_bytes": 7,
        "downloaded_bytes": 9,
        "uploaded_bytes": 0,
        "returned_bytes": 7,
    }
    assert line == (
        "Task k: sort (sample=a, lane=1) succeeded on node1: command 1.2 s, bring_back 0.2 s, 0.5 s of CPU, "
        "3.0 MiB of memory."
    )


def test_a_task_whose_node_died_is_kept_too(records):
    lost = ended(failure=Failure(Cause.NODE_LOST))

    line = shown(records.ended(Ended(lost.request, Sighting("k", None), None, lost.failure)))

    [row] = read_records(records.path)
    assert (row["outcome"], row["cause"], row["exit_code"], row["node"]) == ("failed", "NODE_LOST", None, None)
    assert (row["peak_memory_bytes"], row["cpu_s"], row["started_at"]) == (None, None, None)
    assert "sort (sample=a, lane=1) failed: bring_back 0.0 s." in line


def test_a_line_that_a_crash_cut_off_spoils_no_other(records):
    records.ended(ended("first"))
    records.close()
    with records.path.open("a") as stream:
        stream.write('{"version":1,"task":"cut o')

    records.ended(ended("last"))

    assert [row["task"] for row in read_records(records.path)] == ["first", "last"]
    assert len(records.path.read_text().splitlines()) == 3


def test_many_are_written_in_one_go(records):
    with suppress(KeyError), records.together():
        records.ended(ended("first"))
        records.ended(ended("last"))
        assert not records.path.exists()
        raise KeyError
    records.ended(ended("alone"))

    assert [row["task"] for row in read_records(records.path)] == ["first", "last", "alone"]


def test_odd_names_travel(records):
    records.ended(ended(name="r\u00fcle\udce9\n"))

    [row] = read_records(records.path)
    assert row["rule"] == "r\u00fcle\udce9\n"


def test_what_cannot_be_kept_is_told_once(tmp_path, said):
    (tmp_path / "file").write_text("")
    records = Records(Path(tmp_path, "file", "tasks.jsonl"), Common("r", "j", "p", None), said.append)

    records.ended(ended("a"))
    records.ended(ended("b"))

    assert len(said) == 1
    assert "Not a directory" in said[0] or "exists" in said[0]


def test_what_tasks_used_is_summed_up(records):
    records.ended(ended("a", "small", peak_memory_bytes=MIB, cache_hits=1, cache_bytes=MIB))
    records.ended(ended("b", "big", peak_memory_bytes=2048 * MIB, downloaded_bytes=3 * MIB))
    records.ended(ended("c", "big", peak_memory_bytes=MIB, failure=Failure(Cause.COMMAND)))
    for is_done in (True, True, False):
        records.reported(is_done=is_done)

    totals = records.totals
    assert (totals.succeeded, totals.failed, totals.jobs) == (2, 1, 3)
    assert (totals.cache_hits, totals.cache_bytes, totals.downloaded_bytes) == (1, MIB, 3 * MIB)
    assert totals.returned_bytes == 17
    assert totals.peaks_bytes == {"small": MIB, "big": 2048 * MIB}


def test_the_time_of_tasks_and_lost_nodes_are_summed_up(records):
    begun = ended("a")
    for seconds, requeues in ((2.5, 1), (-1.0, 0), (4.0, 2)):  # clocks of nodes may be turned back
        sighting = replace(begun.sighting, ended=TIME + timedelta(seconds=seconds), requeues=requeues)
        records.ended(replace(begun, sighting=sighting))

    assert (records.totals.task_s, records.totals.requeues) == (6.5, 3)


def test_lines_are_plain_json(records):
    records.ended(ended())

    assert json.loads(records.path.read_text())["task"] == "k"
