// A day with @azure/batch (api-version 2022-10-01.16.0): pool, job, tasks with files, resize, end.
//
// Reads BATCH_ACCOUNT_URL, BATCH_ACCOUNT_NAME, BATCH_ACCOUNT_KEY, NAME (of pool and job), INPUT_URL (a blob)
// and OUTPUT_URL (a blob container). The last line that it prints says what it saw, as JSON.
"use strict";

const { BatchServiceClient, BatchSharedKeyCredentials } = require("@azure/batch");

const { NAME, INPUT_URL, OUTPUT_URL, BATCH_ACCOUNT_NAME, BATCH_ACCOUNT_KEY, BATCH_ACCOUNT_URL } = process.env;

const pool = {
  id: NAME,
  vmSize: "STANDARD_D2_V3",
  virtualMachineConfiguration: {
    imageReference: { publisher: "canonical", offer: "0001-com-ubuntu-server-jammy", sku: "22_04-lts" },
    nodeAgentSKUId: "batch.node.ubuntu 22.04",
  },
  targetDedicatedNodes: 0,
  taskSlotsPerNode: 4,
};

const tasks = [
  {
    id: "copy",
    commandLine: "/bin/sh -c 'tr a-z A-Z <given/in.txt >out.txt; echo written; echo warned >&2'",
    resourceFiles: [{ httpUrl: INPUT_URL, filePath: "given/in.txt" }],
    outputFiles: [
      {
        filePattern: "out.txt",
        destination: { container: { containerUrl: OUTPUT_URL, path: "done/out.txt" } },
        uploadOptions: { uploadCondition: "taskSuccess" },
      },
    ],
  },
  { id: "fail", commandLine: "/bin/sh -c 'exit 3'" },
];

async function main() {
  const key = new BatchSharedKeyCredentials(BATCH_ACCOUNT_NAME, BATCH_ACCOUNT_KEY);
  const client = new BatchServiceClient(key, BATCH_ACCOUNT_URL);
  const seen = {};
  await client.pool.add(pool);
  seen.again = await errorOf(() => client.pool.add(pool));
  await until(async () => (await client.pool.get(NAME)).allocationState === "steady");
  await client.pool.resize(NAME, { targetDedicatedNodes: 1 });
  await until(async () => (await client.computeNode.list(NAME)).map((node) => node.state).join() === "idle");
  await client.job.add({ id: NAME, poolInfo: { poolId: NAME } });
  seen.added = (await client.task.addCollection(NAME, tasks)).value.map((result) => result.status);
  await client.task.add(NAME, { id: "alone", commandLine: "true", constraints: { maxTaskRetryCount: 1 } });
  await until(async () => (await client.job.getTaskCounts(NAME)).taskCounts.completed === 3);
  Object.assign(seen, await look(client), await change(client), await scale(client));
  await client.job.terminate(NAME, { terminateReason: "enough" });
  await until(async () => (await client.job.get(NAME)).state === "completed");
  seen.reason = (await client.job.get(NAME)).executionInfo.terminateReason;
  await client.job.deleteMethod(NAME);
  await client.pool.deleteMethod(NAME);
  await until(async () => (await errorOf(() => client.pool.get(NAME))) === "PoolNotFound");
  await until(async () => (await errorOf(() => client.job.get(NAME))) === "JobNotFound");
  console.log(JSON.stringify(seen));
}

async function look(client) {
  const failed = (await client.task.get(NAME, "fail")).executionInfo;
  const first = await client.task.list(NAME, { taskListOptions: { maxResults: 2, select: "id,state" } });
  const rest = await client.task.listNext(first.odatanextLink);
  const page = await client.task.list(NAME, { taskListOptions: { filter: "executionInfo/exitCode eq 3" } });
  const files = await client.file.listFromTask(NAME, "copy", { recursive: true });
  return {
    failed: [failed.exitCode, failed.result, failed.failureInfo.category, failed.failureInfo.code],
    pages: [first.length, rest.length],
    filtered: page.map((task) => task.id),
    stdout: await text(await client.file.getFromTask(NAME, "copy", "stdout.txt")),
    files: files.map((file) => file.name).sort(),
    exists: (await client.pool.exists(NAME)).body,
  };
}

async function change(client) {
  const metadata = [{ name: "who", value: "js" }];
  await client.pool.updateProperties(NAME, { certificateReferences: [], applicationPackageReferences: [], metadata });
  await client.job.patch(NAME, { priority: 5 });
  const jobSpecification = { poolInfo: { poolId: NAME } };
  await client.jobSchedule.add({ id: `${NAME}-s`, schedule: { recurrenceInterval: "PT1H" }, jobSpecification });
  await until(async () => (await client.job.listFromJobSchedule(`${NAME}-s`)).length === 1);
  const made = (await client.job.listFromJobSchedule(`${NAME}-s`))[0].id;
  await client.jobSchedule.deleteMethod(`${NAME}-s`);
  await until(async () => (await errorOf(() => client.jobSchedule.get(`${NAME}-s`))) === "JobScheduleNotFound");
  return {
    metadata: (await client.pool.get(NAME)).metadata,
    priority: (await client.job.get(NAME)).priority,
    made,
    images: (await client.account.listSupportedImages()).length > 0,
  };
}

async function scale(client) {
  await client.pool.enableAutoScale(NAME, { autoScaleFormula: "$TargetDedicatedNodes = 1;" });
  const run = await client.pool.evaluateAutoScale(NAME, "$TargetDedicatedNodes = 2;");
  await client.pool.disableAutoScale(NAME);
  await until(async () => (await client.pool.get(NAME)).allocationState === "steady");
  await client.pool.resize(NAME, { targetDedicatedNodes: 0 });
  await until(async () => (await client.computeNode.list(NAME)).length === 0);
  return { autoscale: run.results.split(";")[0] };
}

async function text(response) {
  const chunks = [];
  for await (const chunk of response.readableStreamBody) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

async function errorOf(action) {
  try {
    await action();
  } catch (error) {
    return error.code || error.body.code;
  }
  return null;
}

async function until(holds) {
  const giveUp = Date.now() + 120_000;
  while (!(await holds())) {
    if (Date.now() > giveUp) throw new Error("what the script waits for did not come");
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
