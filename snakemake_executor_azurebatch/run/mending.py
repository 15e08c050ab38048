"""Replaces nodes that run no task any more: unusable ones, and those whose start task has failed.

Such a node cannot be rebooted or reimaged, only removed (source: Azure Batch reference, "Reboot Node": idle and running
nodes only). A leased pool gets another one when its lease is renewed; a fixed one is resized back. Only pools that
this plugin has made are touched. Where the new nodes fail like the old ones, it stops after a few rounds: then
something is wrong with the pool, and the run ends after its patience.

Azure Batch may refuse to remove nodes of a pool that has a formula, as a leased one has; the documentation does not
say. Then broken nodes stay, and the lease asks for as many others, as long as these do not fail, too. The formula is
not taken away for that: a run that is killed just then would leave a pool whose nodes stay, and cost, for ever.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from snakemake_executor_azurebatch.errors import AccessRefused, NotFound, ServiceError, service
from snakemake_executor_azurebatch.run.patience import BRIEF, is_passing

if TYPE_CHECKING:
    from azure.batch import BatchClient

    from snakemake_executor_azurebatch.run.oversee import NodeSight

BROKEN = ("unusable", "starttaskfailed")
_GOOD = ("idle", "running")
#: So often all nodes may be replaced without any good one in between, and so often at all.
MOST_ROUNDS, MOST_REMOVALS = 3, 20
#: Looks in a row at which a change fails while the nodes can be seen: then it is no trouble that passes.
MOST_FAILURES = 10
MOST_AT_ONCE = 100  #: nodes in one request (source: Azure Batch documentation, limits)
#: What of the start task's stderr is shown.
STDERR_BYTES, STDERR_LINES = 4096, 10
_START_STDERR = "startup/stderr.txt"
_BUSY = "PoolBeingResized"


@dataclass(frozen=True, slots=True)
class Mended:
    """What becomes of the nodes that are broken now."""

    fate: str = ""  #: what is done to them, in words; nothing where they stay
    told: str = ""  #: what is to be told besides, if anything


class Mender:
    """To be told of the nodes now and then, from one thread."""

    def __init__(
        self, client: BatchClient, pool_id: str, renew: Callable[[], None] | None, *, is_ours: bool = True
    ) -> None:
        """``renew``: asks for the lease's nodes once more; None: the pool is fixed."""
        self._client = client
        self._pool_id = pool_id
        self._renew = renew
        self._rounds = self._removals = self._failures = 0
        self._is_ours = is_ours
        self._is_refused = False
        self.staying = 0  #: broken nodes in whose place others are to be asked for, since they cannot be removed
        self._targets: tuple[int, int] | None = None  #: of a fixed pool that is to have them again

    @property
    def is_mending(self) -> bool:
        """Whether broken nodes are replaced."""
        has_tries = self._rounds < MOST_ROUNDS and self._removals < MOST_REMOVALS
        return self._is_ours and not self._is_refused and has_tries

    @property
    def owes_nodes(self) -> bool:
        """Whether a fixed pool is still to get nodes in place of those that were removed."""
        return self._targets is not None

    def __call__(self, nodes: Sequence[NodeSight]) -> Mended:
        """Replace what is broken. Raises nothing, whatever the service answers: there is more to be looked at."""
        broken = [node.node_id for node in nodes if node.state in BROKEN]
        is_any_good = any(node.state in _GOOD for node in nodes)
        mended = Mended()
        if self._is_ours and not self._is_refused:
            try:
                mended = self._mend(broken, is_any_good=is_any_good)
                self._failures = 0
            except ServiceError as error:
                mended = self._not_taken(error)
        if self._is_refused and self._renew is not None:
            told = self._stay(len(broken), is_any_good=is_any_good)
            mended = replace(mended, told=mended.told or told)
        return mended

    def _mend(self, broken: list[str], *, is_any_good: bool) -> Mended:
        self._give_back()
        if not broken:
            return Mended()
        if not self.is_mending:
            return Mended(
                told=f"New nodes of pool {self._pool_id} fail as the old ones did: they are not replaced any more."
            )
        self._remove(broken[:MOST_AT_ONCE])
        self._removals += 1
        self._count_round(is_any_good=is_any_good)
        if self._renew is not None:
            self._renew()
        return Mended("replaced")

    def _count_round(self, *, is_any_good: bool) -> None:
        self._rounds = 0 if is_any_good else self._rounds + 1

    def _not_taken(self, error: ServiceError) -> Mended:
        """A change was refused: for now, or for good."""
        if error.code != _BUSY:
            self._failures += 1
            # The nodes were listed a moment ago: what refuses the credentials now is a right that is missing.
            may_pass = isinstance(error, NotFound) or (is_passing(error) and not isinstance(error, AccessRefused))
            self._is_refused = not may_pass or self._failures >= MOST_FAILURES
        if not self._is_refused:
            return Mended("to be replaced" if self.is_mending else "")
        return Mended(told=self._refusal(error))

    def _refusal(self, error: ServiceError) -> str:
        if self._targets is not None:
            self._targets = None
            return (
                f"Broken nodes of pool {self._pool_id} were removed, and no others come in their place: {error}\n"
                "  Resize the pool, or delete it after the run: the next one makes it anew."
            )
        told = f"Broken nodes of pool {self._pool_id} are not replaced: {error}\n  They stay, and "
        if self._renew is None:
            return f"{told}the others do the work. Delete the pool after the run: the next one makes it anew."
        return f"{told}as many others are asked for, up to the most that the pool may have."

    def _stay(self, broken: int, *, is_any_good: bool) -> str:
        """Others are asked for in the place of those that stay; no more of them once they fail in the same way."""
        if broken > self.staying:
            self._count_round(is_any_good=is_any_good)
            if self._rounds > MOST_ROUNDS:
                return f"New nodes of pool {self._pool_id} fail as the old ones did: no more are asked for."
        self.staying = broken
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

    def _remove(self, node_ids: list[str]) -> None:
        from azure.batch import models

        targets = self._fixed_targets()
        options = models.BatchNodeRemoveOptions(node_ids=node_ids, node_deallocation_option="requeue")
        with service(f"removing broken nodes of pool {self._pool_id}"):
            self._client.begin_remove_nodes(self._pool_id, options, polling_interval=60)
        self._targets = targets

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
        with suppress(NotFound), service(f"resizing pool {self._pool_id}"):
            self._client.begin_resize_pool(self._pool_id, options, polling_interval=60)
        self._targets = None
