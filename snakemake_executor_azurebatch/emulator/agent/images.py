"""Container images: their names, the credentials to get them, and what a failed pull means."""

from __future__ import annotations

import base64
import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from .engine import Answer, Engine
from .failures import TaskTrouble, trouble
from .work import Json

_HUB = "docker.io"
#: The name under which docker keeps credentials for docker.io. source: public documentation of docker login
_HUB_KEY = "https://index.docker.io/v1/"

_NO_SPACE = ("no space left on device", "disk quota exceeded")
_NO_ENGINE = ("cannot connect to the docker daemon", "unable to connect to podman", "is the docker daemon running")
_NO_ENTRY = ("unauthorized", "authentication required", "denied", "no basic auth", "incorrect username", "forbidden")
_NO_REGISTRY = (
    *("dial tcp", "no such host", "connection refused", "connection reset", "i/o timeout", "deadline exceeded"),
    *("pinging container registry", "x509", "tls:", "server gave http response", "network is unreachable"),
)


def qualified(image: str) -> str:
    """The name with its registry and path, as docker completes it: ``busybox`` is ``docker.io/library/busybox``."""
    first, slash, _ = image.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        return image
    return f"{_HUB}/{image}" if slash else f"{_HUB}/library/{image}"


def server_of(image: str) -> str:
    """The registry an image comes from."""
    return qualified(image).partition("/")[0]


async def find_image(engine: Engine, image: str) -> str | None:
    """The id of an image that is here already."""
    answer = await engine.call("image", "inspect", "--format", "{{.Id}}", image)
    return answer.out.strip() if answer.exit_code == 0 else None


async def pull(engine: Engine, image: str, registries: Sequence[Json]) -> str:
    """Get an image; returns its id. Raises TaskTrouble."""
    keys = credentials(registries)
    with _login(engine, keys) as environment:
        answer = await engine.call("pull", "--quiet", qualified(image), environment=environment)
    if answer.exit_code != 0:
        raise pull_trouble(image, answer, has_credentials=server_of(image) in keys)
    image_id = await find_image(engine, qualified(image))
    if image_id is None:
        raise trouble("ContainerInvalidImage", ContainerImage=image, Message="The image was pulled, but is not there")
    return image_id


def pull_trouble(image: str, answer: Answer, *, has_credentials: bool) -> TaskTrouble:
    """Whose fault a failed pull is, from the engine's words (pure).

    docker.io refuses a stranger in the same words whether an image is private or missing: that is the image's.
    """
    words = answer.err.lower()
    details = {"ContainerImage": image, "Message": answer.why}
    if any(text in words for text in _NO_SPACE):
        return trouble("DiskFull", **details)
    if any(text in words for text in _NO_ENGINE):
        return trouble("ContainerMiscError", **details)
    is_public = server_of(image) == _HUB and not has_credentials
    if any(text in words for text in _NO_REGISTRY) or (not is_public and any(text in words for text in _NO_ENTRY)):
        return trouble("ContainerInvalidRegistry", **details, ContainerRegistry=server_of(image))
    return trouble("ContainerInvalidImage", **details)


def credentials(registries: Sequence[Json]) -> dict[str, str]:
    """User name and password, base64, by registry server (pure). Raises TaskTrouble for what is not emulated."""
    keys = {}
    for registry in registries:
        server = _server(str(registry.get("registryServer") or _HUB))
        if registry.get("identityReference"):
            message = "identityReference: the local service does not emulate managed identities"
            raise trouble("ContainerInvalidRegistry", ContainerRegistry=server, Message=message)
        if registry.get("username"):
            pair = f"{registry['username']}:{registry.get('password') or ''}"
            keys[server] = base64.b64encode(pair.encode()).decode()
    return keys


def _server(text: str) -> str:
    name = text.partition("://")[2] if "://" in text else text
    return name.rstrip("/").lower()


@contextmanager
def _login(engine: Engine, keys: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """The environment in which the engine's program uses these credentials and, for docker, no stored ones.

    A file that only the service's user can read, and only while it is needed: never the command line.
    """
    if not keys:
        yield {}
        return
    with tempfile.TemporaryDirectory(prefix="azurebatch-login-") as folder:
        entries = {
            _HUB_KEY if server == _HUB and engine.kind == "docker" else server: key for server, key in keys.items()
        }
        config: dict[str, object] = {"auths": {server: {"auth": key} for server, key in entries.items()}}
        if engine.kind == "docker":
            config = _users_docker(Path(folder)) | config
        path = Path(folder, "config.json")
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:  # noqa: PTH123 - by mode
            json.dump(config, stream)
        yield {"DOCKER_CONFIG": folder} if engine.kind == "docker" else {"REGISTRY_AUTH_FILE": str(path)}


def _users_docker(folder: Path) -> dict[str, object]:
    """What else docker needs of the user's configuration: which engine to talk to (its context)."""
    users = Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker")
    if (users / "contexts").is_dir():
        (folder / "contexts").symlink_to(users / "contexts")
    try:
        known = json.loads((users / "config.json").read_bytes())
    except (OSError, ValueError):
        return {}
    return {"currentContext": known["currentContext"]} if known.get("currentContext") else {}
