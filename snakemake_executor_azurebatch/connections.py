"""Connections for many small requests: enough of them are kept open, and the environment is looked at once.

As they are, azure-core and requests keep ten connections, close those of further threads after each request, and
look for proxies in all variables of the environment each time (seen with azure-core 1.41, requests 2.34): a fifth
of what a small request costs here.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any
from urllib.request import getproxies

if TYPE_CHECKING:
    from azure.core.pipeline.transport import RequestsTransport

#: At least as many as there are threads that move files.
KEPT_OPEN = 64
#: What is read from a socket at once.
READ_BYTES = 32 << 10
CERTIFICATES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


def many_connections(connect_s: float, read_s: float) -> RequestsTransport:
    """A transport for one client, which closes it. Proxies and certificates of the environment count, if any."""
    from azure.core.pipeline.transport import RequestsTransport
    from requests import Session
    from requests.adapters import HTTPAdapter
    from urllib3.util import Retry

    class Adapter(HTTPAdapter):
        def init_poolmanager(self, *args: Any, **options: Any) -> None:  # noqa: ANN401 (handed on)
            super().init_poolmanager(*args, **{**options, "blocksize": READ_BYTES})

    session = Session()
    session.trust_env = bool(getproxies()) or any(os.environ.get(name) for name in CERTIFICATES)
    never = Retry(total=False, redirect=False, raise_on_status=False)  # azure-core does that itself
    for scheme in ("http://", "https://"):
        session.mount(scheme, Adapter(pool_maxsize=KEPT_OPEN, max_retries=never))
    return RequestsTransport(session=session, connection_timeout=connect_s, read_timeout=read_s)
