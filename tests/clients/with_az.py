"""A day with the command ``az batch``: pool, job, tasks with files, resize, end.

Reads AZ (the command), BATCH_ACCOUNT_URL, BATCH_ACCOUNT_NAME, BATCH_ACCOUNT_KEY, NAME (of pool and job), INPUT_URL
(a blob), OUTPUT_URL (a blob container) and FOLDER (for files). The last line that it prints says what it saw, as JSON.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

NAME = os.environ["NAME"]
FOLDER = Path(os.environ["FOLDER"])
ENVIRONMENT = {
    **os.environ,
    "AZURE_BATCH_ACCOUNT": os.environ["BATCH_ACCOUNT_NAME"],
    "AZURE_BATCH_ACCESS_KEY": os.environ["BATCH_ACCOUNT_KEY"],
    "AZURE_BATCH_ENDPOINT": os.environ["BATCH_ACCOUNT_URL"],
    "AZURE_CONFIG_DIR": str(FOLDER / "config"),
    "AZURE_CORE_COLLECT_TELEMETRY": "no",
}
TASK = {
    "id": "copy",
    "commandLine": "/bin/sh -c 'tr a-z A-Z <given/in.txt >out.txt; echo written; echo warned >&2'",
    "resourceFiles": [{"httpUrl": os.environ["INPUT_URL"], "filePath": "given/in.txt"}],
    "outputFiles": [
        {
            "filePattern": "out.txt",
            "destination": {"container": {"containerUrl": os.environ["OUTPUT_URL"], "path": "done/out.txt"}},
            "uploadOptions": {"uploadCondition": "taskSuccess"},
        }
    ],
}


def main():
    seen = {}
    az(
        f"pool create --id {NAME} --vm-size Standard_D2_v3 --target-dedicated-nodes 1 --task-slots-per-node 4",
        "--image",
        "canonical:0001-com-ubuntu-server-jammy:22_04-lts",
        "--node-agent-sku-id",
        "batch.node.ubuntu 22.04",
    )
    until(lambda: [node["state"] for node in az(f"node list --pool-id {NAME}")] == ["idle"])
    az(f"job create --id {NAME} --pool-id {NAME} --metadata who=az")
    (FOLDER / "task.json").write_text(json.dumps(TASK))
    seen["created"] = az(f"task create --job-id {NAME} --json-file {FOLDER}/task.json")["id"]
    az(f"task create --job-id {NAME} --task-id fail --command-line", "/bin/sh -c 'exit 3'")
    until(lambda: az(f"job task-counts show --job-id {NAME}")["taskCounts"]["completed"] == 2)
    seen["failed"] = az(f"task show --job-id {NAME} --task-id fail --query executionInfo.exitCode")
    seen["filtered"] = az(f"task list --job-id {NAME} --query [].id --filter", "executionInfo/exitCode eq 3")
    seen["files"] = sorted(az(f"task file list --job-id {NAME} --task-id copy --recursive --query [].name"))
    az(f"task file download --job-id {NAME} --task-id copy --file-path stdout.txt --destination {FOLDER}/stdout.txt")
    seen["stdout"] = (FOLDER / "stdout.txt").read_text()
    az(f"job set --job-id {NAME} --priority 5")
    seen["priority"] = az(f"job show --job-id {NAME} --query priority")
    seen.update(scale())
    az(f"job stop --job-id {NAME}")
    until(lambda: az(f"job show --job-id {NAME} --query state") == "completed")
    seen["missing"] = az("pool show --pool-id nobody", fails=True)
    az(f"job delete --yes --job-id {NAME}")
    az(f"pool delete --yes --pool-id {NAME}")
    until(lambda: NAME not in az("pool list --query [].id") + az("job list --query [].id"))
    print(json.dumps(seen))


def scale():
    """Automatic scaling on, asked, and off; down to no node by hand."""
    az(f"pool autoscale enable --pool-id {NAME} --auto-scale-formula", "$TargetDedicatedNodes = 1;")
    run = az(f"pool autoscale evaluate --pool-id {NAME} --auto-scale-formula", "$TargetDedicatedNodes = 2;")
    az(f"pool autoscale disable --pool-id {NAME}")
    until(lambda: az(f"pool show --pool-id {NAME} --query allocationState") == "steady")
    az(f"pool resize --pool-id {NAME} --target-dedicated-nodes 0")
    until(lambda: az(f"node list --pool-id {NAME}") == [])
    return {"autoscale": run["results"].split(";")[0]}


def az(command, *more, fails=False):
    """What the command answers; its error where it is to fail."""
    argv = [os.environ["AZ"], "batch", *command.split(), *more, "--output", "json"]
    done = subprocess.run(argv, env=ENVIRONMENT, check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if (done.returncode != 0) != fails:
        sys.exit(f"az {command}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stderr if fails else json.loads(done.stdout or "null")


def until(holds):
    give_up = time.monotonic() + 120
    while not holds():
        if time.monotonic() > give_up:
            raise SystemExit("what the script waits for did not come")
        time.sleep(0.1)


if __name__ == "__main__":
    main()
