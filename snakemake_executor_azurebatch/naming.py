"""Ids of Batch jobs, tasks and pools, names of blob containers: limits, cleaning, hashing (pure).

Batch ids are 1 to 64 letters, digits, ``-`` and ``_``, compared without case. Blob containers have 3 to 63
lower-case letters, digits and single dashes. Source: the reference of both services.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping

MAX_BATCH_ID = 64


def short_hash(*parts: str, length: int = 10) -> str:
    """A hash of ``parts`` in lower-case hexadecimal; no two lists of parts are joined to the same text."""
    joined = "\0".join(f"{len(part)}:{part}" for part in parts)
    return hashlib.sha256(joined.encode()).hexdigest()[:length]


def batch_id(readable: str, *identity: str) -> str:
    """An id of Azure Batch: ``readable`` cleaned and shortened, then a hash of it and ``identity``."""
    digest = short_hash(readable, *identity)
    clean = re.sub(r"[^A-Za-z0-9_-]+", "-", readable).strip("-") or "x"
    return f"{clean[: MAX_BATCH_ID - len(digest) - 1]}-{digest}"


def task_id(rule: str, wildcards: Mapping[str, str], fingerprint: str, attempt: int, generation: int = 0) -> str:
    """The id of a task: the rule's name and the values of its wildcards first, so that a listing can be read.

    The same work has the same id, whoever asks for it; but for groups that Snakemake names anew in each process, whose
    ids the ledger keeps. ``generation`` tells a task apart from earlier ones of the
    same work that have come to their end.
    """
    readable = "-".join([rule, *(str(value) for _, value in sorted(wildcards.items()))])
    return batch_id(readable, fingerprint, str(attempt), str(generation))


def container_name(workdir: str) -> str:
    """The blob container of a workdir: ``smk-``, the folder's name, a hash of its whole path."""
    folder = workdir.rstrip("/").rpartition("/")[2].lower()
    clean = re.sub(r"[^a-z0-9]+", "-", folder).strip("-")[:40].strip("-")
    return "-".join(part for part in ("smk", clean, short_hash(workdir)) if part)
