"""Operations of automatic scaling, and the rules for its settings.

Assumed where the documentation is silent: creating a pool does not count as enabling for the limit of one
in 30 s; evaluating a formula on a pool that does not scale automatically is OperationInvalidForCurrentState;
disabling what is not enabled changes nothing; settings without enableAutoScale are refused.
"""

from __future__ import annotations

from datetime import timedelta

from snakemake_executor_azurebatch.emulator import autoscale, calls, engine_autoscale, events, faults
from snakemake_executor_azurebatch.emulator.autoscale.errors import SYNTAX_ERROR, TOO_LONG
from snakemake_executor_azurebatch.emulator.calls import Answer, Call
from snakemake_executor_azurebatch.emulator.faults import ServiceFault, invalid_property
from snakemake_executor_azurebatch.emulator.model import Pool
from snakemake_executor_azurebatch.emulator.wire import Json, duration_s

_RUN = "Microsoft.Azure.Batch.Protocol.Entities.AutoScaleRun"
_FORMULA, _INTERVAL = "autoScaleFormula", "autoScaleEvaluationInterval"
_SETTINGS = (_FORMULA, _INTERVAL)
_TARGETS = ("targetDedicatedNodes", "targetLowPriorityNodes")
_SHORTEST_S, _LONGEST_S = 5 * 60, 168 * 3600
_DEFAULT_INTERVAL = "PT15M"
#: At most one request to enable per pool in this time (source: public documentation).
_PAUSE = timedelta(seconds=30)


def enable_pool_auto_scale(call: Call) -> Answer:
    """POST /pools/{poolId}/enableautoscale. What is not given keeps its value."""
    pool = _changeable(call)
    was_enabled = pool.wire["enableAutoScale"]
    settings = {name: call.body[name] for name in _SETTINGS if name in call.body}
    if not was_enabled and _FORMULA not in settings:
        raise ServiceFault(faults.MISSING_PROPERTY, (("PropertyName", _FORMULA), ("Reason", "There is none yet")))
    _check(settings)
    if pool.wire["allocationState"] != "steady":
        raise ServiceFault(faults.POOL_BEING_RESIZED)
    now = call.service.clock.now()
    if pool.formula_set is not None and now - pool.formula_set < _PAUSE:
        raise ServiceFault(faults.TOO_MANY_ENABLES)
    pool.formula_set = now
    pool.wire.setdefault(_INTERVAL, _DEFAULT_INTERVAL)
    pool.wire.update(enableAutoScale=True, **settings)
    pool.wire.update(calls.fresh(call.service))
    call.service.dispatch(events.AutoScaleSet(pool.key, is_restarted=not was_enabled or _INTERVAL in settings))
    return calls.changed(call, pool.wire)


def disable_pool_auto_scale(call: Call) -> Answer:
    """POST /pools/{poolId}/disableautoscale. The formula is forgotten, the pool keeps its size."""
    pool = _changeable(call)
    for name in (*_SETTINGS, "autoScaleRun"):
        pool.wire.pop(name, None)
    pool.wire.update(enableAutoScale=False, **calls.fresh(call.service))
    call.service.dispatch(events.AutoScaleSet(pool.key, is_restarted=False))
    return calls.changed(call, pool.wire)


def evaluate_pool_auto_scale(call: Call) -> Answer:
    """POST /pools/{poolId}/evaluateautoscale. A bad formula is told with status 200 (source: recorded exchange)."""
    pool = calls.find_pool(call)
    if not pool.wire["enableAutoScale"]:
        raise ServiceFault(faults.OPERATION_INVALID_FOR_STATE, (("Reason", "Automatic scaling is not enabled"),))
    now = call.service.clock.now()
    found = engine_autoscale.evaluated(call.service.state, pool, call.body[_FORMULA], now)
    body = {"odata.metadata": f"{call.base_url}/$metadata#{_RUN}", **engine_autoscale.run_wire(found, now)}
    return Answer(200, body, {"DataServiceId": call.url})


def check_new(body: Json) -> None:
    """The settings of a new pool, or 400. Adds the default interval."""
    if not body.get("enableAutoScale"):
        for name in _SETTINGS:
            if name in body:
                raise invalid_property(name, body[name], "The value needs enableAutoScale to be true")
        return
    if _FORMULA not in body:
        raise ServiceFault(
            faults.MISSING_PROPERTY, (("PropertyName", _FORMULA), ("Reason", "The property is required"))
        )
    for name in _TARGETS:
        if name in body:
            raise invalid_property(name, body[name], "The value cannot be given together with enableAutoScale")
    body.setdefault(_INTERVAL, _DEFAULT_INTERVAL)
    _check(body)


def _check(settings: Json) -> None:
    interval = settings.get(_INTERVAL)
    if interval is not None and not _SHORTEST_S <= (duration_s(interval) or 0) <= _LONGEST_S:
        raise invalid_property(_INTERVAL, interval, "The value must be between 5 minutes and 168 hours")
    if _FORMULA in settings:
        problems = autoscale.check(settings[_FORMULA])
        if problems:
            known = {SYNTAX_ERROR: faults.FORMULA_SYNTAX, TOO_LONG: faults.FORMULA_TOO_LONG}
            fault = known.get(problems[0].code, faults.INVALID_AUTOSCALE)
            raise ServiceFault(fault, problems[0].values)


def _changeable(call: Call) -> Pool:
    pool = calls.find_pool(call)
    calls.check_conditions(call, pool.wire, is_read=False)
    if pool.wire["state"] == "deleting":
        raise ServiceFault(faults.POOL_BEING_DELETED)
    return pool
