"""Which declared inputs are blobs already, and which must go up. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from snakemake_executor_azurebatch.jobs import NeededFile
from snakemake_executor_azurebatch.node.protocol import InputFile
from snakemake_executor_azurebatch.staging.index import BlobRef


@dataclass(frozen=True)
class UploadPlan:
    """Inputs that are in blob storage already, and inputs that must go up first."""

    ready: list[InputFile]
    missing: list[NeededFile]


def plan_inputs(wanted: Sequence[NeededFile], known: Callable[[NeededFile], BlobRef | None]) -> UploadPlan:
    """Split ``wanted`` by what ``known`` says. A path wanted twice is planned once; the order is kept."""
    plan = UploadPlan([], [])
    for want in {want.path: want for want in wanted}.values():
        blob = known(want)
        if blob is not None and blob.kind == want.kind:
            plan.ready.append(input_file(want.path, blob))
        else:
            plan.missing.append(want)
    return plan


def input_file(path: str, blob: BlobRef) -> InputFile:
    """What the stager is told about an input that is ``blob``."""
    place = (blob.offset, blob.pack_bytes)
    return InputFile(path, blob.blob, blob.size_bytes, blob.md5, blob.mode, blob.kind, "", "", *place)
