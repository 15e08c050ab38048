"""Operations on pools. Those of automatic scaling are in ``autoscale``.

Assumed where the documentation is silent: what can be changed only while the pool is empty is refused with
OperationInvalidForCurrentState, and so are stopping a resize that is not going on and resizing a pool that
scales automatically; removing a node that is not there is NodeNotFound; both targets of a resize keep their
values where they are not given; a node has up to 256 task slots, whatever its VM size; a pool has at most
1000 nodes.
"""

from __future__ import annotations

from snakemake_executor_azurebatch.emulator import calls, events, faults, odata
from snakemake_executor_azurebatch.emulator.calls import Answer, Call
from snakemake_executor_azurebatch.emulator.faults import ServiceFault, invalid_property
from snakemake_executor_azurebatch.emulator.handlers import autoscale
from snakemake_executor_azurebatch.emulator.listing import element, page
from snakemake_executor_azurebatch.emulator.model import Pool
from snakemake_executor_azurebatch.emulator.wire import Json, duration_s, pool_url

_REFUSED = {"mountConfiguration": "mounts"}
_TARGETS = ("targetDedicatedNodes", "targetLowPriorityNodes")
#: What PATCH can change at any time; anything else only while the pool is empty.
_ANY_TIME = frozenset({"startTask", "applicationPackageReferences", "metadata"})
_MIN_RESIZE_TIMEOUT_S = 300
_MAX_NODES = 1000
_MAX_REMOVED = 100
_MAX_SLOTS = 256
_MAX_DISPLAY_NAME = 1024


def create_pool(call: Call) -> Answer:
    """POST /pools"""
    pool = add_pool(call, call.body)
    return calls.created(pool.wire, pool_url(call.base_url, pool.id))


def add_pool(call: Call, given: Json) -> Pool:
    """A new pool of this body, also one that a job asks for. Raises ServiceFault where it cannot be."""
    body = calls.without_secrets(given)
    pool_id = calls.check_id(body["id"])
    _check_settings(body)
    _check_sizes(body)
    existing = call.service.state.pools.get(pool_id.lower())
    if existing is not None:
        is_going = existing.wire["state"] == "deleting"
        raise ServiceFault(faults.POOL_BEING_DELETED if is_going else faults.POOL_EXISTS)
    autoscale.check_new(body)
    pool = Pool(pool_id, pool_id.lower(), _new_wire(call, body), registries=_registries(given))
    call.service.dispatch(events.PoolAdded(pool))
    if pool.wire["enableAutoScale"]:
        call.service.dispatch(events.AutoScaleSet(pool.key, is_restarted=True))
    return pool


def list_pools(call: Call) -> Answer:
    """GET /pools"""
    calls.check_expand(call)
    pools = call.service.state.pools
    return page(call, "pools", sorted(pools), lambda key: _shown(call, pools[key]), odata.POOLS)


def get_pool(call: Call) -> Answer:
    """GET /pools/{poolId}"""
    calls.check_expand(call)
    pool = calls.find_pool(call)
    calls.check_conditions(call, pool.wire, is_read=True)
    return element(call, "pools", _shown(call, pool))


def pool_exists(call: Call) -> Answer:
    """HEAD /pools/{poolId}"""
    pool = calls.find_pool(call)
    calls.check_conditions(call, pool.wire, is_read=True)
    return Answer(200, headers=calls.version_headers(pool.wire))


def update_pool(call: Call) -> Answer:
    """PATCH /pools/{poolId}. Members that are not given keep their values."""
    pool = _changeable(call)
    body = _checked(call)
    if pool.nodes and not _ANY_TIME.issuperset(body):
        reason = "Only startTask, applicationPackageReferences and metadata can change while the pool has nodes"
        raise ServiceFault(faults.OPERATION_INVALID_FOR_STATE, (("Reason", reason),))
    if "vmSize" in body:
        body["vmSize"] = body["vmSize"].lower()
    if "taskSchedulingPolicy" in body:
        body["taskSchedulingPolicy"] = {**pool.wire["taskSchedulingPolicy"], **body["taskSchedulingPolicy"]}
    pool.wire.update(body)
    if "virtualMachineConfiguration" in body:
        _complete_machine(body["virtualMachineConfiguration"])
        pool.registries = []
    pool.registries += _registries(call.body)
    pool.wire.update(calls.fresh(call.service))
    return calls.changed(call, pool.wire)


def replace_pool_properties(call: Call) -> Answer:
    """POST /pools/{poolId}/updateproperties. A start task that is not given is removed."""
    pool = _changeable(call)
    body = _checked(call)
    for name in _ANY_TIME:
        pool.wire.pop(name, None)
    pool.wire.update({name: value for name, value in body.items() if value})
    pool.registries += _registries(call.body)
    pool.wire.update(calls.fresh(call.service))
    return calls.changed(call, pool.wire, 204)


def delete_pool(call: Call) -> Answer:
    """DELETE /pools/{poolId}"""
    pool = _changeable(call)
    call.service.dispatch(events.PoolDeleted(pool.key))
    return Answer(202)


def resize_pool(call: Call) -> Answer:
    """POST /pools/{poolId}/resize"""
    pool = _steady(call)
    if pool.wire["enableAutoScale"]:
        reason = "The pool scales automatically; disable that first"
        raise ServiceFault(faults.OPERATION_INVALID_FOR_STATE, (("Reason", reason),))
    _check_sizes(call.body)
    pool.wire.update(calls.fresh(call.service))
    pool.wire["resizeTimeout"] = call.body.get("resizeTimeout", "PT15M")
    dedicated, low_priority = (call.body.get(name, pool.wire[name]) for name in _TARGETS)
    option = call.body.get("nodeDeallocationOption", "requeue")
    call.service.dispatch(events.PoolResized(pool.key, dedicated, low_priority, option))
    return calls.changed(call, pool.wire, 202)


def stop_pool_resize(call: Call) -> Answer:
    """POST /pools/{poolId}/stopresize. The pool keeps its ETag (source: recorded exchange)."""
    pool = _changeable(call)
    if pool.wire["allocationState"] == "steady":
        raise ServiceFault(faults.OPERATION_INVALID_FOR_STATE, (("Reason", "The pool is not being resized"),))
    if pool.wire["allocationState"] == "resizing":
        call.service.dispatch(events.PoolResizeStopped(pool.key))
    return calls.changed(call, pool.wire, 202)


def remove_nodes(call: Call) -> Answer:
    """POST /pools/{poolId}/removenodes"""
    pool = _steady(call)
    node_ids = list(dict.fromkeys(call.body["nodeList"]))
    if not 1 <= len(node_ids) <= _MAX_REMOVED:
        raise invalid_property("nodeList", len(node_ids), f"A request removes 1 to {_MAX_REMOVED} nodes")
    _check_sizes(call.body)
    for node_id in node_ids:
        if node_id not in pool.nodes:
            raise ServiceFault(faults.NODE_NOT_FOUND, (("NodeId", node_id),))
    pool.wire.update(calls.fresh(call.service))
    pool.wire["resizeTimeout"] = call.body.get("resizeTimeout", "PT15M")
    option = call.body.get("nodeDeallocationOption", "requeue")
    call.service.dispatch(events.NodesRemoved(pool.key, node_ids, option))
    return calls.changed(call, pool.wire, 202)


def _shown(call: Call, pool: Pool) -> Json:
    return {"id": pool.id, "url": pool_url(call.base_url, pool.id), **pool.wire}


def _changeable(call: Call) -> Pool:
    pool = calls.find_pool(call)
    calls.check_conditions(call, pool.wire, is_read=False)
    if pool.wire["state"] == "deleting":
        raise ServiceFault(faults.POOL_BEING_DELETED)
    return pool


def _steady(call: Call) -> Pool:
    pool = _changeable(call)
    if pool.wire["allocationState"] != "steady":
        raise ServiceFault(faults.POOL_BEING_RESIZED)
    return pool


def _checked(call: Call) -> Json:
    body: Json = calls.without_secrets(call.body)
    _check_settings(body)
    return body


def _check_settings(body: Json) -> None:
    """What creating and changing a pool have in common."""
    calls.refuse(body, _REFUSED)
    calls.check_range(body, "taskSlotsPerNode", 1, _MAX_SLOTS)
    calls.check_subnet(body)
    name = body.get("displayName", "")
    if len(name) > _MAX_DISPLAY_NAME:
        raise invalid_property("displayName", name, f"The value must have at most {_MAX_DISPLAY_NAME} characters")
    if body.get("applicationPackageReferences"):  # the account has no applications
        raise ServiceFault(faults.INVALID_PACKAGES)
    if any(not item["name"] for item in body.get("metadata", ())):
        raise ServiceFault(faults.EMPTY_METADATA_KEY)
    start_task = body.get("startTask")
    if start_task is not None:
        _complete_start_task(start_task)


def _complete_start_task(start_task: Json) -> None:
    """Defaults of what is stored (source: recorded exchange)."""
    if start_task.get("maxTaskRetryCount", 0) < -1:
        raise invalid_property("maxTaskRetryCount", start_task["maxTaskRetryCount"], "The value must be at least -1")
    start_task.setdefault("userIdentity", {"autoUser": {"scope": "pool", "elevationLevel": "nonadmin"}})
    start_task.setdefault("maxTaskRetryCount", 0)
    start_task.setdefault("waitForSuccess", True)


def _check_sizes(body: Json) -> None:
    for name in _TARGETS:
        calls.check_range(body, name, 0, _MAX_NODES)
    timeout = body.get("resizeTimeout")
    if timeout is not None and (duration_s(timeout) or 0) < _MIN_RESIZE_TIMEOUT_S:
        raise invalid_property("resizeTimeout", timeout, "The value must be at least 5 minutes")


def _new_wire(call: Call, body: Json) -> Json:
    """What the service stores of a new pool, defaults included (source: recorded exchange)."""
    version = calls.fresh(call.service)
    now = version["lastModified"]
    policy = {"nodeFillType": "Spread", "jobDefaultOrder": "none", **body.get("taskSchedulingPolicy", {})}
    machine = body.get("virtualMachineConfiguration")
    if machine:
        _complete_machine(machine)
    defaults = {
        "resizeTimeout": "PT15M",
        "targetDedicatedNodes": 0,
        "targetLowPriorityNodes": 0,
        "enableAutoScale": False,
        "enableInterNodeCommunication": False,
        "taskSlotsPerNode": 1,
    }
    return {
        "id": body["id"],
        **version,
        "creationTime": now,
        "state": "active",
        "stateTransitionTime": now,
        "allocationState": "resizing",
        "allocationStateTransitionTime": now,
        **defaults,
        **body,
        "vmSize": body["vmSize"].lower(),
        "currentDedicatedNodes": 0,
        "currentLowPriorityNodes": 0,
        "taskSchedulingPolicy": policy,
    }


def _registries(body: Json) -> list[Json]:
    """Where the images of the pool and of its start task come from, with the passwords that are never shown."""
    machine = body.get("virtualMachineConfiguration", {})
    found = list(machine.get("containerConfiguration", {}).get("containerRegistries", ()))
    own = body.get("startTask", {}).get("containerSettings", {}).get("registry")
    return [*found, own] if own else found


def _complete_machine(machine: Json) -> None:
    if "publisher" in machine.get("imageReference", {}):
        machine["imageReference"].setdefault("version", "latest")
    for disk in machine.get("dataDisks", ()):
        disk.setdefault("caching", "none")
        disk.setdefault("managedDisk", {}).setdefault("storageAccountType", "standard_lrs")
