"""Moves one file between the disk and blob storage, in a process of its own, and prints by how much its memory grew.

python measure.py {controller,stager} {upload,download} URL FILE SIZE_BYTES MD5
"""

from __future__ import annotations

import sys
import threading
from pathlib import Path

from snakemake_executor_azurebatch import clients
from snakemake_executor_azurebatch.node import blob, download, limits, upload
from snakemake_executor_azurebatch.node.protocol import StoredFile
from snakemake_executor_azurebatch.options import Storage
from snakemake_executor_azurebatch.staging.store import BlobStore

#: Of Azurite, and known to all; the server of this test looks at no signature.
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


def memory_bytes(field: str) -> int:
    """VmRSS: what this process takes now; VmHWM: the most that it took. source: proc(5)"""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) * 1024


def by_controller(way: str, url: str, file: Path, stored: StoredFile) -> None:
    with clients.blob_service(Storage(url, "account", KEY)) as service:
        store = BlobStore(service.get_container_client("c"))
        if way == "upload":
            found = store.upload_file(file, "large")
            assert (found.size_bytes, found.md5) == (stored.size_bytes, stored.md5)
        else:
            store.download(stored, file)
        store.close()


def by_stager(way: str, url: str, file: Path, stored: StoredFile) -> None:
    store = blob.Container(f"{url}/c?sig=x", stopping=threading.Event())
    if way == "upload":
        done = upload.upload_file(store, str(file), "large", limits.Limits())
        assert (done.size_bytes, done.md5) == (stored.size_bytes, stored.md5)
    else:
        wanted = download.Wanted("large", "large", stored.size_bytes, stored.md5)
        download.download(store, wanted, str(file), limits.Limits())
    store.close()


def main() -> None:
    who, way, url, file, size_bytes, md5 = sys.argv[1:]
    import azure.storage.blob  # noqa: F401  what is loaded is no matter of the file's size

    stored = StoredFile("large", "large", int(size_bytes), md5)
    Path("/proc/self/clear_refs").write_text("5")  # forget the most so far
    before_bytes = memory_bytes("VmRSS")
    (by_controller if who == "controller" else by_stager)(way, url, Path(file), stored)
    print(memory_bytes("VmHWM") - before_bytes)


if __name__ == "__main__":
    main()
