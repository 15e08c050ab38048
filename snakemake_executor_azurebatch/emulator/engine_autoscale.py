"""How pools scale automatically: samples, evaluations by the clock, and what follows from them.

A formula is evaluated when automatic scaling is enabled and then once in its interval. Giving the interval
again begins its schedule anew (source: public documentation).

Assumed where the documentation is silent: samples are taken while automatic scaling is enabled; the first
evaluation is at once; an evaluation that falls into a resize ends it with new targets where they differ;
one that finds fewer nodes than the pool's targets tries again to get them.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from snakemake_executor_azurebatch.emulator import engine_pools, events, instructions
from snakemake_executor_azurebatch.emulator.autoscale import (
    SAMPLE_PERIOD,
    Context,
    Evaluation,
    SampleStore,
    evaluate,
)
from snakemake_executor_azurebatch.emulator.engine_core import Turn
from snakemake_executor_azurebatch.emulator.model import Pool
from snakemake_executor_azurebatch.emulator.state import State
from snakemake_executor_azurebatch.emulator.wire import Json, duration_s, time_text

_EPOCH = datetime(1, 1, 1, tzinfo=UTC)
_KEPT_SAMPLES = 2880
_DEFAULT_INTERVAL_S = 900.0
_USABLE = ("idle", "running")
#: The service sizes a pool to no more nodes than its account may have.
_MOST_NODES = 1000


def autoscale_set(turn: Turn, event: events.AutoScaleSet) -> None:
    """Begin, keep or end the schedule of evaluations and samples."""
    pool = turn.state.pools[event.pool_key]
    if not pool.wire["enableAutoScale"]:
        pool.schedule += 1
        pool.samples = []
    elif event.is_restarted:
        pool.schedule += 1
        autoscale_sample_due(turn, events.AutoScaleSampleDue(pool.key, pool.schedule))
        autoscale_due(turn, events.AutoScaleDue(pool.key, pool.schedule))


def autoscale_sample_due(turn: Turn, event: events.AutoScaleSampleDue) -> None:
    """Take a sample."""
    pool = _scaling(turn, event.pool_key, event.schedule)
    if pool is not None:
        _sample(turn, pool)
        turn.out.append(instructions.After(SAMPLE_PERIOD.total_seconds(), event))


def autoscale_due(turn: Turn, event: events.AutoScaleDue) -> None:
    """Evaluate the pool's formula and do as it says. An error leaves the pool as it is."""
    pool = _scaling(turn, event.pool_key, event.schedule)
    if pool is None:
        return
    _sample(turn, pool)
    found = evaluated(turn.state, pool, pool.wire["autoScaleFormula"], turn.now)
    pool.wire["autoScaleRun"] = run_wire(found, turn.now)
    interval_s = duration_s(pool.wire["autoScaleEvaluationInterval"]) or _DEFAULT_INTERVAL_S
    turn.out.append(instructions.After(interval_s, event))
    if found.error is None and _differs(pool, found):
        low_priority = min(found.target_low_priority, _MOST_NODES)
        dedicated = min(found.target_dedicated, _MOST_NODES - low_priority)
        option = found.node_deallocation_option
        engine_pools.pool_resized(turn, events.PoolResized(pool.key, dedicated, low_priority, option))


def evaluated(state: State, pool: Pool, formula: str, now: datetime) -> Evaluation:
    """What a formula says of the pool at this time. Changes nothing."""
    context = Context(
        now=now,
        target_dedicated=pool.wire["targetDedicatedNodes"],
        target_low_priority=pool.wire["targetLowPriorityNodes"],
        samples=SampleStore.from_plain(pool.samples),
        current=metrics(state, pool),
    )
    return evaluate(formula, context)


def run_wire(found: Evaluation, now: datetime) -> Json:
    """An evaluation as an AutoScaleRun."""
    run: Json = {"timestamp": time_text(now), "results": found.results}
    if found.error is not None:
        values = [{"name": name, "value": value} for name, value in found.error.values]
        run["error"] = {"code": found.error.code, "message": found.error.message, "values": values}
    return run


def metrics(state: State, pool: Pool) -> Mapping[str, float]:
    """What formulas can look at, as it is now."""
    counts = dict.fromkeys(("waiting", "active", "running", "succeeded", "failed"), 0)
    for job in state.jobs_of_pool.get(pool.key, {}).values():
        for task in job.tasks.values():
            counts[_kind(task.wire, is_waiting=task.key in job.dependencies.waiting)] += 1
    states = [node.wire["state"] for node in pool.nodes.values()]
    return {
        "$ActiveTasks": counts["active"],
        "$RunningTasks": counts["running"],
        "$SucceededTasks": counts["succeeded"],
        "$FailedTasks": counts["failed"],
        "$CurrentDedicatedNodes": sum(node.is_dedicated for node in pool.nodes.values()),
        "$CurrentLowPriorityNodes": sum(not node.is_dedicated for node in pool.nodes.values()),
        "$PreemptedNodeCount": states.count("preempted"),
        "$SampleNodeCount": sum(state in _USABLE for state in states),
        "$UsableNodeCount": sum(state in _USABLE for state in states),
        "$TaskSlotsPerNode": pool.wire["taskSlotsPerNode"],
    }


def _kind(wire: Json, *, is_waiting: bool) -> str:
    if wire["state"] == "completed":
        return "succeeded" if wire["executionInfo"].get("result") == "success" else "failed"
    if wire["state"] == "active":
        return "waiting" if is_waiting else "active"
    return "running"


def _sample(turn: Turn, pool: Pool) -> None:
    """Take a sample if it is time to, and those that were missed while the clock jumped."""
    latest = _latest(pool)
    due = [turn.now]
    if latest is not None:
        count = min((turn.now - latest) // SAMPLE_PERIOD, _KEPT_SAMPLES)
        due = [turn.now - SAMPLE_PERIOD * back for back in reversed(range(count))]
    values = metrics(turn.state, pool)
    for moment in due:
        store = SampleStore()
        store.record(moment, values)
        pool.samples += store.to_plain()
    del pool.samples[:-_KEPT_SAMPLES]


def _scaling(turn: Turn, pool_key: str, schedule: int) -> Pool | None:
    pool = turn.state.pools.get(pool_key)
    if pool is None or pool.schedule != schedule or not pool.wire["enableAutoScale"]:
        return None
    return pool


def _latest(pool: Pool) -> datetime | None:
    """When the last sample was taken."""
    if not pool.samples:
        return None
    return _EPOCH + timedelta(microseconds=int(pool.samples[-1][0] or 0) // 10)


def _differs(pool: Pool, found: Evaluation) -> bool:
    """Whether the pool is to be resized: other targets, or too few nodes for the present ones."""
    wanted = (found.target_dedicated, found.target_low_priority)
    if wanted != (pool.wire["targetDedicatedNodes"], pool.wire["targetLowPriorityNodes"]):
        return True
    present = (pool.wire["currentDedicatedNodes"], pool.wire["currentLowPriorityNodes"])
    return pool.wire["allocationState"] == "steady" and present != wanted
