"""Metadata of all that a run makes on Azure, by which what it has left can be found."""

from __future__ import annotations

import getpass
import platform
import uuid
from pathlib import Path

from snakemake_executor_azurebatch import __version__
from snakemake_executor_azurebatch.pools.ensure import CREATED_BY
from snakemake_executor_azurebatch.run.tidy import WORKDIR_ID
from snakemake_executor_azurebatch.staging import home

#: Tells a workdir from a copy of it, as the marks of its blobs do.
OWNER = "workdir-owner"
#: What all Batch jobs of a workdir have in common. Others of the same folder come from other hosts, users or versions.
OF_WORKDIR = (CREATED_BY[0], "workdir", WORKDIR_ID, OWNER)


def metadata_of(start_folder: Path, state_dir: Path) -> dict[str, str]:
    """For a run in ``start_folder``; what tells this workdir is kept in ``state_dir``. Raises OSError."""
    id_file = state_dir / "workdir.id"
    workdir_id = _workdir_id(id_file)
    return {
        CREATED_BY[0]: CREATED_BY[1],
        "version": __version__,
        "workdir": str(start_folder),
        WORKDIR_ID: workdir_id,
        OWNER: home.owner_of(workdir_id, id_file),
        "host": platform.node(),
        "user": getpass.getuser(),
    }


def _workdir_id(file: Path) -> str:
    """What tells this workdir from one of the same path on another machine of the same name."""
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        fresh = file.with_name(f"{file.name}.{uuid.uuid4().hex}")
        fresh.write_text(uuid.uuid4().hex)
        fresh.replace(file)
    return file.read_text()
