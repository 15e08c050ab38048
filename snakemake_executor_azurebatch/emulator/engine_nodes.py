"""How nodes behave.

    creating -> starting -> (waitingforstarttask) -> idle <-> running; starttaskfailed; offline
    idle, running -> rebooting or reimaging -> starting -> ...
    idle, running -> deallocating -> deallocated -> starting -> ...
    any -> leavingpool -> gone; preempted -> creating -> ...; unknown -> gone, and another in its place

Assumed where the documentation is silent: a node that waits for its last tasks (``taskcompletion``, and
``retaineddata``, which is treated alike) shows where it is going: leavingpool, rebooting, reimaging,
deallocating; a node that does not take tasks shows ``offline`` once its last one has ended; files survive
a reboot, not a reimage, deallocation or preemption; a preempted node returns under its own id, a lost one
is replaced by another; a node whose start task failed stays until somebody removes it.
"""

from __future__ import annotations

from copy import deepcopy
from hashlib import sha256

from snakemake_executor_azurebatch.emulator import events, instructions
from snakemake_executor_azurebatch.emulator.agent.work import TaskOutcome
from snakemake_executor_azurebatch.emulator.engine_core import Turn
from snakemake_executor_azurebatch.emulator.engine_preparation import show_outcome
from snakemake_executor_azurebatch.emulator.model import AllocationFault, Ending, Node, Pool
from snakemake_executor_azurebatch.emulator.wire import Json

#: What an agent tells of itself (source: recorded exchange).
_AGENT_VERSION = "1.12.39"
_BOOTING = ("creating", "starting", "rebooting", "reimaging")
_SHOWN = {"reboot": "rebooting", "reimage": "reimaging", "deallocate": "deallocating"}
#: First port of the addresses at which nodes show that they can be logged in to (source: recorded exchange).
_FIRST_PORT = 50000


def node_starting(turn: Turn, event: events.NodeStarting) -> None:
    """The node's machine starts."""
    node = _booting(turn, event.pool_key, event.node_id, event.boot)
    if node:
        turn.move_node(node, "starting")
        node.wire["lastBootTime"] = turn.stamp


def node_ready(turn: Turn, event: events.NodeReady) -> None:
    """The node runs its start task, as the pool has it now, and takes tasks, at once or after it."""
    node = _booting(turn, event.pool_key, event.node_id, event.boot)
    if node is None:
        return
    node.wire["nodeAgentInfo"] = {"version": _AGENT_VERSION, "lastUpdateTime": turn.stamp}
    start_task = turn.state.pools[node.pool_key].wire.get("startTask")
    for name in ("startTask", "startTaskInfo"):
        node.wire.pop(name, None)
    if start_task:
        node.wire["startTask"] = deepcopy(start_task)
        node.wire["startTaskInfo"] = {"state": "running", "startTime": turn.stamp, "retryCount": 0}
        turn.out.append(instructions.RunStartTask(node.pool_key, node.id, node.boot, node.wire["startTask"]))
    if start_task and _is_waited_for(node):
        turn.move_node(node, "waitingforstarttask")
    else:
        _take_tasks(turn, node)


def start_task_ended(turn: Turn, event: events.StartTaskEnded) -> None:
    """Only a non-zero exit is retried; a failure that is waited for keeps the node from taking tasks."""
    node = turn.state.node(event.pool_key, event.node_id)
    if node is None or node.is_leaving or node.after or event.boot != node.boot:
        return
    info, outcome = node.wire["startTaskInfo"], event.outcome
    if _may_retry(node, outcome):
        info.update(retryCount=info["retryCount"] + 1, lastRetryTime=turn.stamp, startTime=turn.stamp)
        turn.out.append(instructions.RunStartTask(node.pool_key, node.id, node.boot, node.wire["startTask"]))
        return
    info["state"] = "completed"
    show_outcome(info, outcome)
    if node.wire["state"] == "waitingforstarttask":
        if outcome.succeeded:
            _take_tasks(turn, node)
        else:
            turn.move_node(node, "starttaskfailed")


def node_restarted(turn: Turn, event: events.NodeRestarted) -> None:
    """The node goes down once its runs have ended, as asked."""
    node = turn.state.pools[event.pool_key].nodes[event.node_id]
    turn.move_node(node, _SHOWN[event.how])
    node.after = event.how
    _end_runs(turn, node, event.option)
    close_if_empty(turn, node)


def node_stopped(turn: Turn, event: events.NodeStopped) -> None:
    """A deallocated node is off. One that was preempted or lost is not asked about."""
    node = turn.state.node(event.pool_key, event.node_id)
    if node and not node.is_leaving and node.boot == event.boot and node.wire["state"] == "deallocating":
        turn.move_node(node, "deallocated")


def node_started(turn: Turn, event: events.NodeStarted) -> None:
    """A deallocated node starts again."""
    node = turn.state.pools[event.pool_key].nodes[event.node_id]
    turn.move_node(node, "starting")
    _boot(turn, node, "start")


def node_scheduling_set(turn: Turn, event: events.NodeSchedulingSet) -> None:
    """The node takes no more tasks, or takes them again."""
    node = turn.state.pools[event.pool_key].nodes[event.node_id]
    node.wire["schedulingState"] = "enabled" if event.is_enabled else "disabled"
    if not event.is_enabled:
        _end_runs(turn, node, event.option)
    turn.show_node(node)
    turn.place(node.pool_key)


def node_preempted(turn: Turn, event: events.NodePreempted) -> None:
    """Only low-priority nodes can be preempted; their running tasks wait for another node."""
    node = turn.state.node(event.pool_key, event.node_id)
    if node and not node.is_dedicated and not node.is_leaving:
        _drop_out(turn, node, "preempted")
        turn.out.append(instructions.StopNode(node.pool_key, node.id, node.boot, is_sudden=True))
        turn.out.append(instructions.Later("replace_s", events.NodeReplaced(node.pool_key, node.id, node.boot)))


def node_lost(turn: Turn, event: events.NodeLost) -> None:
    """The service has no contact with the node any more; its running tasks wait for another node."""
    node = turn.state.node(event.pool_key, event.node_id)
    if node and not node.is_leaving:
        _drop_out(turn, node, "unknown")
        turn.out.append(instructions.StopNode(node.pool_key, node.id, node.boot, is_sudden=True))
        turn.out.append(instructions.Later("replace_s", events.NodeReplaced(node.pool_key, node.id, node.boot)))


def node_unusable(turn: Turn, event: events.NodeUnusable) -> None:
    """The node shows an error, and its running tasks wait for another one."""
    node = turn.state.node(event.pool_key, event.node_id)
    if node and not node.is_leaving:
        node.wire["errors"] = [{"code": event.code, "message": event.message}]
        _drop_out(turn, node, "unusable")


def node_replaced(turn: Turn, event: events.NodeReplaced) -> None:
    """A preempted node returns unless there is still no capacity; a lost one goes."""
    node = turn.state.node(event.pool_key, event.node_id)
    if node is None or node.is_leaving or node.boot != event.boot:
        return
    if node.wire["state"] == "unknown":
        node.is_leaving = True
    elif not is_short(turn, turn.state.pools[node.pool_key], is_dedicated=False):
        node.after = "return"
    close_if_empty(turn, node)


def close_if_empty(turn: Turn, node: Node) -> None:
    """Let a node go on to what it waits for once its last run has ended."""
    if node.runs:
        return
    if node.is_leaving:
        if not node.is_closing:
            node.is_closing = True
            turn.out.append(instructions.CloseNode(node.pool_key, node.id))
        return
    how, node.after = node.after, ""
    if how == "return":
        turn.move_node(node, "creating")
        _boot(turn, node, "reimage")
    elif how == "deallocate":
        turn.out.append(instructions.StopNode(node.pool_key, node.id, node.boot))
    elif how:
        _boot(turn, node, how)


def leave(turn: Turn, node: Node, option: str) -> None:
    """The node leaves its pool once its runs have ended, as asked."""
    node.is_leaving = True
    node.after = ""
    turn.move_node(node, "leavingpool")
    _end_runs(turn, node, option)
    close_if_empty(turn, node)


def stay(turn: Turn, node: Node) -> None:
    """A node that was leaving and still runs tasks stays after all."""
    node.is_leaving = False
    turn.move_node(node, "running")


def add_node(turn: Turn, pool: Pool, *, is_dedicated: bool) -> None:
    """A new node of the pool begins to be made."""
    pool.nodes_made += 1
    digest = sha256(f"{pool.id}/{pool.wire['creationTime']}/{pool.nodes_made}".encode()).hexdigest()
    node_id = f"tvmps_{digest}_{'d' if is_dedicated else 'p'}"
    wire = _new_wire(turn, pool, node_id, is_dedicated=is_dedicated)
    slots = pool.wire["taskSlotsPerNode"]
    pool.nodes[node_id] = Node(node_id, pool.key, pool.nodes_made, is_dedicated, slots, wire)
    turn.out.append(instructions.BootNode(pool.key, node_id))


def shortage(turn: Turn, pool: Pool) -> AllocationFault | None:
    """Why the pool cannot have all nodes that it wants now, if so."""
    faults = turn.state.allocation_faults
    return faults.get(pool.key) or faults.get("*")


def is_short(turn: Turn, pool: Pool, *, is_dedicated: bool) -> bool:
    """Whether no more nodes of this kind can be had."""
    fault = shortage(turn, pool)
    if fault is None or (is_dedicated and fault.is_low_priority_only):
        return False
    held = [node for node in pool.nodes.values() if node.wire["state"] != "preempted"]
    return len(held) >= fault.limit


def _booting(turn: Turn, pool_key: str, node_id: str, boot: int) -> Node | None:
    node = turn.state.node(pool_key, node_id)
    if node is None or node.is_leaving or node.wire["state"] not in _BOOTING or boot not in (0, node.boot):
        return None
    return node


def _boot(turn: Turn, node: Node, how: str) -> None:
    node.boot += 1
    if how != "reboot":
        node.emptied = node.boot
    turn.out.append(instructions.BootNode(node.pool_key, node.id, node.boot, how))


def _take_tasks(turn: Turn, node: Node) -> None:
    turn.move_node(node, "idle")
    turn.show_node(node)
    turn.place(node.pool_key)


def _drop_out(turn: Turn, node: Node, state: str) -> None:
    """The node is no longer what it was, and what is under way on it is void."""
    turn.move_node(node, state)
    node.boot += 1
    node.after = ""
    _end_runs(turn, node, "requeue")


def _end_runs(turn: Turn, node: Node, option: str) -> None:
    if option in ("requeue", "terminate"):
        for run in list(node.runs.values()):
            turn.stop(run, Ending(option))


def _is_waited_for(node: Node) -> bool:
    return bool(node.wire["startTask"].get("waitForSuccess", True))


def _may_retry(node: Node, outcome: TaskOutcome) -> bool:
    """Trouble before or after the command is not retried (source: public documentation)."""
    limit = int(node.wire["startTask"].get("maxTaskRetryCount", 0))
    if not outcome.exit_code:
        return False
    return limit < 0 or int(node.wire["startTaskInfo"]["retryCount"]) < limit


def _new_wire(turn: Turn, pool: Pool, node_id: str, *, is_dedicated: bool) -> Json:
    third, fourth = divmod(pool.nodes_made + 3, 256)  # the first four addresses of a subnet are Azure's
    image = pool.wire.get("virtualMachineConfiguration", {}).get("imageReference", {})
    exact = {"exactVersion": image["version"]} if "version" in image else {}
    return {
        "id": node_id,
        "state": "creating",
        "schedulingState": "enabled",
        "stateTransitionTime": turn.stamp,
        "allocationTime": turn.stamp,
        "ipAddress": f"10.0.{third}.{fourth}",
        "affinityId": f"TVM:{node_id}",
        "vmSize": pool.wire["vmSize"],
        "totalTasksRun": 0,
        "totalTasksSucceeded": 0,
        "runningTasksCount": 0,
        "runningTaskSlotsCount": 0,
        "isDedicated": is_dedicated,
        "endpointConfiguration": {"inboundEndpoints": [_login_endpoint(pool)]},
        "recentTasks": [],
        "virtualMachineInfo": {"imageReference": {**image, **exact}},
    }


def _login_endpoint(pool: Pool) -> Json:
    number = pool.nodes_made - 1
    return {
        "name": f"SSHRule.{number}",
        "protocol": "tcp",
        "publicIPAddress": "127.0.0.1",
        "publicFQDN": "localhost",
        "frontendPort": _FIRST_PORT + number % 10000,
        "backendPort": 22,
    }
