"""Brings everything to its place before the command runs: sources, inputs, folders."""

from __future__ import annotations

import os
from typing import IO, Callable, List, NamedTuple

from .download import Wanted, remove_quietly
from .errors import NoSpace, StageError, why
from .fetch import Fetch, Once, Place
from .limits import STAGED_NS, Limits
from .parallel import each
from .placer import Placer
from .placing import place_at
from .protocol import DIRECTORY, InputFile, Manifest
from .report import amount, say
from .tree import Changed, copy_tree, keep_tree, tree_of
from .workspace import Workspace, remove_tree


class Stage(NamedTuple):
    """What moving files needs."""

    fetch: Fetch
    workspace: Workspace
    limits: Limits


def stage_in(stage: Stage, manifest: Manifest) -> None:
    """Place sources, then folders, then files. Raises StageError naming the file, OSError for the disk."""
    if manifest.sources is not None:
        sources = manifest.sources
        wanted = Wanted("sources", sources.blob, sources.size_bytes, sources.md5)
        _with_room(stage, wanted, lambda: _unpack(stage, wanted, stage.workspace.sources_root, once=True))
    for folder in _folders_needed(manifest):
        stage.workspace.make_folder(stage.workspace.locate(folder))
    for item in manifest.inputs:
        if item.kind == DIRECTORY:
            _place_folder(stage, item)
    files = [item for item in manifest.inputs if item.kind != DIRECTORY and item.offset is None]
    files += _place_packed(stage, [item for item in manifest.inputs if item.offset is not None])
    small = [item for item in files if item.size_bytes <= stage.limits.range_threshold_bytes]
    each(lambda item: _place_file(stage, item), small, stage.limits.workers)
    for item in files:
        if item.size_bytes > stage.limits.range_threshold_bytes:  # each is many transfers already
            _place_file(stage, item)


def staged_bytes(manifest: Manifest) -> int:
    """How much the manifest wants staged in."""
    sources = manifest.sources.size_bytes if manifest.sources else 0
    return sources + sum(item.size_bytes for item in manifest.inputs)


def _folders_needed(manifest: Manifest) -> List[str]:
    products = [*manifest.outputs, *manifest.logs]
    parents = [os.path.dirname(product.path) for product in products]
    return [*manifest.directories, *dict.fromkeys(parent for parent in parents if parent)]


def _place_file(stage: Stage, item: InputFile) -> None:
    where = (item.container_url, item.etag, item.offset, item.pack_bytes)
    wanted = Wanted(item.path, item.blob, item.size_bytes, item.md5, *where)

    def put(temporary: str, target: str, own: bool) -> bool:
        return stage.fetch.to_file(wanted, Place(temporary, target, item.mode, own))

    _with_room(stage, wanted, lambda: place_at(stage.workspace, item, put))


def _with_room(stage: Stage, wanted: Wanted, place: Callable[[], None]) -> None:
    """Place something; where the disk is full, once more when the node cache has given what it can."""
    try:
        place()
    except NoSpace:
        free_bytes = stage.fetch.free_bytes(stage.workspace.task_dir)
        try:
            place()
        except NoSpace as error:
            sizes = (amount(wanted.size_bytes), amount(free_bytes))
            raise NoSpace("%s (%s has %s, %s were free)" % (error, wanted.path, *sizes)) from error


def _place_packed(stage: Stage, items: List[InputFile]) -> List[InputFile]:
    """One pack is one piece of work, however many files are in it. What is better fetched alone is returned."""
    if not items:
        return []
    from .packs_in import by_pack, is_wanted_whole, place_pack, whole  # most tasks need none

    def place(some: List[InputFile]) -> None:
        _with_room(stage, whole(some), lambda: place_pack(stage.fetch, stage.workspace, some))

    packs = by_pack(items)
    alone = [some for some in packs if stage.fetch.has_cache and not is_wanted_whole(some)]
    each(place, [some for some in packs if some not in alone], stage.limits.workers)
    return [item for some in alone for item in some]


def _place_folder(stage: Stage, item: InputFile) -> None:
    target = stage.workspace.locate(item.path)
    stage.workspace.make_folder(target)
    wanted = Wanted(item.path, item.blob, item.size_bytes, item.md5)
    _with_room(stage, wanted, lambda: _unpack(stage, wanted, target))


def _unpack(stage: Stage, wanted: Wanted, root: str, once: bool = False) -> None:
    """Unpack an archive; ``once``: on the node, and copy from there."""
    workspace = stage.workspace
    archive = os.path.join(workspace.task_dir, ".stage-" + os.urandom(16).hex())
    placer = Placer(root, workspace, STAGED_NS)

    def unpack(stream: IO[bytes]) -> None:
        from .archive import Unpacker  # tarfile is heavy, and most tasks need none

        Unpacker(placer).unpack(archive, stream)

    try:
        stage.fetch.to_stream(
            wanted, archive, unpack, Once(keep_tree, lambda data: _copied(data, placer)) if once else None
        )
    except NoSpace as error:
        raise NoSpace("%s: %s" % (wanted.path, error)) from error
    except StageError as error:
        raise StageError("%s: %s" % (wanted.path, error)) from error
    finally:
        remove_quietly(archive)


def _copied(data: str, placer: Placer) -> bool:
    """Copy what the node has unpacked; False where it was changed or is just being removed."""
    try:
        copy_tree(tree_of(data), placer)
    except (Changed, OSError) as error:
        say("cache: unpacking the sources again: %s" % why(error))
        if isinstance(error, Changed):
            remove_tree(tree_of(data))
        return False
    return True
