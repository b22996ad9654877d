"""Writing the lock, and holding it against what there is."""

import asyncio
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from dxd.engine import reference
from dxd.engine.model import Image, ImageId
from dxd.errors import DxError, NotFound, UnknownTool
from dxd.images.images import ATTEMPT_LABEL, BUILD_LABEL, BUILDER_LABEL, TOOL_LABEL, Images
from dxd.kit.progress import Progress
from dxd.rebuild.bases import Bases
from dxd.tools.lock import Locked, Locks
from dxd.tools.model import Tool
from dxd.trust.tools import Tools

_OF_BUILDS = (TOOL_LABEL, BUILD_LABEL, BUILDER_LABEL, ATTEMPT_LABEL)


@dataclass(frozen=True, slots=True)
class Complaint:
    """Why a tool is not locked, or not as it is."""

    tool: str
    """Empty for the lock as a whole."""
    reason: str


class Following(Protocol):
    """Has tools follow what they are built from; see `Rebuilds`."""

    async def follow(self, tool: Tool, progress: Progress) -> Image:
        """Build the tool if what it is built from is not what it was."""

    async def inputs(self, tool: Tool, progress: Progress) -> str:
        """The digest of all that a tool is built from."""


class Locking:
    """The one writer of the locks: the user's, and those of projects, by their directories."""

    def __init__(
        self, *, locks: Locks, images: Images, tools: Tools, bases: Bases, rebuilds: Following,
        retire: Callable[[ImageId], None],
    ) -> None:  # fmt: skip
        self._locks = locks
        self._images = images
        self._tools = tools
        self._bases = bases
        self._rebuilds = rebuilds
        self._retire = retire
        self._turn = asyncio.Lock()

    async def lock(self, project: Path | None, upgrade: Sequence[str] | None, progress: Progress) -> list[Complaint]:
        """Lock what is not locked, and forget what is no tool any more; why some are not.

        What is locked stays so, but for the tools named in `upgrade`, or all where that is empty: of those it becomes
        what their tags mean now. Raises `UnknownTool`, `NotTrusted`, `BadDefinition`, `Refused`, `EngineTrouble`.
        """
        lock, tools = self._locks.at(project), self._tools.defined(project)
        anew = {each.word for each in tools} if upgrade is not None and not upgrade else set(upgrade or ())
        if unknown := anew.difference(each.word for each in tools):
            raise UnknownTool(f"no tool of {lock.file.parent} is called {min(unknown)}", "see: dx ls")
        async with self._turn:
            platform = await self._images.platform()
            old, complaints = lock.all(), []
            new: dict[str, Locked] = {}
            for tool in tools:
                before = old.get(tool.word, Locked())
                try:
                    new[tool.word] = await self._locked(tool, before, platform, progress, anew=tool.word in anew)
                except DxError as error:
                    complaints.append(Complaint(tool.word, error.line()))
                    if tool.word in old:
                        new[tool.word] = before
            await asyncio.to_thread(lock.write, new)
            wrong = {each.tool for each in complaints}
            # Only now, because builds take the bases that are locked.
            for tool in tools:
                if tool.build is None or tool.word in wrong:
                    continue
                try:
                    image = await self._rebuilds.follow(tool, progress)
                except DxError as error:
                    complaints.append(Complaint(tool.word, error.line()))
                    continue
                inputs = image.labels.get(BUILD_LABEL, "")
                new[tool.word] = replace(
                    new[tool.word], inputs={platform: inputs}, labels={platform: digest_of(image.labels)}
                )
            await asyncio.to_thread(lock.write, new)
        return complaints

    async def check(self, project: Path | None, progress: Progress) -> list[Complaint]:
        """What is not locked, or not as it is; nothing is written.

        Raises `NotTrusted`, `BadDefinition`, `EngineTrouble`.
        """
        lock, tools = self._locks.at(project), self._tools.defined(project)
        if not lock.exists():
            return [Complaint("", f"there is no {lock.file}")]
        old, platform = lock.all(), await self._images.platform()
        complaints = []
        for tool in tools:
            try:
                reasons = await self._wrong(tool, old.get(tool.word), platform, progress)
            except DxError as error:
                reasons = [error.line()]
            complaints += [Complaint(tool.word, each) for each in reasons]
        gone = sorted(old.keys() - {each.word for each in tools})
        return [*complaints, *(Complaint(each, "is locked, and no tool") for each in gone)]

    async def _locked(
        self, tool: Tool, before: Locked, platform: str, progress: Progress, *, anew: bool
    ) -> Locked:  # fmt: skip
        if tool.build is not None:
            bases: dict[str, Mapping[str, str]] = {}
            for ref in await self._bases.named(tool):
                if self._bases.tool_of(ref, tool) is not None:
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
            if self._bases.tool_of(ref, tool) is None and platform not in locked.bases.get(ref, {})
        ]
        if missing:
            return missing
        if await self._rebuilds.inputs(tool, progress) != locked.inputs.get(platform):
            return ["what it is built from is not what is locked"]
        return []


def digest_of(labels: Mapping[str, str]) -> str:
    """Of what an image says of itself; what dx says of a build is not in it."""
    own = {key: value for key, value in labels.items() if key not in _OF_BUILDS}
    return f"sha256:{hashlib.sha256(json.dumps(own, sort_keys=True).encode()).hexdigest()}"
