"""A day with azure-batch 14 (api-version 2024-02-01.19.0): pool, job, tasks with files, resize, end.

Reads BATCH_ACCOUNT_URL, BATCH_ACCOUNT_NAME, BATCH_ACCOUNT_KEY, NAME (of pool and job), INPUT_URL (a blob) and
OUTPUT_URL (a blob container). The last line that it prints says what it saw, as JSON.
"""

import json
import os
import time

from azure.batch import BatchServiceClient
from azure.batch import models as m
from azure.batch.batch_auth import SharedKeyCredentials

NAME = os.environ["NAME"]


def main():
    key = SharedKeyCredentials(os.environ["BATCH_ACCOUNT_NAME"], os.environ["BATCH_ACCOUNT_KEY"])
    client = BatchServiceClient(key, os.environ["BATCH_ACCOUNT_URL"])
    seen = {"exists_before": client.pool.exists(NAME)}
    client.pool.add(pool())
    until(lambda: client.pool.get(NAME).allocation_state == m.AllocationState.steady)
    client.pool.resize(NAME, m.PoolResizeParameter(target_dedicated_nodes=1))
    until(lambda: [node.state for node in client.compute_node.list(NAME)] == [m.ComputeNodeState.idle])
    seen["exists_after"] = client.pool.exists(NAME)
    seen["again"] = error_of(lambda: client.pool.add(pool()))
    client.job.add(m.JobAddParameter(id=NAME, pool_info=m.PoolInformation(pool_id=NAME)))
    added = client.task.add_collection(NAME, tasks(), threads=2).value
    seen["added"] = sorted({str(result.status.value) for result in added})
    seen["again in a collection"] = client.task.add_collection(NAME, [tasks()[0]]).value[0].error.code
    until(lambda: client.job.get_task_counts(NAME).task_counts.completed == len(added))
    seen.update(look(client))
    seen.update(scale(client))
    client.job.terminate(NAME, terminate_reason="enough")
    until(lambda: client.job.get(NAME).state == m.JobState.completed)
    seen["terminate_reason"] = client.job.get(NAME).execution_info.terminate_reason
    client.job.delete(NAME)
    client.pool.delete(NAME)
    until(lambda: not client.pool.exists(NAME))
    until(lambda: error_of(lambda: client.job.get(NAME)) == "JobNotFound")
    print(json.dumps(seen))


def pool():
    image = m.ImageReference(publisher="canonical", offer="0001-com-ubuntu-server-jammy", sku="22_04-lts")
    machine = m.VirtualMachineConfiguration(image_reference=image, node_agent_sku_id="batch.node.ubuntu 22.04")
    return m.PoolAddParameter(
        id=NAME,
        vm_size="STANDARD_D2_V3",
        virtual_machine_configuration=machine,
        task_slots_per_node=4,
        certificate_references=[],
        target_node_communication_mode="simplified",
    )


def tasks():
    given = m.ResourceFile(http_url=os.environ["INPUT_URL"], file_path="given/in.txt")
    target = m.OutputFileBlobContainerDestination(container_url=os.environ["OUTPUT_URL"], path="done/out.txt")
    output = m.OutputFile(
        file_pattern="out.txt",
        destination=m.OutputFileDestination(container=target),
        upload_options=m.OutputFileUploadOptions(upload_condition=m.OutputFileUploadCondition.task_success),
    )
    copy = "/bin/sh -c 'tr a-z A-Z <given/in.txt >out.txt; echo written; echo warned >&2'"
    return [
        m.TaskAddParameter(id="copy", command_line=copy, resource_files=[given], output_files=[output]),
        m.TaskAddParameter(id="fail", command_line="/bin/sh -c 'exit 3'"),
        *[m.TaskAddParameter(id=f"many{number:03}", command_line="true") for number in range(120)],
    ]


def look(client):
    """What tasks and their files say of themselves."""
    failed = client.task.get(NAME, "fail").execution_info
    only = m.TaskListOptions(filter="startswith(id,'many')", select="id, state", max_results=50)
    whole = client.file.get_from_task(NAME, "copy", "stdout.txt")
    part = m.FileGetFromTaskOptions(ocp_range="bytes=0-3")
    size = client.file.get_properties_from_task(NAME, "copy", "wd/out.txt", raw=True).headers
    return {
        "failed": [failed.exit_code, failed.result.value, failed.failure_info.category.value, failed.failure_info.code],
        "many": len(list(client.task.list(NAME, only))),
        "stdout": b"".join(whole).decode(),
        "range": b"".join(client.file.get_from_task(NAME, "copy", "stdout.txt", part)).decode(),
        "size": size["Content-Length"],
        "files": sorted(file.name for file in client.file.list_from_task(NAME, "copy", recursive=True)),
        "node files": "workitems" in [file.name for file in client.file.list_from_compute_node(NAME, node_of(client))],
        "node counts": [
            item.dedicated.total for item in client.account.list_pool_node_counts() if item.pool_id == NAME
        ],
        "images": len(list(client.account.list_supported_images())) > 0,
        "mode": str(client.pool.get(NAME).target_node_communication_mode.value),
    }


def node_of(client):
    return client.task.get(NAME, "copy").node_info.node_id


def scale(client):
    """Automatic scaling on, asked, and off; down to no node by hand."""
    formula = "$TargetDedicatedNodes = 1;"
    client.pool.enable_auto_scale(NAME, auto_scale_formula=formula)
    run = client.pool.evaluate_auto_scale(NAME, "$TargetDedicatedNodes = 2;")
    client.pool.disable_auto_scale(NAME)
    until(lambda: client.pool.get(NAME).allocation_state == m.AllocationState.steady)
    client.pool.resize(NAME, m.PoolResizeParameter(target_dedicated_nodes=0))
    until(lambda: list(client.compute_node.list(NAME)) == [])
    return {"autoscale": run.results.split(";")[0]}


def error_of(action):
    try:
        action()
    except m.BatchErrorException as error:
        return error.error.code
    return None


def until(holds):
    give_up = time.monotonic() + 120
    while not holds():
        if time.monotonic() > give_up:
            raise SystemExit("what the script waits for did not come")
        time.sleep(0.1)


if __name__ == "__main__":
    main()
