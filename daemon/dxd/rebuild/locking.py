"""Writing the lock, and holding it against what there is."""

import asyncio
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from dxd.engine import reference
from dxd.engine.model import Image, ImageId
from dxd.errors import DxError, NotFound
from dxd.images.images import BUILD_LABEL, BUILDER_LABEL, TOOL_LABEL, Images
from dxd.kit.progress import Progress
from dxd.rebuild.bases import Bases
from dxd.tools.catalogue import Catalogue
from dxd.tools.lock import Lock, Locked
from dxd.tools.model import Tool


@dataclass(frozen=True, slots=True)
class Complaint:
    """Why a tool is not locked, or not as it is."""

    tool: str
    """Empty for the lock as a whole."""
    reason: str


class Builder(Protocol):
    """Builds; see `Rebuilds`."""

    async def follow(self, tool: Tool, progress: Progress) -> Image:
        """Build the tool if what it is built from is not what it was."""

    async def inputs(self, tool: Tool, progress: Progress) -> str:
        """The digest of all that a tool is built from."""


class Locking:
    """The one writer of the lock."""

    def __init__(
        self, *, lock: Lock, images: Images, catalogue: Catalogue, bases: Bases, builder: Builder,
        retire: Callable[[ImageId], None],
    ) -> None:  # fmt: skip
        self._lock = lock
        self._images = images
        self._catalogue = catalogue
        self._bases = bases
        self._builder = builder
        self._retire = retire
        self._turn = asyncio.Lock()

    async def lock(self, upgrade: Sequence[str] | None, progress: Progress) -> list[Complaint]:
        """Lock what is not locked, and forget what is no tool any more; why some are not.

        What is locked stays so, but for the tools named in `upgrade`, or all where that is empty: of those it becomes
        what their tags mean now. Raises `UnknownTool`, `BadDefinition`, `Refused`, `EngineTrouble`.
        """
        anew = {self._catalogue.get(name).name for name in upgrade or ()}
        if upgrade is not None and not upgrade:
            anew = {each.name for each in self._catalogue.all()}
        async with self._turn:
            platform = await self._images.platform()
            old, complaints = self._lock.all(), []
            new: dict[str, Locked] = {}
            for tool in self._catalogue.all():
                before = old.get(tool.name, Locked())
                try:
                    new[tool.name] = await self._locked(tool, before, platform, progress, anew=tool.name in anew)
                except DxError as error:
                    complaints.append(Complaint(tool.name, error.line()))
                    if tool.name in old:
                        new[tool.name] = before
            await asyncio.to_thread(self._lock.write, new)
            wrong = {each.tool for each in complaints}
            # Only now, because builds take the bases that are locked.
            for tool in self._catalogue.all():
                if tool.build is None or tool.name in wrong:
                    continue
                try:
                    image = await self._builder.follow(tool, progress)
                except DxError as error:
                    complaints.append(Complaint(tool.name, error.line()))
                    continue
                inputs = image.labels.get(BUILD_LABEL, "")
                new[tool.name] = replace(
                    new[tool.name], inputs={platform: inputs}, labels={platform: digest_of(image.labels)}
                )
            await asyncio.to_thread(self._lock.write, new)
        return complaints

    async def check(self, progress: Progress) -> list[Complaint]:
        """What is not locked, or not as it is; nothing is written. Raises `BadDefinition`, `EngineTrouble`."""
        if not self._lock.exists():
            return [Complaint("", f"there is no {self._lock.file}")]
        old, platform = self._lock.all(), await self._images.platform()
        tools = self._catalogue.all()
        complaints = []
        for tool in tools:
            try:
                reasons = await self._wrong(tool, old.get(tool.name), platform, progress)
            except DxError as error:
                reasons = [error.line()]
            complaints += [Complaint(tool.name, each) for each in reasons]
        gone = sorted(old.keys() - {each.name for each in tools})
        return [*complaints, *(Complaint(each, "is locked, and no tool") for each in gone)]

    async def _locked(
        self, tool: Tool, before: Locked, platform: str, progress: Progress, *, anew: bool
    ) -> Locked:  # fmt: skip
        if tool.build is not None:
            bases: dict[str, Mapping[str, str]] = {}
            for ref in await self._bases.named(tool):
                if self._bases.tool_of(ref) is not None:
                    continue
                kept = {} if anew else before.bases.get(ref, {})
                if platform not in kept:
                    digest, _ = await self._have(ref, progress, anew=anew)
                    kept = {**kept, platform: digest}
                bases[ref] = kept
            return Locked(inputs=before.inputs, labels=before.labels, bases=bases)
        assert tool.image is not None
        if before.image != tool.image or anew:
            before = Locked(tool.image)
        if platform in before.digests:
            return before
        digest, image = await self._have(tool.image, progress, anew=anew)
        return Locked(
            tool.image,
            digests={**before.digests, platform: digest},
            labels={**before.labels, platform: digest_of(image.labels)},
        )

    async def _have(self, ref: str, progress: Progress, *, anew: bool) -> tuple[str, Image]:
        """The digest of a name, and its image: what is here, or what the registry has now."""
        name = reference.parse(ref)
        before = await self._images.find(ref)
        if name is None or (
            before is not None and not name.is_digest and not reference.digest_in(before.digests, name)
        ):
            raise NotFound(
                f"{ref} came from no registry, so that nothing else could have the same", "push it, then pull it"
            )
        if anew and not name.is_digest:
            image = await self._images.pull(ref, progress)
            if before is not None and before.id != image.id:
                self._retire(before.id)
        else:
            image = await self._images.resolve(ref, progress)
        digest = name.tag if name.is_digest else reference.digest_in(image.digests, name)
        if digest is None:
            raise NotFound(f"the engine does not say which digest {ref} has", "pull it again")
        return digest, image

    async def _wrong(self, tool: Tool, locked: Locked | None, platform: str, progress: Progress) -> list[str]:
        """Why the tool is not as it is locked."""
        if locked is None:
            return ["is not locked"]
        if locked.image != tool.image:
            return [f"is locked to {locked.image or 'a build'}, and dx.toml has {tool.image or 'a build'}"]
        if tool.image is not None:
            if platform not in locked.digests:
                return [f"is not locked for {platform}"]
            name = reference.parse(tool.image)
            image = await self._images.resolve(name.at(locked.digests[platform]), progress) if name else None
            if image is not None and locked.labels.get(platform) != digest_of(image.labels):
                return ["its labels are not those that are locked"]
            return []
        missing = [
            f"is built on {ref}, which is not locked for {platform}"
            for ref in await self._bases.named(tool)
            if self._bases.tool_of(ref) is None and platform not in locked.bases.get(ref, {})
        ]
        if missing:
            return missing
        if await self._builder.inputs(tool, progress) != locked.inputs.get(platform):
            return ["what it is built from is not what is locked"]
        return []


def digest_of(labels: Mapping[str, str]) -> str:
    """Of what an image says of itself; what dx says of a build is not in it."""
    own = {key: value for key, value in labels.items() if key not in (TOOL_LABEL, BUILD_LABEL, BUILDER_LABEL)}
    return f"sha256:{hashlib.sha256(json.dumps(own, sort_keys=True).encode()).hexdigest()}"
