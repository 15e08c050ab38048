"""Operations below ``/_admin``: this service's own, unknown to Azure. They need the same authentication.

GET, POST, DELETE /_admin/faults      list, add, clear faults (see faultinjection)
DELETE /_admin/faults/{id}            remove one
GET, POST /_admin/clock               read it; {"advanceSeconds", "speed", "skewSeconds"}
GET /_admin/nodes                     all nodes: pool, id, state, whether dedicated, running tasks
"""

from __future__ import annotations

from collections.abc import Callable

from snakemake_executor_azurebatch.emulator import events, faults
from snakemake_executor_azurebatch.emulator.calls import Answer
from snakemake_executor_azurebatch.emulator.faultinjection import FaultRule
from snakemake_executor_azurebatch.emulator.faults import ServiceFault
from snakemake_executor_azurebatch.emulator.model import AllocationFault, Node
from snakemake_executor_azurebatch.emulator.runtime import Runtime
from snakemake_executor_azurebatch.emulator.wire import Json, JsonValue, read_json, time_text

PREFIX = "/_admin/"

_RESIZE_ERRORS = {"allocation-failure": "AllocationFailed", "quota": "AccountCoreQuotaReached"}
#: Three centuries in seconds: beyond, times of day have no form.
_MOST = 1e10
_LEAVING = ("leavingpool", "preempted", "unknown", "deallocated")


def handle(runtime: Runtime, method: str, path: str, raw: bytes) -> Answer:
    """One request below PREFIX. Raises ServiceFault (400, 404, 405)."""
    name, _, rest = path.removeprefix(PREFIX).strip("/").partition("/")
    if name == "faults" and rest:
        if method != "DELETE":
            raise ServiceFault(faults.UNSUPPORTED_VERB)
        return _remove_fault(runtime, rest)
    operations = _OPERATIONS.get(name)
    if operations is None or rest:
        raise ServiceFault(faults.RESOURCE_NOT_FOUND)
    if method not in operations:
        raise ServiceFault(faults.UNSUPPORTED_VERB)
    return operations[method](runtime, _json(raw) if method == "POST" else None)


def _json(raw: bytes) -> JsonValue:
    try:
        return read_json(raw)
    except ValueError as error:
        raise _refused(f"This is not JSON: {error}") from None


def _refused(reason: str) -> ServiceFault:
    return ServiceFault(faults.INVALID_REQUEST_BODY, (("Reason", reason),))


# -- faults ---------------------------------------------------------------------------------------


def _list_faults(runtime: Runtime, _: JsonValue) -> Answer:
    return Answer(200, {"value": [rule.shown() for rule in runtime.injection.rules()]})


def _add_fault(runtime: Runtime, body: JsonValue) -> Answer:
    try:
        rule = runtime.injection.new_rule(body)
    except ValueError as error:
        raise _refused(str(error)) from None
    if rule.endpoint == "blob" and not runtime.config.has_blob_faults:
        raise _refused("the service was not started with --blob-faults")
    runtime.injection.add(rule)
    shown = rule.shown()
    if rule.acts == "once":
        shown["nodes"] = _strike_nodes(runtime, rule)
    else:
        _apply(runtime, rule)
    return Answer(201, shown)


def _clear_faults(runtime: Runtime, _: JsonValue) -> Answer:
    for rule in runtime.injection.rules():
        runtime.injection.remove(rule.id)
        _apply(runtime, rule)
    return Answer(204)


def _remove_fault(runtime: Runtime, number: str) -> Answer:
    rule = runtime.injection.remove(int(number)) if number.isdecimal() else None
    if rule is None:
        raise ServiceFault(faults.RESOURCE_NOT_FOUND)
    _apply(runtime, rule)
    return Answer(204)


def _apply(runtime: Runtime, rule: FaultRule) -> None:
    """Bring the service in line with its rules, after ``rule`` came or went."""
    if rule.acts == "node":
        runtime.show_node_faults()
    elif rule.kind == "clock-skew":
        runtime.clock.set_skew(sum(each.seconds for each in runtime.injection.rules() if each.kind == rule.kind))
    elif rule.kind in _RESIZE_ERRORS:
        rules = (each for each in runtime.injection.rules() if each.kind in _RESIZE_ERRORS)
        same = [each for each in rules if each.pool.lower() == rule.pool.lower()]
        fault = AllocationFault(_RESIZE_ERRORS[same[-1].kind], limit=same[-1].limit) if same else None
        runtime.dispatch(events.AllocationFaultSet(rule.pool.lower() or "*", fault))


def _strike_nodes(runtime: Runtime, rule: FaultRule) -> list[Json]:
    able = [
        node
        for pool in runtime.state.pools.values()
        for node in pool.nodes.values()
        if rule.pool.lower() in ("", pool.key) and rule.node in ("", node.id) and _can(rule, node)
    ]
    if not able:
        raise _refused(f"{rule.kind}: there is no such node")
    struck = runtime.injection.choose(rule, able)
    for node in struck:
        runtime.dispatch(_NODE_EVENTS[rule.kind](node.pool_key, node.id))
    return [_node_shown(runtime, node) for node in struck]


def _can(rule: FaultRule, node: Node) -> bool:
    is_there = not node.is_leaving and node.wire["state"] not in _LEAVING
    return is_there and not (rule.kind == "preempt" and node.is_dedicated)


_NODE_EVENTS: dict[str, Callable[[str, str], events.Event]] = {
    "preempt": events.NodePreempted,
    "kill": events.NodeLost,
    "unusable": events.NodeUnusable,
}


# -- clock and nodes ------------------------------------------------------------------------------


def _get_clock(runtime: Runtime, _: JsonValue) -> Answer:
    clock = runtime.clock
    return Answer(200, {"now": time_text(clock.now()), "speed": clock.speed, "skewSeconds": clock.skew_s})


def _set_clock(runtime: Runtime, body: JsonValue) -> Answer:
    setters = {
        "speed": runtime.clock.set_speed,
        "skewSeconds": runtime.clock.set_skew,
        "advanceSeconds": runtime.clock.advance,
    }
    if not isinstance(body, dict) or not body or not set(body) <= set(setters):
        raise _refused(f"The body has some of {', '.join(setters)}")
    for name, value in body.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= _MOST:
            raise _refused(f"{name} is a number of at most {_MOST:g}")
    try:
        for name, value in body.items():
            setters[name](value)
    except (ValueError, OverflowError) as error:
        raise _refused(str(error)) from None
    return _get_clock(runtime, None)


def _list_nodes(runtime: Runtime, _: JsonValue) -> Answer:
    pools = runtime.state.pools.values()
    return Answer(200, {"value": [_node_shown(runtime, node) for pool in pools for node in pool.nodes.values()]})


def _node_shown(runtime: Runtime, node: Node) -> Json:
    pool = runtime.state.pools[node.pool_key]
    return {
        "pool": pool.id,
        "id": node.id,
        "state": node.wire["state"],
        "isDedicated": node.is_dedicated,
        "runningTasks": node.wire["runningTasksCount"],
        "faults": sorted(runtime.injection.of_node(pool.id, node.id)),
    }


_OPERATIONS: dict[str, dict[str, Callable[[Runtime, JsonValue], Answer]]] = {
    "faults": {"GET": _list_faults, "POST": _add_fault, "DELETE": _clear_faults},
    "clock": {"GET": _get_clock, "POST": _set_clock},
    "nodes": {"GET": _list_nodes},
}
