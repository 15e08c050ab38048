"""Rules of ``pools.yaml`` that look at several keys at once (pure).

They look at the plain values, which may be wrong in any way: a rule passes over what it cannot read, since the shape
is complained about already.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from snakemake_executor_azurebatch.pools.marks import Path

#: A complaint: where, and what.
Complaint = tuple[Path, str]
Raw = Mapping[str, Any]


def complaints(value: object) -> Iterator[Complaint]:
    """All that is wrong between the keys of a file."""
    pools = list(_mappings(value, "pools"))
    sizes = list(_mappings(value, "vm_sizes"))
    yield from _repeated(pools, "name", "pools need different names")
    yield from _repeated(pools, "id", "a pool can be described once")
    ids = {str(pool["id"]).lower() for _, pool in pools if _has(pool, "id")}
    for path, pool in pools:
        if str(pool.get("name")).lower() in ids and not _has(pool, "id"):
            yield (*path, "name"), f"{pool['name']!r} is the id of another pool: rules could not tell them apart"
    yield from _repeated(sizes, "name", "a size can be described once")
    for path, pool in pools:
        yield from _identity(path, pool)
        yield from _machine(path, pool)
        yield from _nodes(path, pool)
        yield from _registries(path, pool)
        yield from _network(path, pool)
        yield from _mounts(path, pool)
        yield from _tags(path, pool)


def _mappings(value: object, key: str, at: Path = ()) -> Iterator[tuple[Path, Raw]]:
    items = value.get(key) if isinstance(value, Mapping) else None
    for index, item in enumerate(items if isinstance(items, list) else ()):
        if isinstance(item, Mapping):
            yield (*at, key, index), item


def _has(raw: Raw, key: str) -> bool:
    return raw.get(key) is not None


def _repeated(found: list[tuple[Path, Raw]], key: str, why: str) -> Iterator[Complaint]:
    seen: set[str] = set()
    for path, raw in found:
        name = raw.get(key)
        if isinstance(name, str):
            if name.lower() in seen:
                yield (*path, key), f"{name!r} is there twice: {why} (capitals make no difference)"
            seen.add(name.lower())


def _identity(path: Path, pool: Raw) -> Iterator[Complaint]:
    if _has(pool, "name") == _has(pool, "id"):
        both = "there are name and id" if _has(pool, "name") else "there is neither name nor id"
        yield path, f"{both}: give name for a pool that is to be made, or id for one of yours"


def _machine(path: Path, pool: Raw) -> Iterator[Complaint]:
    has_size, has_needs, is_named = _has(pool, "vm_size"), _has(pool, "requirements"), _has(pool, "id")
    if _has(pool, "next_vm_sizes") and pool["next_vm_sizes"] and not has_size:
        instead = "requirements go to the next cheapest size by themselves" if has_needs else "give vm_size too"
        yield (*path, "next_vm_sizes"), f"not without vm_size: {instead}"
    if has_size and has_needs:
        yield (*path, "requirements"), "there is vm_size too: give one of them"
    elif has_needs and is_named:
        yield (*path, "requirements"), "a pool with id has its VM size already: give vm_size, or leave both out"
    elif not (has_size or has_needs or is_named):
        yield path, "the VM size is missing: give vm_size, such as Standard_D4s_v5, or requirements"
    if _has(pool, "node_agent_sku") and not _has(pool, "os_image"):
        yield (*path, "node_agent_sku"), "it belongs to an image: give os_image too, or leave it out"


def _most(nodes: Raw, kind: str) -> int | None:
    value = nodes.get(kind, 0)
    value = value.get("max") if isinstance(value, Mapping) else value
    return value if isinstance(value, int) else None


def _nodes(path: Path, pool: Raw) -> Iterator[Complaint]:
    nodes = pool.get("nodes")
    if nodes is None:
        if not _has(pool, "id"):
            yield path, "nodes is missing: give the number of nodes, such as nodes: {dedicated: 2}"
        return
    if not isinstance(nodes, Mapping):
        return
    if _most(nodes, "dedicated") == 0 and _most(nodes, "spot") == 0:
        yield (*path, "nodes"), "the pool would never have a node: give dedicated or spot nodes, 1 or more"
    for kind in ("dedicated", "spot"):
        span = nodes.get(kind)
        low, high = (span.get("min"), span.get("max")) if isinstance(span, Mapping) else (None, None)
        if isinstance(low, int) and isinstance(high, int) and low > high:
            yield (*path, "nodes", kind), f"min {low} is more than max {high}: min has to be max at most"
        standing = span.get("standing") if isinstance(span, Mapping) else None
        if not isinstance(standing, int):
            continue
        if isinstance(high, int) and standing > high:
            yield (*path, "nodes", kind), f"standing {standing} is more than max {high}: it has to be max at most"
        if pool.get("scaling") == "fixed":
            yield (*path, "nodes", kind, "standing"), "not with scaling: fixed, whose nodes all stay: leave it out"


def _registries(path: Path, pool: Raw) -> Iterator[Complaint]:
    found = list(_mappings(pool, "registries", path))
    yield from _repeated(found, "server", "a registry can be described once")
    for where, registry in found:
        by_password = _has(registry, "password_env") or _has(registry, "username")
        if by_password and _has(registry, "identity"):
            yield where, "there are a password and an identity: give username and password_env, or identity"
        elif by_password and not (_has(registry, "password_env") and _has(registry, "username")):
            missing = "username" if _has(registry, "password_env") else "password_env"
            yield where, f"{missing} is missing: a password needs username and password_env"
        elif registry.get("anonymous") is True and (by_password or _has(registry, "identity")):
            yield (*where, "anonymous"), "there is a sign-in too: leave one of them out"
        elif not by_password and not _has(registry, "identity") and registry.get("anonymous") is not True:
            yield where, "the sign-in is missing: give username and password_env, identity, or anonymous: true"
        identities = pool.get("identities")
        listed = [str(one).lower() for one in identities] if isinstance(identities, list) else []
        if _has(registry, "identity") and str(registry["identity"]).lower() not in listed:
            yield (*where, "identity"), "it is not one of the pool's identities: add it to identities"


def _network(path: Path, pool: Raw) -> Iterator[Complaint]:
    network = pool.get("network")
    if isinstance(network, Mapping) and network.get("public_ip") is False and not _has(network, "subnet_id"):
        yield (*path, "network", "public_ip"), "nodes without public addresses need a subnet: give subnet_id"


#: source: documentation of Azure Resource Manager, "Tag usage and limitations".
MOST_TAGS, LONGEST_TAG, LONGEST_TAG_VALUE, NOT_IN_TAGS = 50, 512, 256, "<>%&\\?/"


def _tags(path: Path, pool: Raw) -> Iterator[Complaint]:
    tags = pool.get("tags")
    if not isinstance(tags, Mapping):
        return
    if len(tags) > MOST_TAGS:
        yield (*path, "tags"), f"there are {len(tags)}: Azure takes {MOST_TAGS} at most"
    for name, value in tags.items():
        if len(name) > LONGEST_TAG or any(letter in NOT_IN_TAGS for letter in name):
            text = f"the name of a tag has at most {LONGEST_TAG} characters, and none of {' '.join(NOT_IN_TAGS)}"
            yield (*path, "tags", name), text
        if isinstance(value, str) and len(value) > LONGEST_TAG_VALUE:
            yield (*path, "tags", name), f"the value of a tag has at most {LONGEST_TAG_VALUE} characters"


#: For each kind of mount: needed keys, one of these, further keys.
_MOUNTS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "blob": (("account", "container"), ("key_env", "sas_env")),
    "files": (("account", "url"), ("key_env",)),
    "nfs": (("source",), ()),
}
_OF_ANY = ("type", "path", "options")


def _mounts(path: Path, pool: Raw) -> Iterator[Complaint]:
    found = list(_mappings(pool, "mounts", path))
    yield from _repeated(found, "path", "mounts need different folders")
    for where, mount in found:
        if not isinstance(kind := mount.get("type"), str) or kind not in _MOUNTS:
            continue
        needed, one_of = _MOUNTS[kind]
        for key in needed:
            if not _has(mount, key):
                yield where, f"{key} is missing: a mount of type {kind} needs {', '.join(needed)}"
        if one_of and sum(_has(mount, key) for key in one_of) != 1:
            yield where, f"the access is missing or there twice: a mount of type {kind} needs {' or '.join(one_of)}"
        known = (*_OF_ANY, *needed, *one_of)
        every = ("account", "container", "url", "source", "key_env", "sas_env")
        for key in every:
            if _has(mount, key) and key not in known:
                yield (*where, key), f"not with type {kind}; allowed: {', '.join(known)}"
