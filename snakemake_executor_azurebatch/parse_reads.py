"""Files that a Snakefile reads while it is parsed: a node that parses it again needs them too.

Snakemake knows of included Snakefiles, configuration, scripts and what git tracks (source: snakemake 9.27.1,
``DAG.get_sources``). Sample sheets, schemas and modules of the workflow are opened by the Snakefile's own code; Python
tells an audit hook of each (source: Python documentation, "Audit events table"). Files that a library opens without
Python (databases, HDF5) are not seen, and files that only input functions and the like read are not needed: what they
return is handed to the node.
"""

import os
import sys
from collections.abc import Iterable
from importlib.util import source_from_cache
from pathlib import Path
from types import FrameType

#: Larger ones are data, and not shipped with every change of a workflow.
MAX_FILE_BYTES = 10 << 20

_WRITING = os.O_WRONLY | os.O_RDWR
_PARSING = ("include", os.path.join("snakemake", "workflow.py"))  # noqa: PTH118 (the end of a file name, as text)


class ParseReads:
    """What was read while Snakemake included Snakefiles. Audit hooks stay for ever, so there is one of these."""

    def __init__(self) -> None:
        self._found: set[str] = set()
        self._hooked = self._listening = False

    def listen(self) -> None:
        """Begin anew. Called when the executor's settings are made, which is before the Snakefile is read."""
        self._found.clear()
        self._listening = True
        if not self._hooked:
            self._hooked = True
            sys.addaudithook(self._hear)

    def stop(self) -> None:
        """Listen no more; what was found stays."""
        self._listening = False

    def below(self, folders: Iterable[Path]) -> set[Path]:
        """The files found that lie below one of the absolute ``folders``, without Snakemake's and git's own."""
        places = [folder.resolve() for folder in folders]
        files = {Path(_source_of(name)) for name in self._found}
        return {file for file in files if any(_is_source(file, place) for place in places)}

    def _hear(self, event: str, arguments: tuple[object, ...]) -> None:
        if not self._listening or event != "open":
            return
        name, _, flags = arguments
        if isinstance(name, str | os.PathLike) and isinstance(flags, int) and not flags & _WRITING and _is_parsing():
            self._found.add(os.path.abspath(name))  # noqa: PTH100 (Path.absolute keeps "..")


#: Of this process.
PARSE_READS = ParseReads()


def _is_parsing() -> bool:
    """Whether a Snakefile is being included: the DAG reads files as well, as data."""
    frame: FrameType | None = sys._getframe(2)  # noqa: SLF001 (documented; walking a traceback opens files itself)
    while frame is not None:
        if frame.f_code.co_name == _PARSING[0] and frame.f_code.co_filename.endswith(_PARSING[1]):
            return True
        frame = frame.f_back
    return False


def _source_of(name: str) -> str:
    """The module whose compiled form was read instead of it."""
    try:
        return source_from_cache(name) if name.endswith(".pyc") else name
    except ValueError:
        return name


def _is_source(file: Path, folder: Path) -> bool:
    try:
        inside = file.resolve().relative_to(folder)
        return (
            not {".snakemake", ".git", "__pycache__"} & set(inside.parts)
            and not file.is_relative_to(sys.prefix)
            and file.is_file()
            and file.stat().st_size <= MAX_FILE_BYTES
        )
    except (OSError, ValueError):
        return False
