"""A storage plugin for Snakemake that stands in for the real one inside a task, where the stager moves the files.

The remote Snakemake then finds the local copies where the provider would have put them, and neither downloads nor
uploads anything, asks no service and needs no credentials; the image needs no plugin. What it is asked about an
object it answers from the local copy:

    exists    there is a local copy, or Snakemake is not to retrieve the object at all
    mtime     of the local copy, so that it never looks outdated
    retrieve  an error: a file that is needed was staged before
    store     nothing: the stager stores what is left here when Snakemake has ended
    remove    removes the local copy, so that it is not stored

As ``pinned_snakemake``, this needs more than the standard library: Snakemake's interface for storage plugins.
"""

from __future__ import annotations

import os
import shutil
from typing import Any, List
from urllib.parse import urlparse

from snakemake_interface_storage_plugins.storage_object import (
    StorageObjectGlob,
    StorageObjectRead,
    StorageObjectTouch,
    StorageObjectWrite,
)
from snakemake_interface_storage_plugins.storage_provider import StorageProviderBase, StorageQueryValidationResult


class StorageProvider(StorageProviderBase):
    """Accepts queries of the form ``az://container/blob``."""

    @classmethod
    def example_queries(cls) -> List[Any]:
        """For the documentation of a plugin."""
        return []

    @classmethod
    def is_valid_query(cls, query: str) -> StorageQueryValidationResult:
        """Whether the real plugin could have this query; the controller has asked it."""
        parsed = urlparse(query)
        valid = parsed.scheme == "az" and bool(parsed.netloc)
        reason = None if valid else "must be az://container/blob"
        return StorageQueryValidationResult(query=query, valid=valid, reason=reason)

    def use_rate_limiter(self) -> bool:
        """Nothing is asked that had a limit."""
        return False

    def rate_limiter_key(self, query: str, operation: Any) -> None:
        """Not used."""

    def default_max_requests_per_second(self) -> float:
        """Not used."""
        return 1000.0


class StorageObject(StorageObjectRead, StorageObjectWrite, StorageObjectGlob, StorageObjectTouch):
    """One object, known by its local copy alone."""

    def __post_init__(self) -> None:
        self.keep_local = True  # Snakemake would remove outputs before the stager has stored them

    def local_suffix(self) -> str:
        """As the real plugin has it; the controller checks that it does."""
        parsed = urlparse(self.query)
        return parsed.netloc + "/" + parsed.path.lstrip("/")

    async def inventory(self, cache: Any) -> None:
        """Nothing is known for free."""

    def get_inventory_parent(self) -> None:
        """There is no inventory."""

    def cleanup(self) -> None:
        """Nothing is open."""

    def exists(self) -> bool:
        """See the top of this file."""
        return not self.retrieve or os.path.lexists(self._path)

    def mtime(self) -> float:
        """In seconds since 1970."""
        return os.stat(self._path).st_mtime if os.path.exists(self._path) else 0.0

    def size(self) -> int:
        """In bytes."""
        return os.path.getsize(self._path) if os.path.exists(self._path) else 0

    def retrieve_object(self) -> None:
        """Never right: what a job needs is there."""
        raise FileNotFoundError("%s was not staged for this job" % self.query)

    def store_object(self) -> None:
        """The stager does it."""

    def remove(self) -> None:
        """Remove the local copy."""
        if os.path.isdir(self._path) and not os.path.islink(self._path):
            shutil.rmtree(self._path)
        elif os.path.lexists(self._path):
            os.unlink(self._path)

    def list_candidate_matches(self) -> List[str]:
        """Nothing: what a glob has found in the controller is pinned."""
        return []

    def touch(self) -> None:
        """The stager stores it anew in any case."""

    @property
    def _path(self) -> str:
        return str(self.local_path())
