"""The start task's script and files, packed into text that goes along with the pool.

They travel inside of the pool itself: a node may join weeks later, when access to a blob would long have ended.
"""

from __future__ import annotations

import base64
import gzip
import io
import tarfile
from collections.abc import Mapping

#: One environment variable may have 128 KiB on Linux (source: execve(2), MAX_ARG_STRLEN); a request needs room too.
MOST_PACKED = 96 * 1024
SCRIPT = "start.sh"
VARIABLE = "SMK_START_TASK"

COMMAND_LINE = (
    f'/bin/bash -c \'set -e; printf %s "${VARIABLE}" | base64 -d | tar -xzf -; unset {VARIABLE}; '
    f"exec /bin/bash ./{SCRIPT}'"
)


def pack(script: bytes, files: Mapping[str, bytes]) -> str:
    """Text that ``COMMAND_LINE`` unpacks; the same for the same contents."""
    packed = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=packed, mode="wb", mtime=0) as compressed,
        tarfile.open(fileobj=compressed, mode="w", format=tarfile.USTAR_FORMAT) as archive,
    ):
        for name, content in {**dict(sorted(files.items())), SCRIPT: script}.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o755
            archive.addfile(entry, io.BytesIO(content))
    return base64.b64encode(packed.getvalue()).decode()
