"""Connections to one HTTP server, one for each thread, directly or through the proxy that the environment names."""

from __future__ import annotations

import base64
import http.client
import os
import threading
from typing import Dict, List, Optional, Tuple
from urllib.parse import unquote, urlsplit

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
    """Keeps one connection open in each thread that asks."""

    def __init__(self, base_url: str, timeout_s: float) -> None:
        parts = urlsplit(base_url)
        self.host = parts.hostname or ""
        self._tls = parts.scheme == "https"
        self._port = parts.port
        self._timeout_s = timeout_s
        proxy = proxy_for(parts.scheme, self.host)
        self._proxy = urlsplit(proxy) if proxy else None
        self._local = threading.local()
        self._open: List[http.client.HTTPConnection] = []
        self._lock = threading.Lock()
        #: what a request target begins with, and headers to send along
        self.target_prefix, self.headers = "", {}  # type: str, Dict[str, str]
        if self._proxy and not self._tls:
            self.target_prefix = "http://%s:%d" % (self.host, self._port or 80)
            self.headers = self._login()

    def take(self) -> Tuple[http.client.HTTPConnection, bool]:
        """This thread's connection, and whether it was used before (the server may have closed it since)."""
        known: Optional[http.client.HTTPConnection] = getattr(self._local, "connection", None)
        if known is not None:
            return known, True
        connection = self._connect()
        self._local.connection = connection
        with self._lock:
            self._open.append(connection)
        return connection, False

    def drop(self, connection: http.client.HTTPConnection) -> None:
        """Close a connection that cannot be used again."""
        connection.close()
        self._local.connection = None
        with self._lock:
            if connection in self._open:
                self._open.remove(connection)

    def close(self) -> None:
        """Close the connections of all threads."""
        with self._lock:
            for connection in self._open:
                connection.close()
            self._open.clear()
            self._local = threading.local()

    def _connect(self) -> http.client.HTTPConnection:
        kind = http.client.HTTPSConnection if self._tls else http.client.HTTPConnection
        if self._proxy is None:
            return kind(self.host, self._port, timeout=self._timeout_s)
        connection = kind(self._proxy.hostname or "", self._proxy.port or 80, timeout=self._timeout_s)
        if self._tls:
            connection.set_tunnel(self.host, self._port, self._login())
        return connection

    def _login(self) -> Dict[str, str]:
        if self._proxy is None or not self._proxy.username:
            return {}
        login = "%s:%s" % (unquote(self._proxy.username), unquote(self._proxy.password or ""))
        return {"Proxy-Authorization": "Basic " + base64.b64encode(login.encode()).decode("ascii")}
