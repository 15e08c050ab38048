"""Images made of files of this machine, without a registry: busybox alone, a small Debian, a C compiler.

Nothing of this machine is mounted into them, so what an image lacks is really not there. None has a Python.
"""

import re
import shutil
import subprocess
import tarfile
from pathlib import Path

from tests.contract.container_support import Tool

SMALL = "localhost/azurebatch-busybox:1"
PERL = "localhost/azurebatch-perl:1"
C = "localhost/azurebatch-c:1"

#: All of them are in every Debian, and with what they depend on they are all that is in the image.
DEBIAN = ("perl-base", "dash", "bash", "coreutils", "tar", "gzip")
#: For maintaining a Debian.
NOT_FOLLOWED = ("dpkg", "install-info", "debianutils", "base-files")
#: Of packages, what no program needs to run.
LEFT_OUT = ("/usr/share/doc", "/usr/share/man", "/usr/share/locale", "/usr/share/info", "/etc")
#: Where a Debian of today has links.
MERGED = ("bin", "sbin", "lib", "lib64")

#: Of the compiler: programs that gcc starts, and what it links into a static program.
STEPS = ("cc1", "collect2", "as", "ld")
LINKED = (
    "crt1.o",
    "crti.o",
    "crtbeginT.o",
    "crtend.o",
    "crtn.o",
    "libc.a",
    "libgcc.a",
    "libgcc_eh.a",
    "liblto_plugin.so",
)


def why_not() -> str:
    """Why the images cannot be made here; empty where they can."""
    missing = [name for name in ("busybox", "dpkg-query", "gcc", "perl", "awk") if shutil.which(name) is None]
    if missing:
        return f"not installed: {', '.join(missing)}"
    if not all(Path("/", name).is_symlink() for name in MERGED):
        return "this Debian has /bin, /lib and the like as folders of their own"
    if not Path(_asked("gcc", "-print-file-name=libc.a")).is_absolute():
        return "gcc has no static C library (libc.a)"
    return ""


def make_images(tool: Tool, folder: Path, source: Path) -> None:
    """All three, in the engine's storage. ``source``: the C program that is to be compiled."""
    debian = _files_of(_with_dependencies(DEBIAN))
    compiler = [*_files_of(_with_dependencies(("dash", "coreutils", "tar", "gzip"))), *_compiler(source)]
    busybox = [Path(shutil.which("busybox") or "")]
    applets = {name: "busybox" for name in _asked("busybox", "--list").split() if name != "busybox"}
    for image, archive in (
        (SMALL, _archive(folder / "small", busybox, applets)),
        (PERL, _archive(folder / "perl", debian, {"sh": "dash"})),
        (C, _archive(folder / "c", compiler, {"sh": "dash"})),
    ):
        tool("import", "--change", "ENV PATH=/usr/local/bin:/usr/bin:/bin", str(archive), image)


def _archive(root: Path, files: list[Path], links: dict[str, str]) -> Path:
    """A root file system with these files of this machine, in their places; ``links``: more names of programs."""
    for name in ("usr/bin", "tmp", "etc"):
        (root / name).mkdir(parents=True)
    (root / "tmp").chmod(0o1777)
    (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    for name in MERGED:
        (root / name).symlink_to(Path("/", name).readlink())
    for file in files:
        target = root / file.relative_to("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists() and not target.is_symlink():
            shutil.copy2(file, target, follow_symlinks=False)
    for name, program in links.items():
        (root / "usr/bin" / name).unlink(missing_ok=True)
        (root / "usr/bin" / name).symlink_to(program)
    archive = root.with_suffix(".tar")
    with tarfile.open(archive, "w") as tar:
        tar.add(root, ".")
    return archive


def _with_dependencies(packages: tuple[str, ...]) -> list[str]:
    """Installed packages, and all that they depend on; of alternatives, those that are installed."""
    found: list[str] = []
    waiting = list(packages)
    while waiting:
        name = waiting.pop()
        if name in found or name in NOT_FOLLOWED:
            continue
        form = "--showformat=${db:Status-Status},${Pre-Depends},${Depends}"
        told = subprocess.run(["dpkg-query", "--show", form, name], capture_output=True, text=True, check=False).stdout
        if told.startswith("installed,"):  # an alternative that is not here, or a virtual package, is passed over
            found.append(name)
            waiting += re.findall(r"[,|]\s*([a-z0-9][a-z0-9+.-]*)", told)
    return found


def _files_of(packages: list[str]) -> list[Path]:
    listed = _asked("dpkg-query", "--listfiles", *packages).splitlines()
    paths = (Path(line) for line in listed if line.startswith("/") and not line.startswith(LEFT_OUT))
    places = {path.parent.resolve() / path.name for path in paths}
    return sorted(path for path in places if path.parent != path and (path.is_symlink() or path.is_file()))


def _compiler(source: Path) -> list[Path]:
    """What gcc needs for compiling ``source`` into a static program."""
    gcc = Path(shutil.which("gcc") or "")
    named = [_asked("gcc", f"-print-prog-name={step}") for step in STEPS]
    programs = [gcc, *(Path(shutil.which(name) or name) for name in named)]
    linked = [Path(_asked("gcc", f"-print-file-name={name}")) for name in LINKED]
    libraries = {Path(path) for program in programs for path in re.findall(r"(/\S+) \(0x", _asked("ldd", str(program)))}
    headers = [Path(word) for word in _asked("gcc", "-M", "-O2", str(source)).split() if word.startswith("/usr")]
    return [step for path in (*programs, *linked, *libraries, *headers) for step in _with_links(path)]


def _with_links(path: Path) -> list[Path]:
    """A file, and the links in its own folder that lead to it."""
    steps = [path.parent.resolve() / path.name]
    while steps[-1].is_symlink():
        target = steps[-1].parent / steps[-1].readlink()
        steps.append(target.parent.resolve() / target.name)
    return steps


def _asked(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
