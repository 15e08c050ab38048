"""What git tracks, in place of Snakemake's own question for it.

That one ends the run where git is not installed or speaks another language than English, and knows no names beyond
ASCII, which git quotes (seen with snakemake 9.27.1, ``DAG.get_sources``).
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace

COMMAND = ("git", "ls-files", "-z", "--recurse-submodules", ".")


def tracked(say: Callable[[str], None]) -> set[str]:
    """The files that git tracks here and below, relative to the current folder; none outside of a repository.

    Why git cannot tell is said, and the sources are without them: most workflows name all that their jobs need.
    """
    try:
        asked = subprocess.run(COMMAND, env={**os.environ, "LC_ALL": "C"}, capture_output=True, check=False)
    except OSError as error:
        say(f"What git tracks does not go to the nodes: git cannot be started ({error.strerror}).")
        return set()
    if asked.returncode:
        reason = asked.stderr.decode(errors="replace").strip()
        if "not a git repository" not in reason:
            say(f"What git tracks does not go to the nodes: {reason}")
        return set()
    return {os.fsdecode(name) for name in asked.stdout.split(b"\0") if name}


@contextmanager
def unasked() -> Iterator[None]:
    """Have Snakemake believe that git tracks nothing."""
    from snakemake import dag

    real = dag.subprocess
    dag.subprocess = SimpleNamespace(**{**vars(real), "check_output": lambda *_, **__: b""})
    try:
        yield
    finally:
        dag.subprocess = real
