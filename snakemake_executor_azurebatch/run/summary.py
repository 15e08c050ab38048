"""What a run has done, for its end: jobs, time, nodes, a rough price, bytes, further tries. Texts and sums are pure."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snakemake_executor_azurebatch.amounts import shown_bytes
from snakemake_executor_azurebatch.pools.catalogue import SPOT_PRICE, Catalogue
from snakemake_executor_azurebatch.run.node_time import Kind, node_hours
from snakemake_executor_azurebatch.run.records import Totals
from snakemake_executor_azurebatch.staging.progress import duration

if TYPE_CHECKING:
    from snakemake_executor_azurebatch.run.records import Records
    from snakemake_executor_azurebatch.run.session import Session

#: Node-hours below are told in seconds, prices as being below.
LOW = 0.01


@dataclass(frozen=True, slots=True)
class Part:
    """What a run has done on one pool."""

    pool_id: str
    totals: Totals
    node_s: Mapping[Kind, float]  #: seconds of nodes, at least
    tries: int  #: submitted again, because infrastructure has failed
    sent_bytes: int  #: from here, by all of the run up to then
    records: Path  #: of the tasks


def part_of(session: Session, records: Records, tries: int) -> Part:
    """What was done in this session."""
    in_use, sent_bytes = session.in_use, session.store.uploaded_bytes
    return Part(in_use.pool_id, records.totals, in_use.node_s(), tries, sent_bytes, records.path)


class Tally:
    """Gathers the parts of a run. Usable from any thread."""

    def __init__(self, catalogue: Catalogue, clock: Callable[[], float] = time.monotonic) -> None:
        self._catalogue = catalogue
        self._clock = clock
        self._began_s = self._ended_s = clock()
        self._lock = threading.Lock()
        self._parts: list[Part] = []

    def add(self, part: Part) -> None:
        """The jobs on a pool have ended."""
        with self._lock:
            self._parts.append(part)
            self._ended_s = self._clock()

    def figures(self) -> dict[str, Any]:
        """For programs: sums over the run, and each pool."""
        with self._lock:
            parts, elapsed_s = list(self._parts), self._ended_s - self._began_s
        return {
            "elapsed_s": round(elapsed_s, 3),
            "succeeded": sum(part.totals.succeeded for part in parts),
            "failed": sum(part.totals.failed for part in parts),
            "tries": sum(part.tries for part in parts),
            "requeues": sum(part.totals.requeues for part in parts),
            "sent_bytes": max((part.sent_bytes for part in parts), default=0),
            "returned_bytes": sum(part.totals.returned_bytes for part in parts),
            "pools": [
                {
                    "pool": part.pool_id,
                    "node_hours": node_hours(part.node_s),
                    "price": price_of(part.node_s, self._catalogue),
                }
                for part in parts
            ],
        }

    def text(self) -> str:
        """For the end of the run: some lines, none where nothing has run."""
        with self._lock:
            return "\n".join(lines_of(self._parts, self._ended_s - self._began_s, self._catalogue))


def lines_of(parts: Sequence[Part], elapsed_s: float, catalogue: Catalogue) -> Iterator[str]:
    """The summary, pool by pool where there are several."""
    totals = [part.totals for part in parts]
    if not any(one.jobs for one in totals):
        return
    task_s = sum(one.task_s for one in totals)
    counts = _jobs(sum(one.succeeded for one in totals), sum(one.failed for one in totals))
    ran = f" Tasks ran for {duration(task_s)} in all." if task_s else ""
    yield f"Jobs: {counts} in {duration(elapsed_s)}.{ran}"
    prices = [price_of(part.node_s, catalogue) for part in parts]
    for part, price in zip(parts, prices, strict=True):
        yield from _pool(part, price, is_one_of_many=len(parts) > 1)
    if any(prices):
        yield "Prices are rough: an hour of a dedicated Standard_D4s_v5 counts as 1."
    yield from _moved(totals, max(part.sent_bytes for part in parts))
    yield from _again(sum(part.tries for part in parts), sum(one.requeues for one in totals))
    yield from _peak(totals)
    yield f"What each task used is in {parts[0].records}."


def price_of(node_s: Mapping[Kind, float], catalogue: Catalogue) -> float | None:
    """In hours of a dedicated Standard_D4s_v5, from the catalogue; None where the price of a size is not known."""
    price = 0.0
    for kind, took_s in node_s.items():
        size = catalogue.get(kind.vm_size.lower())
        if size is None or not size.price:
            return None
        price += took_s / 3600 * size.price * (SPOT_PRICE if kind.is_spot else 1)
    return price


def _pool(part: Part, price: float | None, *, is_one_of_many: bool) -> Iterator[str]:
    told = []
    if is_one_of_many and part.totals.jobs:
        told.append(f"jobs: {_jobs(part.totals.succeeded, part.totals.failed)}")
    if part.node_s:
        told.append(f"at least {_node_time(part.node_s)}")
    if price:
        told.append(f"price about {_number(price)}" if price >= LOW else f"price under {LOW}")
    if told:
        yield f"Pool {part.pool_id}: {'; '.join(told)}."


def _node_time(node_s: Mapping[Kind, float]) -> str:
    sizes = {kind.vm_size.lower(): kind.vm_size for kind in node_s if kind.vm_size}
    of_sizes = f" of {', '.join(sizes.values())}" if sizes else ""
    hours = node_hours(node_s)
    return f"{_number(hours)} node-hours{of_sizes}" if hours >= LOW else f"{duration(3600 * hours)}{of_sizes}"


def _moved(totals: Sequence[Totals], sent_bytes: int) -> Iterator[str]:
    returned, downloaded = sum(one.returned_bytes for one in totals), sum(one.downloaded_bytes for one in totals)
    cached, hits = sum(one.cache_bytes for one in totals), sum(one.cache_hits for one in totals)
    found = f" and found {shown_bytes(cached)} ({_times(hits)}) in their caches" if hits else ""
    yield (
        f"Sent {shown_bytes(sent_bytes)}, brought back {shown_bytes(returned)}. "
        f"Nodes downloaded {shown_bytes(downloaded)}{found}."
    )


def _again(tries: int, requeues: int) -> Iterator[str]:
    parts = [
        *([f"submitted again {_times(tries)}, after failures of infrastructure"] if tries else ()),
        *([f"started again by Azure Batch {_times(requeues)}, on other nodes"] if requeues else ()),
    ]
    if parts:
        yield f"Tasks were {'; and '.join(parts)}."


def _peak(totals: Sequence[Totals]) -> Iterator[str]:
    peaks = [(peak, rule) for one in totals for rule, peak in one.peaks_bytes.items()]
    peak, rule = max(peaks, default=(0, ""), key=lambda item: item[0])
    if peak:
        yield f"Most memory: {shown_bytes(peak)}, rule {rule}."


def _jobs(succeeded: int, failed: int) -> str:
    return f"{succeeded} succeeded{f', {failed} failed' if failed else ''}"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _number(value: float) -> str:
    """Three digits of it, and all that stand before the point."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"
