"""Every operation of the service, one line each, and how a path finds its line."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import unquote

from snakemake_executor_azurebatch.emulator import faults
from snakemake_executor_azurebatch.emulator.calls import Answer, Call
from snakemake_executor_azurebatch.emulator.faults import ServiceFault, not_emulated
from snakemake_executor_azurebatch.emulator.handlers import (
    accounts,
    applications,
    autoscale,
    files,
    jobs,
    management,
    node_access,
    nodes,
    pools,
    schedules,
    tasks,
)

Handler = Callable[[Call], Answer]

#: Requests beyond these sizes are refused. A collection of tasks: 1 MB (source: public documentation);
#: anything else: assumed.
_BODY_LIMIT_BYTES = 8 * 1024 * 1024
_COLLECTION_LIMIT_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Route:
    """One operation. ``model`` is the SDK's name for its body; a body may be missing if optional."""

    method: str
    template: str
    handler: Handler
    model: str = ""
    is_body_optional: bool = False
    body_limit_bytes: int = _BODY_LIMIT_BYTES
    is_management: bool = False  #: of Azure Resource Manager; its handler checks the body


def _refused(what: str) -> Handler:
    def handler(call: Call) -> Answer:
        raise not_emulated(f"this operation ({what})")

    return handler


def _not_emulated(lines: str) -> tuple[Route, ...]:
    pairs = (line.split() for line in lines.strip().splitlines())
    return tuple(Route(method, path, _refused(f"{method} {path}")) for method, path in pairs)


ROUTES: tuple[Route, ...] = (
    Route("POST", "/pools", pools.create_pool, "BatchPoolCreateOptions"),
    Route("GET", "/pools", pools.list_pools),
    Route("GET", "/pools/{poolId}", pools.get_pool),
    Route("HEAD", "/pools/{poolId}", pools.pool_exists),
    Route("DELETE", "/pools/{poolId}", pools.delete_pool),
    Route("PATCH", "/pools/{poolId}", pools.update_pool, "BatchPoolUpdateOptions"),
    Route("POST", "/pools/{poolId}/updateproperties", pools.replace_pool_properties, "BatchPoolReplaceOptions"),
    Route("POST", "/pools/{poolId}/resize", pools.resize_pool, "BatchPoolResizeOptions"),
    Route("POST", "/pools/{poolId}/stopresize", pools.stop_pool_resize),
    Route("POST", "/pools/{poolId}/removenodes", pools.remove_nodes, "BatchNodeRemoveOptions"),
    Route(
        "POST",
        "/pools/{poolId}/enableautoscale",
        autoscale.enable_pool_auto_scale,
        "BatchPoolEnableAutoScaleOptions",
        is_body_optional=True,
    ),
    Route("POST", "/pools/{poolId}/disableautoscale", autoscale.disable_pool_auto_scale),
    Route(
        "POST",
        "/pools/{poolId}/evaluateautoscale",
        autoscale.evaluate_pool_auto_scale,
        "BatchPoolEvaluateAutoScaleOptions",
    ),
    Route("GET", "/pools/{poolId}/nodes", nodes.list_nodes),
    Route("GET", "/pools/{poolId}/nodes/{nodeId}", nodes.get_node),
    Route(
        "POST",
        "/pools/{poolId}/nodes/{nodeId}/reboot",
        nodes.reboot_node,
        "BatchNodeRebootOptions",
        is_body_optional=True,
    ),
    Route(
        "POST",
        "/pools/{poolId}/nodes/{nodeId}/reimage",
        nodes.reimage_node,
        "BatchNodeReimageOptions",
        is_body_optional=True,
    ),
    Route(
        "POST",
        "/pools/{poolId}/nodes/{nodeId}/deallocate",
        nodes.deallocate_node,
        "BatchNodeDeallocateOptions",
        is_body_optional=True,
    ),
    Route(
        "POST",
        "/pools/{poolId}/nodes/{nodeId}/disablescheduling",
        nodes.disable_node_scheduling,
        "BatchNodeDisableSchedulingOptions",
        is_body_optional=True,
    ),
    Route("POST", "/pools/{poolId}/nodes/{nodeId}/enablescheduling", nodes.enable_node_scheduling),
    Route("POST", "/pools/{poolId}/nodes/{nodeId}/start", nodes.start_node),
    Route("GET", "/pools/{poolId}/nodes/{nodeId}/files", node_access.list_node_files),
    Route("GET", "/pools/{poolId}/nodes/{nodeId}/files/{filePath}", node_access.download_node_file),
    Route("HEAD", "/pools/{poolId}/nodes/{nodeId}/files/{filePath}", node_access.get_node_file_properties),
    Route("DELETE", "/pools/{poolId}/nodes/{nodeId}/files/{filePath}", node_access.delete_node_file),
    Route("POST", "/pools/{poolId}/nodes/{nodeId}/users", node_access.create_node_user, "BatchNodeUserCreateOptions"),
    Route(
        "PUT",
        "/pools/{poolId}/nodes/{nodeId}/users/{userName}",
        node_access.replace_node_user,
        "BatchNodeUserReplaceOptions",
    ),
    Route("DELETE", "/pools/{poolId}/nodes/{nodeId}/users/{userName}", node_access.delete_node_user),
    Route("GET", "/pools/{poolId}/nodes/{nodeId}/remoteloginsettings", node_access.get_node_remote_login_settings),
    Route("GET", "/pools/{poolId}/nodes/{nodeId}/extensions", node_access.list_node_extensions),
    Route("GET", "/pools/{poolId}/nodes/{nodeId}/extensions/{extensionName}", node_access.get_node_extension),
    Route(
        "POST",
        "/pools/{poolId}/nodes/{nodeId}/uploadbatchservicelogs",
        node_access.upload_node_logs,
        "UploadBatchServiceLogsOptions",
    ),
    Route("GET", "/nodecounts", accounts.list_pool_node_counts),
    Route("GET", "/supportedimages", accounts.list_supported_images),
    Route("GET", "/poolusagemetrics", accounts.list_pool_usage_metrics),
    Route("GET", "/applications", applications.list_applications),
    Route("GET", "/applications/{applicationId}", applications.get_application),
    Route("POST", "/jobs", jobs.create_job, "BatchJobCreateOptions"),
    Route("GET", "/jobs", jobs.list_jobs),
    Route("GET", "/jobs/{jobId}", jobs.get_job),
    Route("PATCH", "/jobs/{jobId}", jobs.update_job, "BatchJobUpdateOptions"),
    Route("PUT", "/jobs/{jobId}", jobs.replace_job, "BatchJob"),
    Route("DELETE", "/jobs/{jobId}", jobs.delete_job),
    Route(
        "POST",
        "/jobs/{jobId}/terminate",
        jobs.terminate_job,
        "BatchJobTerminateOptions",
        is_body_optional=True,
    ),
    Route("GET", "/jobs/{jobId}/taskcounts", jobs.get_job_task_counts),
    Route("POST", "/jobs/{jobId}/disable", jobs.disable_job, "BatchJobDisableOptions"),
    Route("POST", "/jobs/{jobId}/enable", jobs.enable_job),
    Route(
        "GET",
        "/jobs/{jobId}/jobpreparationandreleasetaskstatus",
        jobs.list_job_preparation_and_release_task_status,
    ),
    Route("POST", "/jobs/{jobId}/tasks", tasks.create_task, "BatchTaskCreateOptions"),
    Route(
        "POST",
        "/jobs/{jobId}/addtaskcollection",
        tasks.create_task_collection,
        "BatchTaskGroup",
        body_limit_bytes=_COLLECTION_LIMIT_BYTES,
    ),
    Route("GET", "/jobs/{jobId}/tasks", tasks.list_tasks),
    Route("GET", "/jobs/{jobId}/tasks/{taskId}", tasks.get_task),
    Route("PUT", "/jobs/{jobId}/tasks/{taskId}", tasks.replace_task, "BatchTask"),
    Route("DELETE", "/jobs/{jobId}/tasks/{taskId}", tasks.delete_task),
    Route("POST", "/jobs/{jobId}/tasks/{taskId}/terminate", tasks.terminate_task),
    Route("POST", "/jobs/{jobId}/tasks/{taskId}/reactivate", tasks.reactivate_task),
    Route("GET", "/jobs/{jobId}/tasks/{taskId}/subtasksinfo", tasks.list_subtasks),
    Route("GET", "/jobs/{jobId}/tasks/{taskId}/files", files.list_task_files),
    Route("GET", "/jobs/{jobId}/tasks/{taskId}/files/{filePath}", files.download_task_file),
    Route("HEAD", "/jobs/{jobId}/tasks/{taskId}/files/{filePath}", files.get_task_file_properties),
    Route("DELETE", "/jobs/{jobId}/tasks/{taskId}/files/{filePath}", files.delete_task_file),
    Route("POST", "/jobschedules", schedules.create_job_schedule, "BatchJobScheduleCreateOptions"),
    Route("GET", "/jobschedules", schedules.list_job_schedules),
    Route("GET", "/jobschedules/{jobScheduleId}", schedules.get_job_schedule),
    Route("HEAD", "/jobschedules/{jobScheduleId}", schedules.job_schedule_exists),
    Route("PATCH", "/jobschedules/{jobScheduleId}", schedules.update_job_schedule, "BatchJobScheduleUpdateOptions"),
    Route("PUT", "/jobschedules/{jobScheduleId}", schedules.replace_job_schedule, "BatchJobSchedule"),
    Route("DELETE", "/jobschedules/{jobScheduleId}", schedules.delete_job_schedule),
    Route("POST", "/jobschedules/{jobScheduleId}/disable", schedules.disable_job_schedule),
    Route("POST", "/jobschedules/{jobScheduleId}/enable", schedules.enable_job_schedule),
    Route("POST", "/jobschedules/{jobScheduleId}/terminate", schedules.terminate_job_schedule),
    Route("GET", "/jobschedules/{jobScheduleId}/jobs", schedules.list_jobs_from_schedule),
    *_not_emulated(
        """
        GET /pools/{poolId}/nodes/{nodeId}/rdp
        GET /certificates
        POST /certificates
        GET /certificates(thumbprintAlgorithm={algorithm},thumbprint={thumbprint})
        DELETE /certificates(thumbprintAlgorithm={algorithm},thumbprint={thumbprint})
        POST /certificates(thumbprintAlgorithm={algorithm},thumbprint={thumbprint})/canceldelete
        """
    ),
)

ACCOUNT = (
    "/subscriptions/{subscriptionId}/resourceGroups/{resourceGroupName}"
    "/providers/Microsoft.Batch/batchAccounts/{accountName}"
)
#: Of Azure Resource Manager: what makes a pool with identities (source: models of azure-mgmt-batch, 2025-06-01).
MANAGEMENT: tuple[Route, ...] = (
    Route("PUT", f"{ACCOUNT}/pools/{{poolId}}", management.put_pool, is_management=True),
    Route("GET", f"{ACCOUNT}/pools/{{poolId}}", management.get_pool_resource, is_management=True),
    Route("DELETE", f"{ACCOUNT}/pools/{{poolId}}", management.delete_pool_resource, is_management=True),
    Route(
        "GET", f"{ACCOUNT}/poolOperationResults/{{poolId}}", management.get_pool_operation_result, is_management=True
    ),
    *_not_emulated(
        f"""
        GET {ACCOUNT}/pools
        PATCH {ACCOUNT}/pools/{{poolId}}
        POST {ACCOUNT}/pools/{{poolId}}/disableAutoScale
        POST {ACCOUNT}/pools/{{poolId}}/stopResize
        """
    ),
)


def template(method: str, raw_path: str) -> str:
    """The operation's path template, for the request log; empty where there is none."""
    try:
        return find(method, raw_path)[0].template
    except ServiceFault:
        return ""


def find(method: str, raw_path: str) -> tuple[Route, Mapping[str, str]]:
    """The operation and its decoded path parameters. Raises ServiceFault (404, 405)."""
    segments = raw_path.strip("/").split("/")
    known = False
    for route in (*ROUTES, *MANAGEMENT):
        params = _match(route.template.strip("/").split("/"), segments)
        if params is not None and route.method == method:
            return route, params
        known = known or params is not None
    raise ServiceFault(faults.UNSUPPORTED_VERB if known else faults.RESOURCE_NOT_FOUND)


def _match(template: list[str], segments: list[str]) -> Mapping[str, str] | None:
    """Parameters if the path fits; {filePath} takes the rest, encoded slashes or plain ones."""
    if template[-1] == "{filePath}" and len(segments) > len(template):
        segments = [*segments[: len(template) - 1], "/".join(segments[len(template) - 1 :])]
    if len(template) != len(segments):
        return None
    is_arm = template[0] == "subscriptions"  # whose names are compared without case
    params = {}
    for expected, given in zip(template, segments, strict=True):
        if expected.startswith("{"):
            params[expected[1:-1]] = unquote(given)
        elif "(" in expected:  # keys inside a segment: of operations that are refused, and read by nobody
            if not given.startswith(expected[: expected.index("{")]):
                return None
        elif expected != given and not (is_arm and expected.lower() == given.lower()):
            return None
    return params
