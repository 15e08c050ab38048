"""Builds the stager: the ``node`` package as one file that any Python from 3.8 on can run."""

from __future__ import annotations

import hashlib
import io
import zipfile
from importlib import resources

SHEBANG = b"#!/usr/bin/env python3\n"
PACKAGE = "stager"

#: Runs under any Python, also one that cannot read the package: it has to say so. 90 is protocol.EXIT_NO_PYTHON.
#: The first task of a node compiles the package, for its Python, into an archive that the other tasks import from:
#: which Python an image has is not known here, and Python itself keeps nothing of what it compiles out of archives.
#: Nobody but root and the task's own user may have written what is imported. A node that was reset may have lost what
#: was in a file, though its name, size and time are there: each boot has files of its own, and one that cannot be
#: imported is removed.
ENTRY = """\
import os
import sys

if sys.version_info < (3, 8):
    sys.stderr.write(
        "[stage] Python 3.8 or newer is needed, %s is %s\\n" % (sys.executable, sys.version.split()[0])
    )
    sys.exit(90)

DIGEST = "DIGEST"


def compiled(here):
    shared = os.environ.get("AZ_BATCH_NODE_SHARED_DIR")
    if not shared:
        return here
    folder = os.path.join(shared, "smk-cache", "stager")
    boot = boot_id()
    found = os.path.join(folder, "%s-%s-%s.zip" % (DIGEST, sys.implementation.cache_tag, boot))
    try:
        if not os.path.exists(found):
            compile_into(found, folder, here)
            for name in os.listdir(folder):
                if boot not in name:
                    remove(os.path.join(folder, name))
        status = os.stat(found)
        is_ours = status.st_uid in (0, os.geteuid()) and not status.st_mode & 0o022
        return found if is_ours else here
    except OSError:
        return here


def boot_id():
    try:
        with open("/proc/sys/kernel/random/boot_id") as stream:
            return stream.read().strip()
    except OSError:
        return ""


def remove(path):
    try:
        os.unlink(path)
    except OSError:
        pass


def compile_into(found, folder, here):
    import io
    import marshal
    import zipfile
    from importlib.util import MAGIC_NUMBER

    os.makedirs(folder, exist_ok=True)
    made = io.BytesIO()
    with zipfile.ZipFile(here) as sources, zipfile.ZipFile(made, "w") as archive:
        for name in sources.namelist():
            if name.startswith("stager/"):
                code = compile(sources.read(name), name, "exec", dont_inherit=True)
                archive.writestr(name + "c", MAGIC_NUMBER + bytes(12) + marshal.dumps(code))
    part = "%s.%d-%s" % (found, os.getpid(), os.urandom(4).hex())
    try:
        with open(part, "xb") as stream:
            stream.write(made.getvalue())
        os.chmod(part, 0o644)
        os.rename(part, found)
    except OSError:
        remove(part)
        raise


here = sys.path[0]
sys.path[0] = compiled(here)
try:
    from stager.main import main
except Exception:
    if sys.path[0] == here:
        raise
    remove(sys.path[0])
    sys.path[0] = here
    for name in [name for name in sys.modules if name.partition(".")[0] == "stager"]:
        del sys.modules[name]
    from stager.main import main

sys.exit(main(sys.argv[1:]))
"""


def build_stager() -> bytes:
    """The stager as a zip application: the same bytes for the same sources.

    Stored rather than compressed: the bytes then do not depend on the machine's zlib, and a node needs none.
    """
    sources = {
        f"{PACKAGE}/{item.name}": item.read_bytes()
        for item in resources.files("snakemake_executor_azurebatch.node").iterdir()
        if item.name.endswith(".py")
    }
    digest = hashlib.sha256(repr(sorted(sources.items())).encode()).hexdigest()[:40]
    entry = ENTRY.replace('"DIGEST"', f'"{digest}"').encode()
    stream = io.BytesIO()
    stream.write(SHEBANG)
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for name, data in sorted({**sources, "__main__.py": entry}.items()):
            member = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            member.create_system = 3  # Unix, wherever it is built
            member.external_attr = 0o644 << 16
            archive.writestr(member, data)
    return stream.getvalue()


def stager_digest(data: bytes) -> str:
    """The SHA-256 of a built stager, in hexadecimal: its name in blob storage."""
    return hashlib.sha256(data).hexdigest()
