"""Looking at other processes in tests."""

import time
from contextlib import suppress
from pathlib import Path

BOUND_S = 60  # a hang, not a speed


def alive(pid):
    """Whether a process runs; a zombie that only its parent has to reap does not."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def wait_until(holds, what):
    give_up = time.monotonic() + BOUND_S
    while not holds():
        assert time.monotonic() < give_up, what
        time.sleep(0.02)


def wait_gone(pid):
    wait_until(lambda: not alive(pid), f"process {pid} still runs")


def processes_with(text):
    """Ids of the processes whose command line holds ``text``."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                if text in (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"):
                    found.append(int(entry.name))
    return found
