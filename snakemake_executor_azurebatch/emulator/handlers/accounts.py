"""Operations on the account: numbers of nodes, images, usage.

Assumed where the documentation is silent: a pool's usage is told per half hour since it was made, for the
nodes that it has now; cores are read off the name of the VM size.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from snakemake_executor_azurebatch.emulator import images, odata
from snakemake_executor_azurebatch.emulator.calls import Answer, Call
from snakemake_executor_azurebatch.emulator.faults import invalid_query
from snakemake_executor_azurebatch.emulator.listing import page
from snakemake_executor_azurebatch.emulator.model import Node, Pool
from snakemake_executor_azurebatch.emulator.wire import Json, parse_time, time_text

_STATES = (
    "creating", "deallocated", "deallocating", "idle", "leavingPool", "offline", "preempted", "rebooting", "reimaging",
    "running", "starting", "startTaskFailed", "unusable", "unknown", "upgradingOS", "waitingForStartTask",
)  # fmt: skip
_CORES = re.compile(r"[a-z]+(\d+)")
#: Length of an interval of the usage of pools (source: recorded exchange).
_INTERVAL = timedelta(minutes=30)
_MAX_INTERVALS = 1000


def list_pool_node_counts(call: Call) -> Answer:
    """GET /nodecounts"""
    pools = call.service.state.pools
    return page(call, "poolnodecounts", sorted(pools), lambda key: _counts_wire(pools[key]), odata.NODE_COUNTS)


def list_supported_images(call: Call) -> Answer:
    """GET /supportedimages"""
    known = {f"{number:04d}": image for number, image in enumerate(images.SUPPORTED)}
    return page(call, "supportedimages", list(known), lambda key: known[key], odata.SUPPORTED_IMAGES)


def list_pool_usage_metrics(call: Call) -> Answer:
    """GET /poolusagemetrics. Without times: the last interval that is over."""
    now = call.service.clock.now()
    this_interval = now - timedelta(minutes=now.minute % 30, seconds=now.second, microseconds=now.microsecond)
    end = min(_time(call, "endtime") or this_interval, this_interval)
    start = _time(call, "starttime") or end - _INTERVAL
    if start > end and "starttime" in call.query and "endtime" in call.query:
        raise invalid_query("starttime", call.query["starttime"], "The start must be before the end")
    found: dict[str, Json] = {}
    moment = this_interval
    while moment - _INTERVAL >= start and len(found) < _MAX_INTERVALS:
        moment -= _INTERVAL
        if moment + _INTERVAL <= end:
            for pool in call.service.state.pools.values():
                if parse_time(pool.wire["creationTime"]) < moment + _INTERVAL:
                    found[f"{time_text(moment)} {pool.key}"] = _usage_wire(pool, moment)
    return page(call, "poolusagemetrics", sorted(found), lambda key: found[key], odata.USAGE_METRICS)


def _counts_wire(pool: Pool) -> Json:
    nodes = list(pool.nodes.values())
    return {
        "poolId": pool.id,
        "dedicated": _counts([node for node in nodes if node.is_dedicated]),
        "lowPriority": _counts([node for node in nodes if not node.is_dedicated]),
    }


def _counts(nodes: list[Node]) -> Json:
    states = [node.wire["state"] for node in nodes]
    return {**{name: states.count(name.lower()) for name in _STATES}, "total": len(nodes)}


def _usage_wire(pool: Pool, start: datetime) -> Json:
    end = start + _INTERVAL
    cores = _CORES.match(pool.wire["vmSize"].removeprefix("standard_"))
    core_count = int(cores[1]) if cores else 1
    hours = 0.0
    for node in pool.nodes.values():
        there = end - max(start, parse_time(node.wire["allocationTime"]))
        hours += max(0.0, there.total_seconds()) / 3600 * core_count
    return {
        "poolId": pool.id,
        "startTime": time_text(start),
        "endTime": time_text(end),
        "vmSize": pool.wire["vmSize"],
        "totalCoreHours": hours,
    }


def _time(call: Call, name: str) -> datetime | None:
    text = call.query.get(name)
    if not text:
        return None
    try:
        return parse_time(text)
    except ValueError:
        raise invalid_query(name, text, "The value must be an ISO 8601 time") from None
