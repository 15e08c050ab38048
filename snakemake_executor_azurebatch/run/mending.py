"""Replaces nodes that run no task any more: unusable ones, and those whose start task has failed.

Such a node cannot be rebooted or reimaged, only removed (source: Azure Batch reference, "Reboot Node": idle and running
nodes only). A leased pool gets another one when its lease is renewed; a fixed one is resized back. Only pools that
this plugin has made are touched. Where the new nodes fail like the old ones, it stops after a few rounds: then
something is wrong with the pool, and the run ends after its patience.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from snakemake_executor_azurebatch.errors import NotFound, ServiceError, service
from snakemake_executor_azurebatch.run.patience import BRIEF

if TYPE_CHECKING:
    from azure.batch import BatchClient

    from snakemake_executor_azurebatch.run.oversee import NodeSight

BROKEN = ("unusable", "starttaskfailed")
_GOOD = ("idle", "running")
#: So often all nodes may be replaced without any good one in between, and so often at all.
MOST_ROUNDS, MOST_REMOVALS = 3, 20
MOST_AT_ONCE = 100  #: nodes in one request (source: Azure Batch documentation, limits)
#: What of the start task's stderr is shown.
STDERR_BYTES, STDERR_LINES = 4096, 10
_START_STDERR = "startup/stderr.txt"
_BUSY = ("PoolBeingResized", "NodeNotFound")


class Mender:
    """To be told of the nodes now and then, from one thread."""

    def __init__(
        self, client: BatchClient, pool_id: str, renew: Callable[[], None] | None, *, is_ours: bool = True
    ) -> None:
        """``renew``: asks for the lease's nodes once more; None: the pool is fixed."""
        self._client = client
        self._pool_id = pool_id
        self._renew = renew
        self._rounds = self._removals = 0
        self._is_ours = is_ours
        self._targets: tuple[int, int] | None = None  #: of a fixed pool that is to have them again

    @property
    def is_mending(self) -> bool:
        """Whether broken nodes are replaced."""
        return self._is_ours and self._rounds < MOST_ROUNDS and self._removals < MOST_REMOVALS

    @property
    def owes_nodes(self) -> bool:
        """Whether a fixed pool is still to get nodes in place of those that were removed."""
        return self._targets is not None

    def __call__(self, nodes: Sequence[NodeSight]) -> str:
        """Replace what is broken; what is to be told of that, if anything. Raises ServiceError."""
        self._give_back()
        broken = [node.node_id for node in nodes if node.state in BROKEN]
        if not broken or not self._is_ours:
            return ""
        if not self.is_mending:
            return f"New nodes of pool {self._pool_id} fail as the old ones did: they are not replaced any more."
        if self._remove(broken[:MOST_AT_ONCE]):
            self._removals += 1
            self._rounds = 0 if any(node.state in _GOOD for node in nodes) else self._rounds + 1
            if self._renew is not None:
                self._renew()
        return ""

    def start_stderr(self, node_id: str) -> list[str]:
        """The last lines that the start task wrote to stderr; none where they cannot be had."""
        try:
            with service("reading what a start task wrote"):
                chunks = self._client.download_node_file(self._pool_id, node_id, _START_STDERR, **BRIEF)
                text = b"".join(chunks)[-STDERR_BYTES:].decode(errors="replace")
        except ServiceError:  # it is told without
            return []
        return text.splitlines()[-STDERR_LINES:]

    def _remove(self, node_ids: list[str]) -> bool:
        """Whether they were removed; not where Azure Batch takes no change of the pool now."""
        from azure.batch import models

        targets = self._fixed_targets()
        options = models.BatchNodeRemoveOptions(node_ids=node_ids, node_deallocation_option="requeue")
        try:
            with service(f"removing broken nodes of pool {self._pool_id}"):
                self._client.begin_remove_nodes(self._pool_id, options, polling_interval=60)
        except ServiceError as error:
            if error.code not in _BUSY:
                raise
            return False
        self._targets = targets
        return True

    def _fixed_targets(self) -> tuple[int, int] | None:
        """What a fixed pool is to have: removing nodes makes it smaller for good."""
        if self._renew is not None:
            return None
        with service(f"looking at pool {self._pool_id}"):
            pool = self._client.get_pool(self._pool_id, **BRIEF)
        return pool.target_dedicated_nodes or 0, pool.target_low_priority_nodes or 0

    def _give_back(self) -> None:
        from azure.batch import models

        if self._targets is None:
            return
        dedicated, spot = self._targets
        options = models.BatchPoolResizeOptions(target_dedicated_nodes=dedicated, target_low_priority_nodes=spot)
        try:
            with service(f"resizing pool {self._pool_id}"):
                self._client.begin_resize_pool(self._pool_id, options, polling_interval=60)
        except NotFound:
            self._targets = None
        except ServiceError as error:
            if error.code not in _BUSY:
                raise
        else:
            self._targets = None
