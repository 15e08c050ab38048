"""What a run says when it ends, and how it counts nodes."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from snakemake_executor_azurebatch.pools.catalogue import VmSize, bundled, catalogue_of
from snakemake_executor_azurebatch.run.judge import Sighting
from snakemake_executor_azurebatch.run.node_time import Kind, NodeTimes, covered_s
from snakemake_executor_azurebatch.run.oversee import NodeSight
from snakemake_executor_azurebatch.run.records import Totals
from snakemake_executor_azurebatch.run.summary import Part, Tally, lines_of, price_of

MIB = 1 << 20
ROOT = Path(__file__).resolve().parents[3]
BEGAN = datetime(2030, 1, 2, tzinfo=UTC)
D4 = Kind("standard_d4s_v5", is_spot=False)
SPOT = Kind("Standard_D4s_v5", is_spot=True)


def after(minutes: float) -> datetime:
    return BEGAN + timedelta(minutes=minutes)


def part(pool_id="p1", node_s=(), tries=0, sent_bytes=1536, **totals) -> Part:
    return Part(pool_id, Totals(**totals), dict(node_s), tries, sent_bytes, Path("tasks.jsonl"))


def text(*parts: Part, elapsed_s: float = 750) -> str:
    return "\n".join(lines_of(parts, elapsed_s, bundled()))


def test_a_run_on_one_pool():
    used = part(
        node_s={D4: 5400.0, SPOT: 3600.0},
        succeeded=20,
        failed=1,
        task_s=6000,
        returned_bytes=17,
        downloaded_bytes=3 * MIB,
        cache_bytes=MIB,
        cache_hits=1,
        peaks_bytes={"small": MIB, "big": 2048 * MIB},
    )

    assert text(used).splitlines() == [
        "Jobs: 20 succeeded, 1 failed in 12 min. Tasks ran for 1 h 40 min in all.",
        "Pool p1: at least 2.5 node-hours of Standard_D4s_v5; price about 1.8.",
        "Prices are rough: an hour of a dedicated Standard_D4s_v5 counts as 1.",
        "Sent 1.5 KiB, brought back 17 B. Nodes downloaded 3.0 MiB and found 1.0 MiB (once) in their caches.",
        "Most memory: 2.0 GiB, rule big.",
        "What each task used is in tasks.jsonl.",
    ]


def test_a_run_on_several_pools_counts_what_was_sent_once():
    told = text(
        part("p1", {D4: 360.0}, sent_bytes=1024, succeeded=2, returned_bytes=1, peaks_bytes={"a": MIB}),
        part("p2", {Kind("Standard_Odd_v1", is_spot=False): 3600.0}, sent_bytes=2048, failed=1, returned_bytes=2),
        part("p3"),
    )

    assert told.splitlines()[:5] == [
        "Jobs: 2 succeeded, 1 failed in 12 min.",
        "Pool p1: jobs: 2 succeeded; at least 0.1 node-hours of standard_d4s_v5; price about 0.1.",
        "Pool p2: jobs: 0 succeeded, 1 failed; at least 1 node-hours of Standard_Odd_v1.",
        "Prices are rough: an hour of a dedicated Standard_D4s_v5 counts as 1.",
        "Sent 2.0 KiB, brought back 3 B. Nodes downloaded 0 B.",
    ]


def test_a_moment_is_told_as_such():
    used = part(node_s={D4: 35.0}, succeeded=1)

    assert "Pool p1: at least 35 s of standard_d4s_v5; price under 0.01.\n" in text(used)


def test_further_tries_are_told_where_there_were_any():
    assert "Tasks were" not in text(part(succeeded=1))
    assert "Tasks were submitted again 2 times, after failures of infrastructure.\n" in text(part(succeeded=1, tries=2))
    assert (
        "Tasks were submitted again once, after failures of infrastructure; and started again by Azure Batch 3 times, "
        "on other nodes.\n" in text(part("p1", succeeded=1, tries=1, requeues=1), part("p2", succeeded=1, requeues=2))
    )


def test_the_example_in_the_documents_is_what_is_said():
    gib = 1 << 30
    used = Part(
        "smk-Standard_D4s_v5-4f1a2b3c4d",
        Totals(
            succeeded=118,
            failed=2,
            task_s=6 * 3600 + 20 * 60,
            requeues=3,
            downloaded_bytes=int(4.6 * gib),
            cache_bytes=int(52.1 * gib),
            cache_hits=214,
            returned_bytes=int(310.4 * MIB),
            peaks_bytes={"align": int(9.8 * gib)},
        ),
        {Kind("Standard_D4s_v5", is_spot=False): 1.9 * 3600},
        tries=1,
        sent_bytes=int(1.2 * gib),
        records=Path(".snakemake/azurebatch/tasks.jsonl"),
    )

    assert f"\n```\n{text(used, elapsed_s=34 * 60)}\n```\n" in (ROOT / "docs/further.md").read_text()


def test_nothing_is_said_where_nothing_has_run():
    assert text() == ""
    assert text(part(node_s={D4: 60.0})) == ""


def test_the_price_is_known_or_not_said():
    catalogue = catalogue_of([VmSize("Standard_Two", 2, 4096, price=2.0), VmSize("Standard_None", 2, 4096)])
    two, spot = Kind("standard_two", is_spot=False), Kind("Standard_Two", is_spot=True)

    assert price_of({two: 1800.0, spot: 3600.0}, catalogue) == pytest.approx(1.6)
    assert price_of({two: 1800.0, Kind("Standard_None", is_spot=False): 1.0}, catalogue) is None
    assert price_of({two: 1800.0, Kind("Standard_Other", is_spot=False): 1.0}, catalogue) is None


def test_the_time_ends_with_the_last_part():
    now_s = [100.0]
    tally = Tally(bundled(), clock=lambda: now_s[0])
    now_s[0] = 130.0
    tally.add(part(succeeded=1))
    now_s[0] = 170.0

    assert tally.text().startswith("Jobs: 1 succeeded in 30 s.")


# -- nodes -----------------------------------------------------------------------------------------


def sight(node_id: str, state: str = "running", *, allocated: datetime | None = None, dedicated: bool = True):
    return NodeSight(node_id, state, "", is_dedicated=dedicated, allocated=allocated)


def task(node_id: str, started: float, ended: float) -> Sighting:
    return Sighting("t", 0, node_id=node_id, started=after(started), ended=after(ended))


def minutes(times: NodeTimes, otherwise: Kind = D4) -> dict[Kind, float]:
    return {kind: took_s / 60 for kind, took_s in times.seconds(otherwise).items()}


def test_spans_that_overlap_count_once():
    spans = [(after(5), after(9)), (after(0), after(2)), (after(1), after(3)), (after(6), after(7))]

    assert covered_s(spans) == 7 * 60
    assert covered_s([]) == 0


def test_nodes_that_no_look_has_seen_count_while_tasks_run():
    times = NodeTimes(BEGAN)
    for one in (task("a", 1, 3), task("a", 2, 4), task("b", 0, 1), Sighting("t", None)):
        times.worked(one)

    assert minutes(times, SPOT) == {SPOT: 4}


def test_what_was_before_the_run_does_not_count():
    times = NodeTimes(BEGAN)
    times.worked(task("a", -10, -5))
    times.worked(task("a", -1, 2))
    times.saw([sight("b", "idle", allocated=after(-60))], "size", after(3))

    assert minutes(times) == {D4: 2, Kind("size", is_spot=False): 3}


def test_a_node_counts_from_its_allocation_to_the_last_look_or_task():
    times = NodeTimes(BEGAN)
    times.worked(task("a", 2, 3))
    for minute in (4, 5):
        times.saw([sight("a", allocated=after(1), dedicated=False)], "size", after(minute))
    times.worked(task("a", 4, 7))

    assert minutes(times) == {Kind("size", is_spot=True): 6}
    assert minutes(times) == {Kind("size", is_spot=True): 6}


@pytest.mark.parametrize("away", [[], [sight("a", "preempted")]])
def test_time_without_the_node_does_not_count(away):
    times = NodeTimes(BEGAN)
    times.saw([sight("a", allocated=BEGAN)], "size", after(2))
    times.saw(away, "size", after(4))
    for minute in (10, 11):
        times.saw([sight("a", allocated=BEGAN)], "size", after(minute))

    assert minutes(times) == {Kind("size", is_spot=False): 3}
