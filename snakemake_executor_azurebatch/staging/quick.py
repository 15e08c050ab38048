"""Small blobs by plain requests, with the access that tasks have: a sixth of what the Azure SDK takes for each.

Several are asked for at once by one thread, over as many connections: for each wait of a thread of its own, the
interpreter would be handed from one to the other.

A run moves a manifest, a commit record and perhaps some small outputs for every job. What does not work at the first
try is left to the SDK, which knows how to wait, and tells what is wrong in its own words.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping

from snakemake_executor_azurebatch.node.blob import Asked, BlobError, Container
from snakemake_executor_azurebatch.node.errors import StageError
from snakemake_executor_azurebatch.node.limits import RetryPolicy

#: Up to here a blob is small: it is held in memory.
SMALL_BYTES = 1 << 20
#: After a failure the SDK is asked at once for so long.
PAUSE_S = 60.0
AGENT = "snakemake-executor-plugin-azurebatch"

#: What is asked for at once by one thread.
CONNECTIONS = 16
#: Access is renewed now and then. What is older than the last URLs to read and to write has nothing under way.
MOST_URLS = 4

_ONE_TRY = RetryPolicy(attempts=1, policy_grace_s=0.0)


class Quick:
    """``urls`` gives the URLs to read and to write, with their SAS, as they are now. Usable from any thread."""

    def __init__(self, urls: Callable[[], tuple[str, str]], stopping: threading.Event) -> None:
        self._urls = urls
        self._stopping = stopping
        self._lock = threading.Lock()
        self._known: dict[str, Container] = {}
        self._not_before_s = 0.0

    def get(self, blob: str) -> bytes | None:
        """The content, checked against its MD5; None where the SDK is to be asked."""
        return self._attempt(lambda: self._at(0).get(blob))

    def get_all(self, blobs: Iterable[str]) -> dict[str, bytes]:
        """The contents of these blobs, as ``get`` has them; the SDK is to be asked for those that are missing."""
        found: dict[str, bytes] = {}
        if self._rests():
            return found
        container = self._at(0)
        asked: deque[tuple[str, Asked]] = deque()

        def take_one() -> None:
            blob, one = asked.popleft()
            if (content := self._attempt(one.take)) is not None:
                found[blob] = content
            one.drop()  # where nothing is tried any more: what is asked by now has no good answer either

        for blob in blobs:
            if len(asked) == CONNECTIONS:
                take_one()
            if self._rests():
                break
            asked.append((blob, container.ask(blob)))
        while asked:
            take_one()
        return found

    def put(self, blob: str, data: bytes, metadata: Mapping[str, str]) -> bool:
        """Store a blob, whether there is one already or not; False where the SDK is to be asked."""
        headers = {f"x-ms-meta-{name}": value for name, value in metadata.items()}

        def put() -> bytes:
            self._at(1).put(blob, data, headers=headers)
            return b"done"

        return self._attempt(put) is not None

    def close(self) -> None:
        """Close every connection; the SDK is asked from now on."""
        self._not_before_s = float("inf")
        with self._lock:
            for container in self._known.values():
                container.close()

    def _rests(self) -> bool:
        return time.monotonic() < self._not_before_s

    def _attempt(self, step: Callable[[], bytes]) -> bytes | None:
        if self._rests():
            return None
        try:
            return step()
        except StageError as error:
            if not (isinstance(error, BlobError) and error.status == 404):
                self._not_before_s = max(self._not_before_s, time.monotonic() + PAUSE_S)
            return None

    def _at(self, number: int) -> Container:
        url = self._urls()[number]
        with self._lock:
            container = self._known.get(url)
            if container is None:
                container = self._known[url] = Container(url, _ONE_TRY, self._stopping)
                container.connections.headers["User-Agent"] = AGENT
                while len(self._known) > MOST_URLS:
                    self._known.pop(next(iter(self._known))).close()
            return container
