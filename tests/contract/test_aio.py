"""The asynchronous client of the SDK."""

from __future__ import annotations

import asyncio

import pytest
from azure.batch import models as m
from azure.batch.aio import BatchClient
from azure.core.credentials import AzureNamedKeyCredential
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError

from snakemake_executor_azurebatch.emulator.config import DEVELOPMENT_ACCOUNT, DEVELOPMENT_KEY

from .conftest import code_of, pool, task


@pytest.fixture
async def client(service):
    key = AzureNamedKeyCredential(DEVELOPMENT_ACCOUNT, DEVELOPMENT_KEY)
    async with BatchClient(service.url, key, retry_total=0) as found:
        yield found


async def test_from_pool_to_output(client, name):
    await client.create_pool(pool(name, slots=4))
    await client.create_job(m.BatchJobCreateOptions(id=name, pool_info=m.BatchPoolInfo(pool_id=name)))
    await client.create_tasks(name, [task(f"t{number:02}", f"echo {number}") for number in range(20)])
    async with asyncio.timeout(120):
        while (await client.get_job_task_counts(name)).task_counts.completed < 20:  # noqa: ASYNC110 (a remote state)
            await asyncio.sleep(0.02)
    found = [item.id async for item in client.list_tasks(name, max_results=6, filter="executionInfo/exitCode eq 0")]
    assert found == [f"t{number:02}" for number in range(20)]
    parts = await client.download_task_file(name, "t07", "stdout.txt", ocp_range="bytes=0-0")
    assert b"".join([part async for part in parts]) == b"7"
    await (await client.begin_delete_job(name, polling_interval=0.02)).result()
    await (await client.begin_delete_pool(name, polling_interval=0.02)).result()
    with pytest.raises(ResourceNotFoundError):
        await client.get_pool(name)


async def test_errors_have_their_codes(client):
    with pytest.raises(HttpResponseError) as refused:
        async for _ in client.list_tasks("nobody"):
            pass
    assert (refused.value.status_code, code_of(refused)) == (404, "JobNotFound")
