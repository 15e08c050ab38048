"""The rarer commands of ``az batch``: nodes, users, schedules, second attempts.

Reads the same variables as ``with_az``. The last line that it prints says what it saw, as JSON.
"""

import json

from with_az import FOLDER, NAME, az, until


def main():
    az(
        f"pool create --id {NAME} --vm-size Standard_D2_v3 --target-dedicated-nodes 2",
        "--image",
        "canonical:0001-com-ubuntu-server-jammy:22_04-lts",
        "--node-agent-sku-id",
        "batch.node.ubuntu 22.04",
    )
    until(lambda: states() == ["idle", "idle"])
    seen = {**pools(), **nodes(), **jobs(), **schedules()}
    az(f"pool delete --yes --pool-id {NAME}")
    print(json.dumps(seen))


def states():
    return az(f"node list --pool-id {NAME} --query [].state")


def pools():
    az(f"pool reset --pool-id {NAME} --metadata who=az")
    az(f"pool set --pool-id {NAME} --metadata who=az what=pool")
    counts = az("pool node-counts list")
    images = az("pool supported-images list --query [].nodeAgentSkuId")
    return {
        "metadata": az(f"pool show --pool-id {NAME} --query metadata[].value"),
        "counts": [item["dedicated"]["total"] for item in counts if item["poolId"] == NAME],
        "images": "batch.node.ubuntu 22.04" in images,
        "usage": az("pool usage-metrics list"),
    }


def nodes():
    first, second = az(f"node list --pool-id {NAME} --query [].id")
    place = f"--pool-id {NAME} --node-id {first}"
    az(f"node scheduling disable {place}")
    offline = az(f"node show {place} --query state")
    az(f"node scheduling enable {place}")
    az(f"node user create {place} --name somebody --password Secret-1")
    az(f"node user delete --yes {place} --user-name somebody")
    files = az(f"node file list {place} --query [].name")
    login = az(f"node remote-login-settings show {place}")
    az(f"node reboot --pool-id {NAME} --node-id {second}")
    until(lambda: states() == ["idle", "idle"])
    az(f"node delete --pool-id {NAME} --node-list {second}")
    until(lambda: states() == ["idle"])
    return {"offline": offline, "files": "workitems" in files, "login": login["remoteLoginPort"] > 0}


def jobs():
    az(f"job create --id {NAME} --pool-id {NAME} --job-manager-task-id boss --job-manager-task-command-line true")
    until(lambda: az(f"job show --job-id {NAME} --query state") == "completed")
    reason = az(f"job show --job-id {NAME} --query executionInfo.terminateReason")
    az(f"job delete --yes --job-id {NAME}")
    other = f"{NAME}-2"
    az(f"job create --id {other} --pool-id {NAME}")
    az(f"job disable --job-id {other} --disable-tasks requeue")
    until(lambda: az(f"job show --job-id {other} --query state") == "disabled")
    az(f"job enable --job-id {other}")
    many = [{"id": f"t{number}", "commandLine": "/bin/sh -c 'exit 1'"} for number in range(3)]
    many.append({"id": "wide", "commandLine": "true", "requiredSlots": 2})  # no node has two: it waits
    (FOLDER / "tasks.json").write_text(json.dumps(many))
    added = az(f"task create --job-id {other} --json-file {FOLDER}/tasks.json")
    until(lambda: az(f"job task-counts show --job-id {other} --query taskCounts.failed") == 3)
    az(f"task reactivate --job-id {other} --task-id t1")
    until(lambda: az(f"job task-counts show --job-id {other} --query taskCounts.failed") == 3)
    az(f"task reset --job-id {other} --task-id wide --max-task-retry-count 2")
    retries = az(f"task show --job-id {other} --task-id wide --query constraints.maxTaskRetryCount")
    az(f"task delete --yes --job-id {other} --task-id t2")
    left = az(f"task list --job-id {other} --query [].id")
    az(f"job delete --yes --job-id {other}")
    return {"reason": reason, "added": len(added), "left": left, "retries": retries}


def schedules():
    az(f"job-schedule create --id {NAME} --pool-id {NAME} --recurrence-interval PT1H")
    until(lambda: az(f"job list --job-schedule-id {NAME} --query [].id"))
    made = az(f"job list --job-schedule-id {NAME} --query [].id")
    az(f"job-schedule set --job-schedule-id {NAME} --metadata who=az")
    shown = az(f"job-schedule show --job-schedule-id {NAME}")
    az(f"job-schedule stop --job-schedule-id {NAME}")
    until(lambda: az(f"job-schedule show --job-schedule-id {NAME} --query state") == "completed")
    az(f"job-schedule delete --yes --job-schedule-id {NAME}")
    until(lambda: NAME not in az("job-schedule list --query [].id"))
    return {"made": made, "interval": shown["schedule"]["recurrenceInterval"]}


if __name__ == "__main__":
    main()
