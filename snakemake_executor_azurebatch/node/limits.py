"""Sizes, counts and times of the stager, in one place, so that tests can lower them.

Records of the stager are named tuples where they can be: making the class takes a fifth of the time of a frozen
dataclass, and every task makes them anew.
"""

from __future__ import annotations

from typing import NamedTuple

MIB = 1 << 20

#: Most blocks of one blob, and most bytes of one block.
#: source: Azure Storage documentation, "Scalability and performance targets for Blob storage".
MOST_BLOCKS = 50_000
MOST_BLOCK_BYTES = 4_000 * MIB

#: Inputs get this modification time (2001-01-01, UTC): the same for all, and outputs are newer. As no write can
#: lead to it by chance, a file of the node cache that has it is as it was stored.
STAGED_NS = 978_307_200 * 10**9

#: A smaller file of the node cache is copied rather than linked: that costs next to nothing.
LINK_BYTES = MIB

#: What the node cache leaves free of its file system, unless the manifest says otherwise: the larger of both.
LEAST_FREE_BYTES = 2 << 30
LEAST_FREE_SHARE = 0.1

#: How much is read from or written to a file or socket at once.
CHUNK_BYTES = MIB


#: A file up to this size may go into a pack, where there are at least so many of them; see ``packing``.
SMALL_BYTES = 256 << 10
MANY = 16


class Limits(NamedTuple):
    """How files are cut for transfer. Memory for transfers stays near ``workers * block_bytes``."""

    workers: int = 8  #: transfers at the same time
    range_threshold_bytes: int = 64 * MIB  #: a larger blob is downloaded by parallel ranges
    range_bytes: int = 16 * MIB
    block_bytes: int = 8 * MIB  #: a larger file is uploaded as blocks of at least this size
    buffer_bytes: int = 64 * MIB  #: blocks on their way, together
    small_bytes: int = SMALL_BYTES  #: files up to this size are stored together ...
    many: int = MANY  #: ... where there are at least so many
    stream_bytes: int = 4 * MIB  #: the last so many of stdout.txt and stderr.txt are kept
    patience_s: float = 1800.0  #: what the command has left is worth waiting for storage that does not answer
    record_bytes: int = 4 << 10  #: as much content of outputs, and of logs, is in the commit record too


class RetryPolicy(NamedTuple):
    """How often and how patiently a request is repeated."""

    attempts: int = 8
    first_wait_s: float = 0.5
    longest_wait_s: float = 30.0
    longest_retry_after_s: float = 120.0  #: a longer Retry-After is cut to this
    timeout_s: float = 60.0  #: of one socket operation
    #: A SAS bound to a stored access policy may be refused (403) for up to 30 s after the policy changed.
    #: source: Azure Storage documentation, "Define a stored access policy".
    policy_grace_s: float = 35.0
