"""Small images, and a podman that shows them this machine's Python and Snakemake: nothing large is copied.

The storage driver that works everywhere copies a whole image for each container, so the images are nearly
empty, and what makes them useful (``/usr``, the Python that runs the tests) is mounted read-only.
"""

import json
import os
import shutil
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path

from tests.contract.container_support import Tool, find_tool

#: Folders of the host that hold programs and libraries, where they are no links into ``/usr``.
PROGRAMS = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")

GOOD = "localhost/azurebatch-snakemake:1"
WITHOUT_SNAKEMAKE = "localhost/azurebatch-python:1"
OTHER_SNAKEMAKE = "localhost/azurebatch-old-snakemake:1"
WITHOUT_PYTHON = "localhost/azurebatch-bare:1"

OTHER_VERSION = "8.0.1"

_PODMAN = '''#!{python} -IS
"""podman; what it creates sees some folders of this machine, and may run as another user."""
import json, os, sys
from pathlib import Path

argv, here = sys.argv[1:], Path(__file__).parent
if "create" in argv and (here / "user").exists():
    # What Azure Batch does for the user of a task: the task's folders are its own, the shared one is for all.
    at = argv.index("--user") + 1
    argv[at] = (here / "user").read_text()
    work, number = Path(argv[argv.index("--workdir") + 1]), int(argv[at].partition(":")[0])
    for path in (work.parent, work, *work.rglob("*")):
        os.chown(path, number, number)
    root = next(parent for parent in work.parents if parent.name == "workitems").parent
    for path in (root, *(parent for parent in work.parents if parent.is_relative_to(root))):
        path.chmod(path.stat().st_mode | 0o011)
    (root / "shared").chmod(0o1777)
if "create" in argv:
    at = argv.index("create") + 1
    argv[at:at] = json.loads((here / "mounts.json").read_text())
os.execv({podman!r}, ["podman", *argv])
'''


@dataclass(frozen=True)
class Podman:
    """An engine with the images above. ``command`` is for the service's environment."""

    tool: Tool
    folder: Path  #: of the wrapper

    @property
    def command(self) -> tuple[str, ...]:
        return (str(self.folder / "podman"), *self.tool.command[1:])

    def run_as(self, user: str | None) -> None:
        """The user, ``uid:gid``, of the containers from now on; None: the service's own."""
        if user is None:
            (self.folder / "user").unlink(missing_ok=True)
        else:
            (self.folder / "user").write_text(user)


def make_podman(folder: Path) -> Podman | str:
    """Podman with its images; or the reason why there is none."""
    tool = find_tool("podman", folder)
    if not isinstance(tool, Tool):
        return tool
    archive = _root(folder / "image")
    paths = {
        GOOD: f"{sys.prefix}/bin:/usr/bin:/bin",
        WITHOUT_SNAKEMAKE: "/opt/plain:/usr/bin:/bin",
        OTHER_SNAKEMAKE: "/opt/plain:/usr/bin:/bin",
        WITHOUT_PYTHON: "/opt/none",
    }
    for image, path in paths.items():
        variables = {"PATH": path, "ORIGIN": "the image"}
        if image == OTHER_SNAKEMAKE:
            variables["PYTHONPATH"] = "/opt/other"
        changes = [word for name, value in variables.items() for word in ("--change", f"ENV {name}={value}")]
        tool("import", *changes, str(archive), image)
    wrapper = folder / "wrapper"
    wrapper.mkdir()
    (wrapper / "mounts.json").write_text(json.dumps(_mounts()))
    (wrapper / "podman").write_text(_PODMAN.format(python=sys.executable, podman=shutil.which("podman")))
    (wrapper / "podman").chmod(0o700)
    return Podman(tool, wrapper)


def _root(root: Path) -> Path:
    """An archive with nothing but links into what is mounted, and two Pythons of its own."""
    for name in ("etc", "tmp", "opt/plain", "opt/none", "opt/other/snakemake"):
        (root / name).mkdir(parents=True)
    (root / "tmp").chmod(0o1777)
    (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    for name in PROGRAMS:
        if (link := Path("/", name)).is_symlink():
            (root / name).symlink_to(link.readlink())
    plain = root / "opt/plain/python"
    plain.write_text(f'#!/bin/sh\nexec {os.path.realpath(sys.executable)} "$@"\n')
    plain.chmod(0o755)
    (root / "opt/other/snakemake/__init__.py").write_text(f'__version__ = "{OTHER_VERSION}"\n')
    archive = root.with_suffix(".tar")
    with tarfile.open(archive, "w") as tar:
        tar.add(root, ".")
    return archive


def _mounts() -> list[str]:
    folders = ["/usr", *(f"/{name}" for name in PROGRAMS if Path("/", name).is_dir())]
    folders = [folder for folder in folders if not Path(folder).is_symlink()]
    folders += [prefix for prefix in {sys.prefix, sys.base_prefix} if not Path(prefix).is_relative_to("/usr")]
    return [word for folder in folders for word in ("--volume", f"{folder}:{folder}:ro")]
