"""The failures a task can have on a node, in the service's own words (pure).

Source of codes and categories: the public documentation of Azure Batch (task failure information, output
files). Messages marked "seen" occur in the public documentation or in public reports; the others follow
their pattern.
"""

from __future__ import annotations

import errno

from .work import TaskFailure

USER = "usererror"
SERVER = "servererror"

_BLOB = "one of the specified Azure Blob(s)"
_CONTAINER = "One of the specified Azure container(s)"
_UPLOAD = "while attempting to upload an output file"

#: code -> (category, message)
_WORDS: dict[str, tuple[str, str]] = {
    "FailureExitCode": (USER, "The task exited with an exit code representing a failure"),  # seen
    "TaskEnded": (USER, "Task Was Ended by User Request"),
    "CommandProgramNotFound": (USER, "The specified command program is not found"),  # seen
    "CommandLaunchFailed": (USER, "The specified command could not be launched"),
    "BlobNotFound": (USER, "One of the specified Azure Blob(s) is not found"),  # seen
    "BlobAccessDenied": (USER, "Access for one of the specified Azure Blob(s) is denied"),  # seen
    "BlobDownloadTimedOut": (SERVER, f"Timed out while downloading {_BLOB}"),
    "BlobDownloadMiscError": (SERVER, f"Miscellaneous error encountered while downloading {_BLOB}"),  # seen
    "ResourceContainerNotFound": (USER, f"{_CONTAINER} is not found"),
    "ResourceContainerAccessDenied": (USER, "Access for one of the specified Azure container(s) is denied"),
    "ResourceContainerListTimedOut": (SERVER, "Timed out while listing one of the specified Azure container(s)"),
    "ResourceContainerListMiscError": (
        SERVER,
        "Miscellaneous error encountered while listing one of the specified Azure container(s)",
    ),
    "ResourceDirectoryCreateFailed": (
        SERVER,
        "A directory for one of the specified resource files could not be created",
    ),
    "ResourceFileCreateFailed": (SERVER, "One of the specified resource files could not be created"),
    "ResourceFileWriteFailed": (SERVER, "One of the specified resource files could not be written"),
    "DiskFull": (SERVER, "There is not enough disk space on the node"),
    "ContainerInvalidImage": (USER, "The specified container image is invalid"),
    "ContainerInvalidRegistry": (USER, "The specified container registry is invalid"),
    "ContainerInvalidSettings": (USER, "At least one value of specified task container settings is invalid"),  # seen
    "ContainerMiscError": (SERVER, "Miscellaneous error encountered while preparing or running the task's container"),
    "FileUploadAccessDenied": (USER, f"Access for {_CONTAINER[0].lower()}{_CONTAINER[1:]} is denied {_UPLOAD}"),
    "FileUploadContainerNotFound": (USER, f"{_CONTAINER} was not found {_UPLOAD}"),  # seen
    "FileUploadConflict": (USER, f"A conflict was encountered {_UPLOAD}"),
    "FileUploadTimedOut": (SERVER, f"Timed out {_UPLOAD}"),
    "FileUploadMiscError": (SERVER, f"Miscellaneous error encountered {_UPLOAD}"),
}


class TaskTrouble(Exception):
    """Something that ends a task with ``failure``. Never leaves the agent."""

    def __init__(self, failure: TaskFailure) -> None:
        self.failure = failure
        super().__init__(f"{failure.code}: {failure.message}")


class TaskStopped(TaskTrouble):
    """The task is to end before it has ended by itself: a request, or its time is up."""

    def __init__(self, reason: str) -> None:
        super().__init__(failure("TaskEnded", Message=reason))


def failure(code: str, **details: str) -> TaskFailure:
    """The failure with that code. ``details`` become name and value pairs, in order; they hold no secrets."""
    category, message = _WORDS[code]
    return TaskFailure(category, code, message, tuple(details.items()))


def trouble(code: str, **details: str) -> TaskTrouble:
    """An exception that carries ``failure(code, **details)``."""
    return TaskTrouble(failure(code, **details))


def injected(code: str) -> TaskTrouble:
    """A failure on purpose. A code that is not among the known ones gets words of its own."""
    category, message = _WORDS.get(code, (SERVER, f"The task failed with {code}"))
    return TaskTrouble(TaskFailure(category, code, message, (("Message", "A fault was injected"),)))


def file_trouble(code: str, error: OSError, **details: str) -> TaskTrouble:
    """``trouble(code, ...)`` with the system's reason, or DiskFull where that is the reason."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    return trouble("DiskFull" if full else code, **details, Message=error.strerror or type(error).__name__)


def without_query(url: str) -> str:
    """A URL as it may be shown: its query can hold a shared access signature."""
    return url.split("?", 1)[0]
