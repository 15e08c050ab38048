"""Node agents, and access to blobs."""

import asyncio

import pytest

from snakemake_executor_azurebatch.emulator.agent.agent import NodeAgent
from tests.unit.emulator.azurite_support import container_sas
from tests.unit.emulator.files.support import BOUND_S, place


@pytest.fixture
async def agent(tmp_path):
    agent = NodeAgent(place(tmp_path / "node"))
    yield agent
    await asyncio.wait_for(agent.close(), BOUND_S)


@pytest.fixture
def sas(container, azurite):
    return container_sas(container.container_name, azurite)


@pytest.fixture
async def impatient(tmp_path):
    agent = NodeAgent(place(tmp_path / "impatient"), silence_s=0.1)
    yield agent
    await asyncio.wait_for(agent.close(), BOUND_S)
