"""Outputs and logs outside of the workdir: whether the task can have them there, and the folders they need."""

from __future__ import annotations

import os
from typing import Mapping

from .errors import StageError, why
from .protocol import Manifest
from .workspace import Workspace, below


def prepare_products(manifest: Manifest, workspace: Workspace, environ: Mapping[str, str]) -> None:
    """Make the folders of all products outside of the workdir.

    Raises StageError for a product that the command could not leave where the controller expects it, or that
    would be taken for one without being made: better no result than a wrong one.
    """
    node_root = os.path.realpath(environ.get("AZ_BATCH_NODE_ROOT_DIR") or workspace.task_dir)
    given = {item.path for item in manifest.inputs}
    for product in [*manifest.outputs, *manifest.logs]:
        if workspace.tree:
            _refuse_absolute(product.path, workspace)
            continue
        place = workspace.locate(product.path)
        if workspace.owns(place):
            continue
        if any(below(os.path.realpath(place), folder) for folder in (node_root, workspace.task_dir)):
            raise StageError("%s lies in the node's own folder %s" % (product.path, node_root))
        if os.path.lexists(place) and product.path not in given:  # an update() brings the file with it
            raise StageError("%s is there already, before the command: the container image has it" % product.path)
        _make_folder(os.path.dirname(place), workspace)
        workspace.outside.append(place)


def _refuse_absolute(path: str, workspace: Workspace) -> None:
    if os.path.isabs(path):
        raise StageError(
            "%s is an absolute path, and the task cannot run at the controller's own path %s (%s). Give outputs and "
            "logs relative to the working directory, or let tasks be root in their containers "
            "(--azurebatch-run-elevated)" % (path, workspace.logical, workspace.why_tree or "it was not asked to")
        )


def _make_folder(folder: str, workspace: Workspace) -> None:
    """Make a folder with its parents, and remember those that were made."""
    missing = []
    while not os.path.lexists(folder):
        missing.append(folder)
        folder = os.path.dirname(folder)
    for part in reversed(missing):
        try:
            os.mkdir(part)
        except OSError as error:
            raise StageError(
                "cannot make the folder %s for an output, as user %d: %s. Let tasks be root in their containers "
                "(--azurebatch-run-elevated), or give paths relative to the working directory"
                % (part, os.getuid(), why(error))
            ) from error
        workspace.note(part)
