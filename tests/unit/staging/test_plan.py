from __future__ import annotations

from pathlib import Path

from snakemake_executor_azurebatch.jobs import NeededFile
from snakemake_executor_azurebatch.node.protocol import InputFile
from snakemake_executor_azurebatch.staging.index import BlobRef
from snakemake_executor_azurebatch.staging.plan import plan_inputs

A, B = (NeededFile(name, Path("/w", name)) for name in ("a", "b"))
REF = BlobRef("inputs/1", 3, "m", 0o755, "file")


def test_known_inputs_are_ready_and_the_others_must_go_up() -> None:
    plan = plan_inputs([A, B, A], {A: REF}.get)
    assert plan.ready == [InputFile("a", "inputs/1", 3, "m", 0o755, "file")]
    assert plan.missing == [B]


def test_what_lies_in_a_pack_is_read_from_there() -> None:
    packed = BlobRef("packs/1", 3, "m", 0o644, "file", 5, 100)
    assert not packed.is_whole
    [item] = plan_inputs([A], {A: packed}.get).ready
    assert (item.blob, item.size_bytes, item.offset, item.pack_bytes) == ("packs/1", 3, 5, 100)


def test_a_file_that_was_a_folder_must_go_up() -> None:
    folder = BlobRef("inputs/1", 3, "m", 0o755, "directory")
    assert plan_inputs([A], {A: folder}.get).missing == [A]
