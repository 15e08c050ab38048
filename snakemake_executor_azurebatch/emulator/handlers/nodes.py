"""Operations on nodes: what they show, and their restarts and scheduling. For files and users see ``node_access``.

Assumed where the documentation is silent: scheduling can be disabled and enabled in any state of the node.
"""

from __future__ import annotations

from snakemake_executor_azurebatch.emulator import calls, events, faults, odata
from snakemake_executor_azurebatch.emulator.calls import Answer, Call
from snakemake_executor_azurebatch.emulator.faults import Fault, ServiceFault
from snakemake_executor_azurebatch.emulator.listing import element, page
from snakemake_executor_azurebatch.emulator.model import Node, Pool
from snakemake_executor_azurebatch.emulator.wire import Json, node_url, task_url

#: What an operation that wants an idle or running node says of another one.
_NOT_NOW = {
    "creating": faults.NODE_BEING_CREATED,
    "starting": faults.NODE_BEING_STARTED,
    "waitingforstarttask": faults.NODE_BEING_STARTED,
    "rebooting": faults.NODE_BEING_REBOOTED,
    "reimaging": faults.NODE_BEING_REIMAGED,
    "unusable": faults.NODE_UNUSABLE,
}


def list_nodes(call: Call) -> Answer:
    """GET /pools/{poolId}/nodes"""
    pool = calls.find_pool(call)
    nodes = pool.nodes
    return page(call, "nodes", sorted(nodes), lambda key: _shown(call, pool, nodes[key]), odata.NODES)


def get_node(call: Call) -> Answer:
    """GET /pools/{poolId}/nodes/{nodeId}"""
    pool, node = find_node(call)
    return element(call, "nodes", _shown(call, pool, node), versioned=False)


def reboot_node(call: Call) -> Answer:
    """POST /pools/{poolId}/nodes/{nodeId}/reboot"""
    return _restart(call, "reboot", "nodeRebootOption")


def reimage_node(call: Call) -> Answer:
    """POST /pools/{poolId}/nodes/{nodeId}/reimage"""
    return _restart(call, "reimage", "nodeReimageOption")


def deallocate_node(call: Call) -> Answer:
    """POST /pools/{poolId}/nodes/{nodeId}/deallocate"""
    return _restart(call, "deallocate", "nodeDeallocateOption")


def start_node(call: Call) -> Answer:
    """POST /pools/{poolId}/nodes/{nodeId}/start. Only for a node that was deallocated."""
    pool, node = find_node(call)
    if node.wire["state"] != "deallocated":
        raise ServiceFault(_refusal(node))
    call.service.dispatch(events.NodeStarted(pool.key, node.id))
    return accepted(call, 202)


def disable_node_scheduling(call: Call) -> Answer:
    """POST /pools/{poolId}/nodes/{nodeId}/disablescheduling"""
    option = (call.body or {}).get("nodeDisableSchedulingOption", "requeue")
    return _set_scheduling(call, option, is_enabled=False)


def enable_node_scheduling(call: Call) -> Answer:
    """POST /pools/{poolId}/nodes/{nodeId}/enablescheduling"""
    return _set_scheduling(call, "", is_enabled=True)


def find_node(call: Call) -> tuple[Pool, Node]:
    """The node that the URL names and its pool, or 404."""
    pool = calls.find_pool(call)
    node = pool.nodes.get(call.params["nodeId"])
    if node is None:
        raise ServiceFault(faults.NODE_NOT_FOUND)
    return pool, node


def find_usable_node(call: Call) -> tuple[Pool, Node]:
    """The node that the URL names if it is idle or running, or 404 or 409."""
    pool, node = find_node(call)
    if node.wire["state"] not in ("idle", "running"):
        raise ServiceFault(_refusal(node))
    return pool, node


def accepted(call: Call, status: int = 200) -> Answer:
    """An empty answer to an action on a node: nodes have no ETag (source: recorded exchange)."""
    return Answer(status, headers={"DataServiceId": call.url})


def _refusal(node: Node) -> Fault:
    return _NOT_NOW.get(node.wire["state"], faults.OPERATION_INVALID_FOR_STATE)


def _restart(call: Call, how: str, option_name: str) -> Answer:
    pool, node = find_usable_node(call)
    option = (call.body or {}).get(option_name, "requeue")
    call.service.dispatch(events.NodeRestarted(pool.key, node.id, how, option))
    return accepted(call, 202)


def _set_scheduling(call: Call, option: str, *, is_enabled: bool) -> Answer:
    pool, node = find_node(call)
    if (node.wire["schedulingState"] == "enabled") is is_enabled:
        raise ServiceFault(faults.NODE_IN_SCHEDULING_STATE)
    call.service.dispatch(events.NodeSchedulingSet(pool.key, node.id, is_enabled, option))
    return accepted(call)


def _shown(call: Call, pool: Pool, node: Node) -> Json:
    recent = [
        {"taskUrl": task_url(call.base_url, entry["jobId"], entry["taskId"]), **entry}
        for entry in node.wire["recentTasks"]
    ]
    shown = {"id": node.id, "url": node_url(call.base_url, pool.id, node.id), **node.wire}
    shown.pop("recentTasks")
    return {**shown, "recentTasks": recent} if recent else shown
