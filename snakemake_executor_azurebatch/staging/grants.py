"""The access of a run's tasks: it can be extended while the run lives, and is revoked at its end.

With an account key both SAS are bound to stored access policies of the blob container: a change of the policy
changes what every SAS of it may do. A blob container holds at most five policies, and a change may take 30 s to
act (source: "Define a stored access policy"); a task's stager waits for that. Without an account key, or
without room for two more policies, the access has a fixed end, and tasks that are submitted later get another.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, ClassVar, Protocol

from snakemake_executor_azurebatch.errors import ServiceError, service
from snakemake_executor_azurebatch.staging.sas import READ, STARTS_EARLIER, WRITE, Access, make_access, policy_access

if TYPE_CHECKING:
    from azure.storage.blob import AccessPolicy, BlobServiceClient, ContainerClient

MAX_POLICIES = 5
PREFIX = "smk-"
ATTEMPTS = 5


class Grant(Protocol):
    """Access that was given to the tasks of a run."""

    @property
    def is_extendable(self) -> bool:
        """Whether the end of what tasks have already been given can be moved."""
        ...

    @property
    def access(self) -> Access:
        """The URLs that tasks get."""
        ...

    def extend(self) -> None:
        """Let it last for its whole lifetime again, counted from now. Raises ServiceError."""
        ...

    def revoke(self) -> None:
        """End it now. Raises ServiceError."""
        ...


class RenewedGrant:
    """Access with an end that nobody can move. ``extend`` makes another one, for the tasks that come later."""

    is_extendable = False

    def __init__(self, make: Callable[[], Access]) -> None:
        self._make = make
        self._access = make()

    @property
    def access(self) -> Access:
        """The newest one."""
        return self._access

    def extend(self) -> None:
        """Make the next one. Raises ServiceError."""
        self._access = self._make()

    def revoke(self) -> None:
        """Nothing can be done."""


@dataclass(frozen=True)
class PolicyGrant:
    """Access by two stored access policies, one to read and one to write."""

    is_extendable: ClassVar[bool] = True

    access: Access
    container: ContainerClient
    names: Mapping[str, str]  #: policy id -> permission
    lifetime_s: float

    def extend(self) -> None:
        """Move the end of both policies."""
        _change(self.container, lambda held: {**held, **_policies(self.names, self.lifetime_s)})

    def revoke(self) -> None:
        """Remove both policies: no URL of them works any more."""
        _change(self.container, lambda held: {name: one for name, one in held.items() if name not in self.names})


def grant_access(
    container: ContainerClient,
    run_id: str,
    lifetime_s: float,
    *,
    account_key: str | None = None,
    delegation: BlobServiceClient | None = None,
) -> Grant:
    """Give the tasks of a run access to the blob container. Raises ServiceError."""
    if account_key is None:
        return RenewedGrant(lambda: make_access(container, lifetime_s, delegation=delegation))
    names = {f"{PREFIX}{kind}-{run_id}"[:64]: permission for kind, permission in (("r", READ), ("w", WRITE))}
    try:
        _change(container, lambda held: _with_room({**held, **_policies(names, lifetime_s)}))
    except NoRoom:
        return RenewedGrant(lambda: make_access(container, lifetime_s, account_key=account_key))
    read, write = names
    expires = datetime.now(UTC) + timedelta(seconds=lifetime_s)
    return PolicyGrant(policy_access(container, read, write, account_key, expires), container, names, lifetime_s)


class NoRoom(Exception):
    """The blob container has all the policies that it can hold."""


def _policies(names: Mapping[str, str], lifetime_s: float) -> dict[str, AccessPolicy]:
    from azure.storage.blob import AccessPolicy

    now = datetime.now(UTC)
    return {
        name: AccessPolicy(
            permission=permission, start=now - STARTS_EARLIER, expiry=now + timedelta(seconds=lifetime_s)
        )
        for name, permission in names.items()
    }


def _with_room(held: dict[str, AccessPolicy]) -> dict[str, AccessPolicy]:
    """Drop what runs have left that were killed, once it has expired."""
    now = datetime.now(UTC)
    kept = {name: one for name, one in held.items() if not name.startswith(PREFIX) or _expiry(one) > now}
    if len(kept) > MAX_POLICIES:
        raise NoRoom
    return kept


def _expiry(policy: AccessPolicy) -> datetime:
    """The SDK gives back the text that the service sent: an ISO time, with up to seven digits of a second."""
    expiry = policy.expiry
    if isinstance(expiry, datetime):
        return expiry
    return datetime.fromisoformat(str(expiry)[:19]).replace(tzinfo=UTC) if expiry else datetime.max.replace(tzinfo=UTC)


def _change(container: ContainerClient, edit: Callable[[dict[str, AccessPolicy]], dict[str, AccessPolicy]]) -> None:
    """Read, edit, write and read again: the service replaces the whole list, and another run may do so too."""
    for _ in range(ATTEMPTS):
        wanted = edit(_held(container))
        with service("setting the stored access policies"):
            container.set_container_access_policy(wanted, public_access=None)
        if set(_held(container)) == set(wanted):
            return
    raise ServiceError("the stored access policies of the blob container keep changing: are many runs using it?")


def _held(container: ContainerClient) -> dict[str, AccessPolicy]:
    with service("reading the stored access policies"):
        found = container.get_container_access_policy()["signed_identifiers"]
    return {one.id: one.access_policy for one in found}
