"""The volumes of tools: what stays between runs. The engine is the truth about which there are; their labels say whose.

A container's volumes are made by the engine as it makes the container, so there is nothing here that makes one.
"""

import hashlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from dxd.engine.docker import Engine
from dxd.engine.model import Volume
from dxd.warm.model import VolumeKind, VolumeUse

INSTANCE_LABEL = "dev.dx.instance"
TOOL_LABEL = "dev.dx.tool"
KIND_LABEL = "dev.dx.volume"
PATH_LABEL = "dev.dx.path"
IMAGE_LABEL = "dev.dx.base"


@dataclass(frozen=True, slots=True)
class VolumeView:
    """A volume as the API shows it."""

    name: str
    use: VolumeUse


def volume_name(instance: str, use: VolumeUse) -> str:
    """Always the same for the same use, and no other's. A digest: paths have letters that a volume's name cannot."""
    digest = hashlib.sha256("\0".join((instance, use.kind.value, use.tool, use.path, use.image)).encode())
    return f"dx-{use.kind.value}-{digest.hexdigest()[:24]}"


def labels_of(instance: str, use: VolumeUse) -> dict[str, str]:
    """What tells a volume's use."""
    return {INSTANCE_LABEL: instance, KIND_LABEL: use.kind.value, TOOL_LABEL: use.tool, PATH_LABEL: use.path} | (
        {IMAGE_LABEL: use.image} if use.image else {}
    )


class Volumes:
    """Lists and removes them."""

    def __init__(self, *, engine: Engine, release: Callable[[VolumeUse], Awaitable[None]], instance: str) -> None:
        """`release` removes the containers that have a volume, and raises `Conflict` where one is in use."""
        self._engine = engine
        self._release = release
        self._instance = instance

    async def all(self, kind: VolumeKind) -> list[VolumeView]:
        """Every one of the kind, by tool and path. Raises `EngineTrouble`."""
        found = await self._engine.volumes({INSTANCE_LABEL: self._instance, KIND_LABEL: kind.value})
        views = [VolumeView(each.name, _use(each, kind)) for each in found]
        return sorted(views, key=lambda each: (each.use.tool, each.use.path))

    async def remove(self, kind: VolumeKind, tool: str, path: str | None) -> Sequence[VolumeView]:
        """Remove those of the tool, or the one at that path, with the containers that have them; what was removed.

        Raises `Conflict` where a run uses one, `EngineTrouble`.
        """
        views = [each for each in await self.all(kind) if each.use.tool == tool and path in (None, each.use.path)]
        for each in views:
            await self._release(each.use)
            await self._engine.remove_volume(each.name)
        return views


def _use(volume: Volume, kind: VolumeKind) -> VolumeUse:
    label = volume.labels.get
    return VolumeUse(kind, label(TOOL_LABEL, ""), label(PATH_LABEL, ""), label(IMAGE_LABEL, ""))
