"""Operations on the files of a task: below its directory, ``stdout.txt``, ``stderr.txt`` and ``wd``.

Assumed: the files of a task whose node is gone are TaskFilesUnavailable, those whose retention time is over
TaskFilesCleanedup.
"""

from __future__ import annotations

from snakemake_executor_azurebatch.emulator import calls, directories, faults
from snakemake_executor_azurebatch.emulator.calls import Answer, Call
from snakemake_executor_azurebatch.emulator.directories import Directory
from snakemake_executor_azurebatch.emulator.faults import ServiceFault
from snakemake_executor_azurebatch.emulator.wire import task_url


def list_task_files(call: Call) -> Answer:
    """GET /jobs/{jobId}/tasks/{taskId}/files. Names are relative to the task's directory."""
    return directories.list_files(call, _place(call))


def download_task_file(call: Call) -> Answer:
    """GET /jobs/{jobId}/tasks/{taskId}/files/{filePath}"""
    return directories.download(call, _place(call))


def get_task_file_properties(call: Call) -> Answer:
    """HEAD /jobs/{jobId}/tasks/{taskId}/files/{filePath}"""
    return directories.properties(call, _place(call))


def delete_task_file(call: Call) -> Answer:
    """DELETE /jobs/{jobId}/tasks/{taskId}/files/{filePath}"""
    return directories.delete(call, _place(call))


def _place(call: Call) -> Directory:
    job, task = calls.find_task(call)
    if task.files_expired:
        raise ServiceFault(faults.TASK_FILES_CLEANED_UP)
    info = task.wire.get("nodeInfo")
    if info is None or not call.service.state.node(info["poolId"].lower(), info["nodeId"]):
        raise ServiceFault(faults.TASK_FILES_UNAVAILABLE)
    root = call.service.node_root(info["poolId"], info["nodeId"])
    return Directory(root / info["taskRootDirectory"], root, task_url(call.base_url, job.id, task.id))
