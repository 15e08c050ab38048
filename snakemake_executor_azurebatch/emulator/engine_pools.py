"""How pools behave.

    pool   active -> deleting -> gone; allocation resizing -> steady, or resizing -> stopping -> steady

Assumed where the documentation is silent: idle nodes leave before busy ones, new before old; a pool is
``steady`` as soon as its nodes exist, before they have booted; a resize that is stopped or misses its
timeout lets nodes that still run tasks stay, with the resize error ``ResizeStopped`` or
``RemoveNodesFailed``; removing nodes sets the targets to what is left; the next resize clears the errors.
"""

from __future__ import annotations

from snakemake_executor_azurebatch.emulator import engine_nodes, events, instructions
from snakemake_executor_azurebatch.emulator.engine_core import Turn
from snakemake_executor_azurebatch.emulator.model import AllocationFault, Node, Pool
from snakemake_executor_azurebatch.emulator.wire import duration_s, parse_time

#: What engine_jobs tells when a run has ended.
close_if_empty = engine_nodes.close_if_empty

_COUNTS = (
    (True, "targetDedicatedNodes", "currentDedicatedNodes"),
    (False, "targetLowPriorityNodes", "currentLowPriorityNodes"),
)
_TIMED_OUT = "AllocationTimedout"
_WHY = {
    "ResizeStopped": "as the resize was stopped",
    _TIMED_OUT: "as the resize timeout was reached",
    "AccountCoreQuotaReached": "as the account has reached its core quota",
    "AccountLowPriorityCoreQuotaReached": "as the account has reached its low-priority core quota",
}


def pool_added(turn: Turn, event: events.PoolAdded) -> None:
    """A new pool resizes from no nodes to its targets."""
    turn.state.pools[event.pool.key] = event.pool
    _begin(turn, event.pool)


def pool_resized(turn: Turn, event: events.PoolResized) -> None:
    """Nodes that are too many start to leave at once; new ones come when the resize has been visible."""
    pool = turn.state.pools[event.pool_key]
    pool.wire["targetDedicatedNodes"] = event.dedicated
    pool.wire["targetLowPriorityNodes"] = event.low_priority
    _begin(turn, pool)
    for is_dedicated, target, _ in _COUNTS:
        for node in _surplus(pool, is_dedicated=is_dedicated, target=pool.wire[target]):
            engine_nodes.leave(turn, node, event.option)


def nodes_removed(turn: Turn, event: events.NodesRemoved) -> None:
    """These nodes leave; the pool is not to get others for them."""
    pool = turn.state.pools[event.pool_key]
    _begin(turn, pool)
    for node_id in event.node_ids:
        engine_nodes.leave(turn, pool.nodes[node_id], event.option)
    for is_dedicated, target, _ in _COUNTS:
        pool.wire[target] = len(_staying(pool, is_dedicated=is_dedicated))


def pool_deleted(turn: Turn, event: events.PoolDeleted) -> None:
    """The pool's running tasks go back to waiting, for a pool of this id to come."""
    pool = turn.state.pools[event.pool_key]
    pool.wire.update(state="deleting", stateTransitionTime=turn.stamp)
    pool.wire.update(targetDedicatedNodes=0, targetLowPriorityNodes=0)
    pool.schedule += 1  # no more evaluations of its formula
    _begin(turn, pool)
    for node in list(pool.nodes.values()):
        engine_nodes.leave(turn, node, "requeue")


def pool_settled(turn: Turn, event: events.PoolSettled) -> None:
    """The transition was seen: missing nodes appear, and the transition ends when none is leaving."""
    pool = turn.state.pools.get(event.pool_key)
    if pool is None or event.resize not in (0, pool.resize) or pool.wire["allocationState"] != "resizing":
        return
    fault = add_missing(turn, pool)
    if fault and fault.code == _TIMED_OUT:
        _await_timeout(turn, pool)
        return
    if fault:
        pool.errors = _unmet(pool, fault.code, fault.message)
    pool.is_settled = True
    _finish(turn, pool)
    if pool.wire["allocationState"] != "steady":
        _await_timeout(turn, pool)


def pool_resize_stopped(turn: Turn, event: events.PoolResizeStopped) -> None:
    """The resize is shown stopping, then the pool stays as it is; its targets keep what was asked for."""
    pool = turn.state.pools[event.pool_key]
    pool.wire.update(allocationState="stopping", allocationStateTransitionTime=turn.stamp)
    pool.is_settled = False
    turn.out.append(instructions.Later("resize_s", events.PoolStopSettled(pool.key, pool.resize)))


def pool_stop_settled(turn: Turn, event: events.PoolStopSettled) -> None:
    """The stopping was seen."""
    pool = turn.state.pools.get(event.pool_key)
    if pool and event.resize == pool.resize and pool.wire["allocationState"] == "stopping":
        _keep_busy(turn, pool)
        pool.errors = _unmet(pool, "ResizeStopped")
        pool.is_settled = True
        _finish(turn, pool)


def pool_resize_timed_out(turn: Turn, event: events.PoolResizeTimedOut) -> None:
    """A resize that is still going on ends here. The end of a pool is not given up."""
    pool = turn.state.pools.get(event.pool_key)
    if pool is None or event.resize != pool.resize or pool.wire["allocationState"] != "resizing":
        return
    if pool.wire["state"] == "deleting":
        return
    missing = _unmet(pool, _TIMED_OUT)
    pool.errors = pool.errors or missing
    if _keep_busy(turn, pool):
        message = "Some of the nodes could not be removed as the resize timeout was reached"
        pool.errors.append({"code": "RemoveNodesFailed", "message": message})
    pool.is_settled = True
    _finish(turn, pool)


def allocation_fault_set(turn: Turn, event: events.AllocationFaultSet) -> None:
    """Nodes can be had or not, from now on. Preempted nodes try again."""
    if event.fault is None:
        turn.state.allocation_faults.pop(event.pool_key, None)
    else:
        turn.state.allocation_faults[event.pool_key] = event.fault
    for pool in turn.state.pools.values():
        for node in pool.nodes.values():
            if node.wire["state"] == "preempted":
                turn.out.append(instructions.Later("replace_s", events.NodeReplaced(pool.key, node.id, node.boot)))


def node_gone(turn: Turn, event: events.NodeGone) -> None:
    """The node is forgotten, and with its last fellow a deleted pool. A lost one is replaced."""
    pool = turn.state.pools.get(event.pool_key)
    if pool is None:
        return
    node = pool.nodes.pop(event.node_id, None)
    show_counts(pool)
    if node and node.wire["state"] == "unknown" and pool.wire["allocationState"] == "steady":
        add_missing(turn, pool)
    _finish(turn, pool)


def add_missing(turn: Turn, pool: Pool) -> AllocationFault | None:
    """Add the nodes that the pool's targets ask for, as far as they can be had; answers what prevents it."""
    prevented = None
    for is_dedicated, target, _ in _COUNTS:
        for _ in range(pool.wire[target] - len(_staying(pool, is_dedicated=is_dedicated))):
            if engine_nodes.is_short(turn, pool, is_dedicated=is_dedicated):
                prevented = engine_nodes.shortage(turn, pool)
                break
            engine_nodes.add_node(turn, pool, is_dedicated=is_dedicated)
    show_counts(pool)
    return prevented


def show_counts(pool: Pool) -> None:
    """Bring the current numbers of nodes up to date."""
    for is_dedicated, _, current in _COUNTS:
        pool.wire[current] = sum(node.is_dedicated is is_dedicated for node in pool.nodes.values())


def _begin(turn: Turn, pool: Pool) -> None:
    pool.wire.update(allocationState="resizing", allocationStateTransitionTime=turn.stamp)
    pool.wire.pop("resizeErrors", None)
    pool.is_settled = False
    pool.errors = []
    pool.resize += 1
    turn.out.append(instructions.Later("resize_s", events.PoolSettled(pool.key, pool.resize)))


def _await_timeout(turn: Turn, pool: Pool) -> None:
    timeout_s = duration_s(pool.wire["resizeTimeout"])
    if timeout_s is not None and pool.wire["state"] == "active":
        began = parse_time(pool.wire["allocationStateTransitionTime"])
        left_s = max(0.0, timeout_s - (turn.now - began).total_seconds())
        turn.out.append(instructions.After(left_s, events.PoolResizeTimedOut(pool.key, pool.resize)))


def _finish(turn: Turn, pool: Pool) -> None:
    is_leaving = any(node.is_leaving for node in pool.nodes.values())
    if not pool.is_settled or is_leaving or pool.wire["allocationState"] == "steady":
        return
    if pool.wire["state"] == "deleting":
        del turn.state.pools[pool.key]
        return
    pool.wire.update(allocationState="steady", allocationStateTransitionTime=turn.stamp)
    if pool.errors:
        pool.wire["resizeErrors"] = pool.errors


def _unmet(pool: Pool, code: str, message: str = "") -> list[dict[str, str]]:
    """A resize error for each kind of nodes of which the pool has not as many as it wants."""
    why = _WHY.get(code, "")
    return [
        {"code": code, "message": message or f"Desired number of {kind} nodes could not be allocated {why}".rstrip()}
        for (is_dedicated, target, _), kind in zip(_COUNTS, ("dedicated", "low-priority"), strict=True)
        if pool.wire[target] != len(_staying(pool, is_dedicated=is_dedicated))
    ]


def _keep_busy(turn: Turn, pool: Pool) -> bool:
    """Let leaving nodes that still run tasks to their end stay; answers whether there were any."""
    busy = [node for node in pool.nodes.values() if node.is_leaving and node.runs and not _is_stopped(node)]
    for node in busy:
        engine_nodes.stay(turn, node)
    turn.place(pool.key)
    return bool(busy)


def _is_stopped(node: Node) -> bool:
    return all(run.ending is not None for run in node.runs.values())


def _surplus(pool: Pool, *, is_dedicated: bool, target: int) -> list[Node]:
    staying = _staying(pool, is_dedicated=is_dedicated)
    staying.sort(key=lambda node: (bool(node.runs), -node.number))
    return staying[: max(0, len(staying) - target)]


def _staying(pool: Pool, *, is_dedicated: bool) -> list[Node]:
    return [node for node in pool.nodes.values() if node.is_dedicated is is_dedicated and not node.is_leaving]
