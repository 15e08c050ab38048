"""What a plan counts as being in blob storage already."""

import pytest

from snakemake_executor_azurebatch.jobs import NeededFile
from snakemake_executor_azurebatch.planned.uploads import INDEX, uploads_of
from snakemake_executor_azurebatch.staging.index import BlobRef, Index
from snakemake_executor_azurebatch.staging.stamps import Stamp

WHOLE = BlobRef("inputs/a", 3, "0" * 32, 0o644, "file")
MEMBER = BlobRef("packs/a", 3, "0" * 32, 0o644, "file", offset=10, pack_bytes=100)


@pytest.mark.parametrize(
    ("blob", "needs_whole", "known"), [(WHOLE, True, 1), (WHOLE, False, 1), (MEMBER, False, 1), (MEMBER, True, 0)]
)
def test_a_file_in_a_pack_is_not_enough_where_azure_batch_brings_it(blob, needs_whole, known, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    local = tmp_path / "in.txt"
    local.write_text("abc")
    index = Index(INDEX, "store")
    index.learn(str(local), Stamp.of(local), blob)
    index.close()

    found = uploads_of([NeededFile("in.txt", local)], [], {local} if needs_whole else ())

    assert (found.known_files, found.files) == (known, 1 - known)
