"""Names of the blobs in a blob container.

Source: the public documentation of Azure Storage (List Blobs).
"""

from __future__ import annotations

from urllib.parse import quote, unquote
from xml.etree import ElementTree as ET

import aiohttp

from .failures import TaskTrouble, trouble, without_query
from .transfer import STORAGE_HEADERS, Link, exact, reason, with_query

_CODES = {
    401: "ResourceContainerAccessDenied",
    403: "ResourceContainerAccessDenied",
    404: "ResourceContainerNotFound",
    409: "ResourceContainerAccessDenied",  # PublicAccessNotPermitted, for a URL without a SAS
}


async def blob_names(link: Link, container_url: str, prefix: str) -> list[str]:
    """Names of the blobs that start with ``prefix``. Raises TaskTrouble."""
    source = without_query(container_url)
    names: list[str] = []
    marker = ""
    try:
        while True:
            page = await _page(link, container_url, prefix, marker)
            names += [_name(element) for element in page.iterfind("./Blobs/Blob/Name")]
            marker = page.findtext("./NextMarker") or ""
            if not marker:
                return names
    except TimeoutError as error:
        raise trouble("ResourceContainerListTimedOut", ContainerSource=source) from error
    except (aiohttp.ClientError, ET.ParseError, ValueError) as error:
        raise trouble("ResourceContainerListMiscError", ContainerSource=source, Message=reason(error)) from error


async def _page(link: Link, container_url: str, prefix: str, marker: str) -> ET.Element:
    query = f"restype=container&comp=list&prefix={quote(prefix, safe='')}&marker={quote(marker, safe='')}"
    url = exact(with_query(container_url, query))
    async with link.connect().get(url, headers=STORAGE_HEADERS) as response:
        body = await response.read()
        if response.status != 200:
            raise _refusal(response, without_query(container_url))
    return ET.fromstring(body)  # noqa: S314 - the storage account's own answer


def _name(element: ET.Element) -> str:
    """A name that XML cannot hold comes percent-encoded."""
    text = element.text or ""
    return unquote(text) if element.get("Encoded") == "true" else text


def _refusal(response: aiohttp.ClientResponse, source: str) -> TaskTrouble:
    code = _CODES.get(response.status)
    if code is not None:
        return trouble(code, ContainerSource=source)
    return trouble("ResourceContainerListMiscError", ContainerSource=source, Message=f"HTTP {response.status}")
