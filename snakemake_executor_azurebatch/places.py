"""Where outputs, logs and benchmarks may lie on the machine of the user."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

#: Folders that are the system's: nothing of a workflow belongs there, and in a container they are the image's own.
SYSTEM = tuple(
    Path("/", name)
    for name in ("bin", "boot", "dev", "etc", "lib", "lib32", "lib64", "libx32", "proc", "run", "sbin", "sys", "usr")
)


@dataclass(frozen=True, slots=True)
class Places:
    """What may be written to by jobs that start in ``start_folder``."""

    start_folder: Path
    why_confined: str = ""  #: why nothing outside of the start folder can be; empty: any place can

    def problem(self, path: str) -> str:
        """What is wrong with a product at ``path``, in words that follow its name; empty where nothing is.

        ``path`` is absolute, or relative to the start folder.
        """
        place = Path(os.path.normpath(self.start_folder / path))
        if self.why_confined:
            return self._confined(path, place)
        if place.is_relative_to(self.start_folder):
            return ""
        return _outside_problem(place)

    def _confined(self, path: str, place: Path) -> str:
        if Path(path).is_absolute():
            way = "is an absolute path. Outputs and logs have to be given relative to the working directory"
        elif not place.is_relative_to(self.start_folder):
            way = f"lies outside the working directory {self.start_folder}. Outputs and logs have to be inside it"
        else:
            return ""
        return f"{way}: {self.why_confined}."


def _outside_problem(place: Path) -> str:
    parent = _nearest(place.parent)
    for seen in (place, parent.resolve()):
        system = next((folder for folder in SYSTEM if seen.is_relative_to(folder)), None)
        if system is not None:
            return f"lies in {system}, which is the system's. Outputs and logs cannot be there."
    if not parent.is_dir():
        return f"cannot be made: {parent} is no folder."
    if not os.access(parent, os.W_OK | os.X_OK):
        return f"cannot be made: you may not write to {parent}."
    return ""


def _nearest(folder: Path) -> Path:
    """The folder itself, or the first above it that is there."""
    while not os.path.lexists(folder):
        folder = folder.parent
    return folder
