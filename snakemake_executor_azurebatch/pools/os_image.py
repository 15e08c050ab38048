"""Which machine image the nodes of a pool get: the newest verified Ubuntu that runs containers (pure)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from azure.batch import models

#: How long before the end of an image's support it is told.
WARN_BEFORE = timedelta(days=180)


@dataclass(frozen=True, slots=True)
class SupportedImage:
    """A marketplace image that Azure Batch supports (source: reference of "List Supported Images")."""

    publisher: str
    offer: str
    sku: str
    node_agent_sku: str
    is_verified: bool = True
    capabilities: frozenset[str] = frozenset()
    ends: datetime | None = None  #: support for new pools

    @property
    def name(self) -> str:
        """publisher:offer:sku."""
        return f"{self.publisher}:{self.offer}:{self.sku}"

    @property
    def _ubuntu(self) -> tuple[int, int]:
        """The version of Ubuntu, by the node agent; (0, 0) of others."""
        found = re.fullmatch(r"batch\.node\.ubuntu (\d+)\.(\d+)", self.node_agent_sku)
        return (int(found[1]), int(found[2])) if found else (0, 0)


@dataclass(frozen=True, slots=True)
class ChosenImage:
    """The image for a pool, with what there is to say about it."""

    publisher: str
    offer: str
    sku: str
    version: str
    node_agent_sku: str
    warning: str = ""


def read_supported(images: Iterable[models.BatchSupportedImage]) -> list[SupportedImage]:
    """The service's list as plain values, without images that are no marketplace images for Linux."""
    return [
        SupportedImage(
            publisher=image.image_reference.publisher or "",
            offer=image.image_reference.offer or "",
            sku=image.image_reference.sku or "",
            node_agent_sku=image.node_agent_sku_id,
            is_verified=image.verification_type == "verified",
            capabilities=frozenset(image.capabilities or ()),
            ends=image.batch_support_end_of_life,
        )
        for image in images
        if image.os_type == "linux" and image.image_reference.sku
    ]


def choose_image(
    wanted: str | None, node_agent_sku: str | None, supported: list[SupportedImage], now: datetime
) -> ChosenImage | str:
    """The image that was asked for, or the best there is; or why there is none, in a sentence.

    ``wanted``: publisher:offer:sku, perhaps with a version.
    """
    if wanted is None:
        return _newest(supported, now)
    publisher, offer, sku, *version = wanted.split(":")
    known = next((image for image in supported if image.name.lower() == f"{publisher}:{offer}:{sku}".lower()), None)
    agent = node_agent_sku or (known.node_agent_sku if known else None)
    if agent is None:
        names = ", ".join(sorted(image.name for image in supported if "DockerCompatible" in image.capabilities))
        return (
            f"os_image {wanted} is not among the images that Azure Batch supports, so its node agent is not known: "
            f"give node_agent_sku, or one of {names or 'the supported images (there are none that run containers)'}"
        )
    warning = _warning(known, now) if known else f"os_image {wanted} is not among the images that Azure Batch supports"
    return ChosenImage(publisher, offer, sku, version[0] if version else "latest", agent, warning)


def _newest(supported: list[SupportedImage], now: datetime) -> ChosenImage | str:
    fitting = [
        image
        for image in supported
        if image.is_verified
        and image._ubuntu > (0, 0)  # noqa: SLF001 (its own class)
        and "DockerCompatible" in image.capabilities
        and (image.ends is None or image.ends > now)
    ]
    if not fitting:
        return (
            "Azure Batch lists no verified Ubuntu image that runs containers and is still supported: give os_image and "
            "node_agent_sku"
        )
    far = datetime.max.replace(tzinfo=UTC)
    best = max(fitting, key=lambda image: (image._ubuntu, image.ends or far, image.name))  # noqa: SLF001
    return ChosenImage(best.publisher, best.offer, best.sku, "latest", best.node_agent_sku, _warning(best, now))


def _warning(image: SupportedImage, now: datetime) -> str:
    if image.ends is None or image.ends - now > WARN_BEFORE:
        return ""
    has = "ended" if image.ends <= now else "ends"
    return (
        f"Azure Batch's support for the image {image.name} {has} on {image.ends:%Y-%m-%d}: no new pools and nodes "
        "can be made with it then. Choose another one (os_image)"
    )
