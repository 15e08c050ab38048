"""The shell script of a task whose files Azure Batch moves (pure): ``wrapper.sh`` and what this task is to do.

What it needs of an image: a POSIX ``sh`` with ``cat``, ``chmod``, ``mkdir``, ``mv`` and ``rm``; ``ln`` for links in
folders that are inputs, ``tar`` for folders that have not been taken apart. What it leaves is read by ``left``.
"""

from __future__ import annotations

import hashlib
import posixpath
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import resources

from snakemake_executor_azurebatch.node.protocol import DIRECTORY, Product, Shell
from snakemake_executor_azurebatch.node.rendered import MOST_ARGUMENT_CHARACTERS
from snakemake_executor_azurebatch.rendering import Rendered
from snakemake_executor_azurebatch.staging.opened import Opened

#: Relative to the task's working directory.
HERE = "smk"
SCRIPT = f"{HERE}/run.sh"


@dataclass(frozen=True, slots=True)
class Arrival:
    """An input or source archive that Azure Batch brings to ``arrives`` (relative to the task's working directory)."""

    arrives: str
    path: str  #: where it belongs: relative to the workdir, or absolute
    kind: str
    mode: int = 0o644


@dataclass(frozen=True, slots=True)
class Work:
    """What one task is to do. Outputs and logs are known by their position in these sequences."""

    workdir: str  #: the controller's, absolute
    folder: str  #: where the command starts, relative to it
    same_path: bool  #: in a container of its own: the controller's path may be made there
    rendered: Rendered
    inputs: Sequence[Arrival] = ()
    opened: Sequence[Opened] = ()  #: folders whose files are among the inputs
    sources: str = ""  #: where the archive of the sources arrives
    outputs: Sequence[Product] = ()
    logs: Sequence[Product] = ()
    benchmark: str = ""


def wrapper_script(work: Work) -> str:
    """The whole script."""
    functions = resources.files(__package__).joinpath("wrapper.sh").read_text()
    return "\n".join([functions, *_before(work), *_commands(work), *_after(work)]) + "\n"


def quoted(text: str) -> str:
    """One word of a POSIX shell, whatever is in it."""
    return "'" + text.replace("'", "'\\''") + "'"


def _before(work: Work) -> Iterator[str]:
    place = _Places(work.workdir)
    products = (*work.outputs, *work.logs)
    if work.sources:
        yield f"sources {quoted(work.sources)}"
    yield f"folder {place('.')}"
    given = {*(item.path for item in work.inputs), *(opened.path for opened in work.opened)}
    paths = (*(product.path for product in products), *given)
    computed = next((path for path in paths if place.is_computed(path)), "")
    yield f"meet {quoted(work.workdir)} {'same' if work.same_path else 'tree'} {quoted(computed)}"
    for product in products:
        if product.path not in given:
            verb = "new" if place.is_elsewhere(product.path) else f"clear_{_kind(product)}"
            yield f"{verb} {place(product.path)}"
    # Folders first: a file may belong into one of them.
    for opened in work.opened:
        yield f"folder {place(opened.path)}"
        yield from (f"folder {place(posixpath.join(opened.path, name))}" for name in opened.folders)
    for item in sorted(work.inputs, key=lambda one: one.kind != DIRECTORY):
        if item.kind == DIRECTORY:
            yield f"unpack {quoted(item.arrives)} {place(item.path)}"
        else:
            yield f"place {quoted(item.arrives)} {place(item.path)} {item.mode & 0o777 | 0o600:o}"
    yield from _without_content(work, place)
    folders = [work.folder or ".", *(posixpath.dirname(product.path) or "." for product in products)]
    if work.rendered.tmpdir:
        folders.append(posixpath.join(work.folder, work.rendered.tmpdir))
    yield from (f"folder {place(folder)}" for folder in dict.fromkeys(folders))
    start = posixpath.normpath(posixpath.join(work.workdir, work.folder))
    if place.is_computed(start):
        yield f"enter {quoted(work.workdir)} {quoted(start[len(work.workdir) :])}"
    else:
        yield f"cd {place(work.folder)} || fail setup 94 {quoted('cannot enter ' + start)}"
    yield "surroundings"
    yield from (f"export {name}={quoted(value)}" for name, value in work.rendered.environment.items())


def _without_content(work: Work, place: _Places) -> Iterator[str]:
    """Links and modes of input folders; when all is in them, and from the inside out: one may be write-protected."""
    for opened in work.opened:
        for name, target in opened.links:
            yield f"link {place(posixpath.join(opened.path, name))} {quoted(target)}"
        for name, mode in reversed(opened.modes):
            yield f"mode {place(posixpath.join(opened.path, name))} {mode:o}"


def _commands(work: Work) -> Iterator[str]:
    """The first shell that is in the image runs the command, or all repetitions of it until one fails."""
    shells = work.rendered.shells
    for number, shell in enumerate(shells):
        names = dict.fromkeys((shell.program, posixpath.basename(shell.program)))
        for name in names:
            yield f"{'el' if number or name != shell.program else ''}if has {quoted(name)}; then"
            yield from (_start(name, shell, text) for text in work.rendered.texts)
    yield "else"
    yield f"fail setup 94 {quoted('not in the image: ' + ', '.join(shell.program for shell in shells))}"
    yield "fi"


def _start(program: str, shell: Shell, command: str) -> str:
    text = shell.text(command)
    if len(text.replace("'", r"'\''")) + 2 <= MOST_ARGUMENT_CHARACTERS:
        return "go && " + " ".join(map(quoted_word, ["start", program, *shell.options, text]))
    end = "end-" + hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
    started = " ".join(map(quoted_word, ["start", program, *(o for o in shell.options if o != "-c")]))
    file = f'"$wd/{HERE}/command.sh"'
    return f"go && cat >{file} <<'{end}' && {started} {file}\n{text}\n{end}"


def quoted_word(word: str) -> str:
    """Quoted where it has to be."""
    return word if re.fullmatch(r"[A-Za-z0-9_/.-]+", word) else quoted(word)


def _after(work: Work) -> Iterator[str]:
    place = _Places(work.workdir)
    yield 'cd "$wd"'
    for number, product in enumerate(work.logs):
        yield f"make_file {place(product.path)}; store_log {number} {place(product.path)}"
    yield "ended"
    yield '[ "$code" -eq 0 ] || exit "$code"'
    for product in work.outputs:
        if product.touch:
            yield f"make_{_kind(product)} {place(product.path)}"
    if work.benchmark:
        form = "jsonl" if work.benchmark.endswith(".jsonl") else "tsv"
        yield f"benchmark_{form} >{place(work.benchmark)} || fail setup 94 {quoted(work.benchmark + ': not written')}"
    numbered = list(enumerate(work.outputs))
    for number, product in numbered:
        need = "optional" if product.optional else "required"
        yield f"check {number} {place(product.path)} {_kind(product)} {need}"
    yield '[ -z "$missing" ] || exit 92'
    # Links and folders first: a file may be behind the one or in the other, and is moved away when it is stored.
    files = [one for one in numbered if one[1].kind != DIRECTORY]
    folders = [one for one in numbered if one[1].kind == DIRECTORY]
    for verb, these in (("link", files), ("directory", folders), ("file", files)):
        yield from (f"store_{verb} {number} {place(product.path)}" for number, product in these)
    yield "tell stored"


class _Places:
    """Paths as words of the script: in the tree, or for absolute ones outside of the workdir as they are."""

    def __init__(self, workdir: str) -> None:
        self._workdir = workdir

    def __call__(self, path: str) -> str:
        if self.is_elsewhere(path):
            return quoted(posixpath.normpath(path))
        return '"$tree"' + quoted(posixpath.normpath(posixpath.join(self._workdir, path)))

    def is_elsewhere(self, path: str) -> bool:
        """Whether it is an absolute path outside of the workdir."""
        return posixpath.isabs(path) and not self._is_below(path)

    def is_computed(self, path: str) -> bool:
        """Whether it is an absolute path in the workdir: the command knows it by this name."""
        return posixpath.isabs(path) and self._is_below(path)

    def _is_below(self, path: str) -> bool:
        normal = posixpath.normpath(path)
        return normal == self._workdir or normal.startswith(self._workdir.rstrip("/") + "/")


def _kind(product: Product) -> str:
    return "directory" if product.kind == DIRECTORY else "file"
