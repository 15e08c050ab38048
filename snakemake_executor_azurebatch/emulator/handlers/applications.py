"""Operations on applications: the local service's catalogue is empty."""

from __future__ import annotations

from snakemake_executor_azurebatch.emulator import faults
from snakemake_executor_azurebatch.emulator.calls import Answer, Call
from snakemake_executor_azurebatch.emulator.faults import ServiceFault
from snakemake_executor_azurebatch.emulator.listing import page


def list_applications(call: Call) -> Answer:
    """GET /applications"""
    return page(call, "applications", [], lambda key: {}, {})


def get_application(call: Call) -> Answer:
    """GET /applications/{applicationId}"""
    raise ServiceFault(faults.APPLICATION_NOT_FOUND)
