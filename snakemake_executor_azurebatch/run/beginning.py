"""What a run says at its beginning: where it runs, on what, and what has to be uploaded first."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from urllib.parse import urlsplit

from snakemake_executor_azurebatch.amounts import shown_bytes
from snakemake_executor_azurebatch.jobs import JobRequest, NeededFile
from snakemake_executor_azurebatch.node.protocol import FILE
from snakemake_executor_azurebatch.pools.description import Span
from snakemake_executor_azurebatch.pools.ensure import Pool
from snakemake_executor_azurebatch.pools.formula import Bounds


def where(account_url: str, container: str, image: str | None) -> str:
    """Account, blob container, image. ``image``: None where tasks run without containers."""
    tasks = f"tasks in image {image}" if image else "tasks without containers"
    return f"Batch account {urlsplit(account_url).netloc}, blob container {container}, {tasks}."


def on_what(job_id: str, pool: Pool, leased: Bounds | None, *, is_left: bool) -> str:
    """Batch job and pool. ``leased``: what the pool may have where this run leases it."""
    whose, state = " of an earlier run" if is_left else "", "new" if pool.created else "existing"
    size = f"{pool.vm_size}, " if pool.vm_size else ""
    return f"Batch job {job_id}{whose} on pool {pool.pool_id} ({state}): {size}{_nodes(pool, leased)}."


def _nodes(pool: Pool, leased: Bounds | None) -> str:
    if leased is not None:
        dedicated, spot = _span(leased.dedicated), _span(leased.spot)
    elif pool.nodes is not None:
        dedicated, spot = (str(count or "") for count in pool.nodes)
    else:
        return "as many nodes as its formula says"
    kinds = [f"{count} {kind}" for count, kind in ((dedicated, "dedicated"), (spot, "spot")) if count]
    last = spot or dedicated
    return f"{' and '.join(kinds)} {'node' if last == '1' else 'nodes'}" if kinds else "no nodes"


def _span(span: Span) -> str:
    return f"{span.min} to {span.max}" if span.max else ""


def uploads(jobs: int, sizes_bytes: Sequence[int]) -> str:
    """What the first jobs need, as far as it is not known to be there; nothing where that is so of all."""
    if not sizes_bytes:
        return ""
    files = "1 input file" if len(sizes_bytes) == 1 else f"{len(sizes_bytes)} input files"
    whose = "job" if jobs == 1 else f"{jobs} jobs"
    return f"To be uploaded for the first {whose}: {files}, at most {shown_bytes(sum(sizes_bytes))}."


class FirstUploads:
    """Called with jobs whose inputs are going to be uploaded; tells of the first ones. Usable from any thread."""

    def __init__(self, is_known: Callable[[NeededFile], bool], say: Callable[[str], None]) -> None:
        self._is_known = is_known
        self._say = say
        self._lock = threading.Lock()
        self._is_told = False

    def __call__(self, requests: Sequence[JobRequest]) -> None:
        """Tell it, the first time."""
        with self._lock:
            if self._is_told:
                return
            self._is_told = True
        if told := uploads(len(requests), list(self._sizes_bytes(requests))):
            self._say(told)

    def _sizes_bytes(self, requests: Sequence[JobRequest]) -> Iterable[int]:
        files = {want.local: want for one in requests for want in one.inputs if want.kind == FILE}
        for want in files.values():
            if not self._is_known(want):
                try:
                    yield want.local.stat().st_size
                except OSError:  # the upload will say what is wrong with it
                    continue
