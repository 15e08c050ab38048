"""The errors a user can see, and the one seam where the Azure SDK's errors become ours.

AzureBatchError            an ApiError: Snakemake prints it as one message, without any traceback
+-- SettingsError          settings that cannot work; lists every problem
+-- ServiceError           a call to Azure Batch or Azure Storage failed
|   +-- ServiceUnreachable no answer: network, DNS, wrong URL
|   +-- AccessRefused      401 or 403: wrong key, missing role
|   +-- AlreadyExists      409 *Exists
|   +-- NotFound           404
+-- StagingError           a file could not be moved, or was not what it should be
|   +-- NotEnsured         an output is not what ensure() demands
+-- LocalServiceError      the local Azure Batch service or Azurite could not be started
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from snakemake_interface_common.exceptions import ApiError


class AzureBatchError(ApiError):
    """Base of all errors of this plugin."""


class SettingsError(AzureBatchError):
    """Settings that cannot work. The message lists every problem found."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(["The azurebatch settings cannot work:", *(f"  - {p}" for p in self.problems)]))


class ServiceError(AzureBatchError):
    """A call to Azure Batch or Azure Storage failed.

    ``code`` is the service's own error code, or empty; ``status`` that of HTTP, 0 without an answer.
    """

    def __init__(self, message: str, code: str = "", status: int = 0) -> None:
        self.code = code
        self.status = status
        super().__init__(message)


class ServiceUnreachable(ServiceError):
    """No answer from the service."""


class AccessRefused(ServiceError):
    """The service refused the credentials or the rights."""


class AlreadyExists(ServiceError):
    """What was to be created is there already."""


class NotFound(ServiceError):
    """What was asked for is not there."""


class StagingError(AzureBatchError):
    """A file could not be moved, or was not what it should be."""


class NotEnsured(StagingError):
    """An output is not what ``ensure()`` demands."""


class LocalServiceError(AzureBatchError):
    """The local Azure Batch service or Azurite could not be started."""


@contextmanager
def service(doing: str) -> Iterator[None]:
    """Map azure-core's errors to ours; ``doing`` says what was tried ("creating pool p").

    The SDK's messages carry no credentials, but its request URLs may carry a SAS: only the service's own
    code and sentence are repeated.
    """
    from azure.core.exceptions import (
        ClientAuthenticationError,
        HttpResponseError,
        ServiceRequestError,
        ServiceResponseError,
    )

    try:
        yield
    except (ServiceRequestError, ServiceResponseError) as error:
        raise ServiceUnreachable(f"{doing}: no answer ({_first_line(error)})") from error
    except ClientAuthenticationError as error:
        raise AccessRefused(f"{doing}: {_first_line(error)}", _code(error), error.status_code or 0) from error
    except HttpResponseError as error:
        raise _by_status(error)(f"{doing}: {_sentence(error)}", _code(error), error.status_code or 0) from error


def _by_status(error: object) -> type[ServiceError]:
    status = getattr(error, "status_code", None)
    if status in (401, 403):
        return AccessRefused
    if status == 404:
        return NotFound
    if status == 409 and _code(error).endswith(("Exists", "AlreadyExists")):
        return AlreadyExists
    return ServiceError


def _code(error: object) -> str:
    """The service's own code: azure-batch keeps it in ``error.error.code``, azure-storage in ``error.error_code``."""
    inner = getattr(error, "error", None)
    code = getattr(inner, "code", None) or getattr(error, "error_code", None)
    return str(getattr(code, "value", code) or "")


def _sentence(error: object) -> str:
    status = getattr(error, "status_code", None)
    code = _code(error)
    text = _first_line(error).removeprefix(f"({code}) ")  # azure-batch repeats the code in its message
    return f"{code or 'HTTP error'} (HTTP {status}): {text}"


def _first_line(error: object) -> str:
    text = str(getattr(error, "message", None) or error).strip()
    return text.splitlines()[0] if text else type(error).__name__
