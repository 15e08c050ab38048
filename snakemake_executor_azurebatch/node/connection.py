"""Connections to one HTTP server, used again and again, directly or through the proxy that the environment names."""

from __future__ import annotations

import base64
import http.client
import os
import threading
import time
from typing import TYPE_CHECKING, Dict, List, Optional, Tuple
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    import ssl

#: A connection that was idle for longer is not used again: what is between here and there may have forgotten it, and
#: then gives no answer at all. source: Azure documentation, "Default outbound access" and "NAT gateway" (4 minutes)
MOST_IDLE_S = 120.0

LOOPBACK = ("127.0.0.1", "localhost", "::1")


def proxy_for(scheme: str, host: str) -> Optional[str]:
    """The URL of the proxy for a host, or None. Loopback addresses are always reached directly."""
    named = any(name.lower().endswith("_proxy") for name in os.environ)
    if not named or host in LOOPBACK or host.startswith("127."):
        return None
    from urllib.request import getproxies, proxy_bypass  # heavy, and seldom needed

    proxy = getproxies().get(scheme)
    if not proxy or proxy_bypass(host):
        return None
    return proxy if "://" in proxy else "http://" + proxy


class Connections:
    """Keeps connections open. Safe to use from several threads: whoever takes one has it alone."""

    def __init__(self, base_url: str, timeout_s: float) -> None:
        parts = urlsplit(base_url)
        self.host = parts.hostname or ""
        self._tls = parts.scheme == "https"
        self._port = parts.port
        self._timeout_s = timeout_s
        proxy = proxy_for(parts.scheme, self.host)
        self._proxy = urlsplit(proxy) if proxy else None
        self._free: List[Tuple[http.client.HTTPConnection, float]] = []  # since when each is idle
        self._open: List[http.client.HTTPConnection] = []
        self._lock = threading.Lock()
        self._trusted: Optional[ssl.SSLContext] = None
        #: what a request target begins with, and headers to send along
        self.target_prefix, self.headers = "", {}  # type: str, Dict[str, str]
        if self._proxy and not self._tls:
            self.target_prefix = "http://%s:%d" % (self.host, self._port or 80)
            self.headers = self._login()

    def take(self) -> Tuple[http.client.HTTPConnection, bool]:
        """A connection, and whether it was used before (the server may have closed it since)."""
        self.drop_idle(MOST_IDLE_S)
        with self._lock:
            if self._free:
                return self._free.pop()[0], True  # the last that was used: others may have been closed by the server
        connection = self._connect()
        with self._lock:
            self._open.append(connection)
        return connection, False

    def give(self, connection: http.client.HTTPConnection) -> None:
        """Leave a connection to whoever takes one next: all of the last answer was read."""
        with self._lock:
            if connection in self._open:
                self._free.append((connection, time.monotonic()))
                return
        connection.close()  # as all were meanwhile

    def drop(self, connection: http.client.HTTPConnection) -> None:
        """Close a connection that cannot be used again."""
        connection.close()
        with self._lock:
            if connection in self._open:
                self._open.remove(connection)

    def drop_idle(self, for_s: float = 0.0) -> None:
        """Close the connections that nobody has used for so long."""
        with self._lock:
            until = time.monotonic() - for_s
            old = [connection for connection, since in self._free if since <= until]
            self._free = [(connection, since) for connection, since in self._free if since > until]
        for connection in old:
            self.drop(connection)

    def close(self) -> None:
        """Close all connections."""
        with self._lock:
            for connection in self._open:
                connection.close()
            self._open.clear()
            self._free.clear()

    def _connect(self) -> http.client.HTTPConnection:
        host, port = self.host, self._port
        if self._proxy is not None:
            host, port = self._proxy.hostname or "", self._proxy.port or 80
        if not self._tls:
            return http.client.HTTPConnection(host, port, timeout=self._timeout_s)
        connection = http.client.HTTPSConnection(host, port, timeout=self._timeout_s, context=self._trust())
        if self._proxy is not None:
            connection.set_tunnel(self.host, self._port, self._login())
        return connection

    def _trust(self) -> ssl.SSLContext:
        """The certificates to trust, read once: that takes longer than many a transfer."""
        with self._lock:
            if self._trusted is None:
                import ssl

                self._trusted = ssl.create_default_context()
            return self._trusted

    def _login(self) -> Dict[str, str]:
        if self._proxy is None or not self._proxy.username:
            return {}
        login = "%s:%s" % (unquote(self._proxy.username), unquote(self._proxy.password or ""))
        return {"Proxy-Authorization": "Basic " + base64.b64encode(login.encode()).decode("ascii")}
