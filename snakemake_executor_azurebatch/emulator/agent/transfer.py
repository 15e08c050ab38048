"""HTTP between a node and blob storage: one session per node, streamed, never retried by the agent."""

from __future__ import annotations

import errno
import os
from typing import Literal, get_args
from urllib.parse import quote, urlsplit, urlunsplit

import aiohttp
from yarl import URL

#: Read and written at a time.
CHUNK_BYTES = 1024 * 1024

#: Understood by Azure Storage and by Azurite; a SAS is checked by the rules of its own version.
_STORAGE_VERSION = "2021-12-02"
STORAGE_HEADERS = {"x-ms-version": _STORAGE_VERSION}

_CONNECT_S = 30.0
SILENCE_S = 120.0

#: Troubles of a node that can be provoked.
NodeFault = Literal["disk_full", "blob_unreachable"]
NODE_FAULTS: tuple[str, ...] = get_args(NodeFault)


class Link:
    """A node's way between blob storage and its disk. Gives up on silence, not on size.

    ``fault`` breaks it on purpose: what follows is what a full disk or an unreachable storage account would
    cause, from the lowest call up.
    """

    def __init__(self, silence_s: float = SILENCE_S) -> None:
        self.fault: str | None = None
        self._silence_s = silence_s
        self._session: aiohttp.ClientSession | None = None

    def connect(self) -> aiohttp.ClientSession:
        """The session. Raises TimeoutError while the fault blob_unreachable is set."""
        if self.fault == "blob_unreachable":
            raise TimeoutError
        if self._session is None:
            limits = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_S, sock_read=self._silence_s)
            self._session = aiohttp.ClientSession(timeout=limits, auto_decompress=False)  # bytes as they come
        return self._session

    def write(self, descriptor: int, data: bytes) -> None:
        """Write all of ``data``. Raises OSError; while the fault disk_full is set, the one for a full disk."""
        if self.fault == "disk_full":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]

    async def close(self) -> None:
        """End its connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None


def exact(url: str) -> URL:
    """The URL byte for byte: encoding it again would break the signature in its query."""
    return URL(url, encoded=True)


def below(url: str, name: str) -> str:
    """The URL of a blob in a blob container (or of a container in an account), with the query (SAS) of ``url``."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/{quote(name, safe='/')}"))


def with_query(url: str, query: str) -> str:
    """The URL with ``query`` in front of what it has already."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(query=f"{query}&{parts.query}" if parts.query else query))


def reason(error: Exception) -> str:
    """Why a request failed, without its URL: aiohttp's own texts can hold the whole of it."""
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"{type(error).__name__}: {os.strerror(error.os_error.errno or 0)}"
    return type(error).__name__
