"""MD5 sums, for finding damage, which is no question of security."""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING, Union

from .limits import CHUNK_BYTES

if TYPE_CHECKING:
    from hashlib import _Hash  # has no public name


def new_md5() -> _Hash:
    """An empty sum. Works with FIPS builds of Python, too."""
    try:
        return hashlib.md5(usedforsecurity=False)
    except TypeError:  # Python 3.8
        return hashlib.md5()  # noqa: S324  usedforsecurity came with Python 3.9


def digest(data: Union[bytes, memoryview]) -> bytes:
    """The sum of some bytes."""
    md5 = new_md5()
    md5.update(data)
    return md5.digest()


def file_md5(path: str) -> str:
    """The sum of a file, in hexadecimal. Raises OSError."""
    md5 = new_md5()
    with open(path, "rb") as stream:
        for chunk in iter(lambda: stream.read(CHUNK_BYTES), b""):
            md5.update(chunk)
    return md5.hexdigest()


def base64_of(raw: bytes) -> str:
    """As Azure Storage's headers want it."""
    return base64.b64encode(raw).decode("ascii")
