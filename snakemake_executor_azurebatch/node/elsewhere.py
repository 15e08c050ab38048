"""Blob containers besides the workdir's: where files of a storage provider are, each with a SAS of its own."""

from __future__ import annotations

import threading
from typing import Dict, Optional, Tuple
from urllib.parse import urlsplit

from .blob import Container
from .connection import Connections
from .limits import RetryPolicy


class Elsewhere:
    """Gives containers for URLs. All on one server share its connections. Safe to use from several threads."""

    def __init__(self, stopping: Optional[threading.Event] = None, retry: Optional[RetryPolicy] = None) -> None:
        self._stopping = stopping
        self._retry = retry or RetryPolicy()
        self._patience_s = 0.0
        self._connections: Dict[Tuple[str, str], Connections] = {}
        self._containers: Dict[str, Container] = {}
        self._lock = threading.Lock()

    def container(self, url: str) -> Container:
        """The blob container at a URL with a SAS. Raises StageError for a URL that is not usable."""
        with self._lock:
            if url not in self._containers:
                parts = urlsplit(url)
                server = (parts.scheme, parts.netloc)
                container = Container(url, self._retry, self._stopping, self._connections.get(server))
                container.persist(self._patience_s)
                self._connections.setdefault(server, container.connections)
                self._containers[url] = container
            return self._containers[url]

    def persist(self, patience_s: float) -> None:
        """Do as ``Container.persist`` does, for each of them."""
        with self._lock:
            self._patience_s = patience_s
            for container in self._containers.values():
                container.persist(patience_s)

    def redact(self, text: str) -> str:
        """The text without any SAS of these containers."""
        with self._lock:
            for container in self._containers.values():
                text = container.redact(text)
        return text

    def close(self) -> None:
        """Close every connection."""
        with self._lock:
            for connections in self._connections.values():
                connections.close()
