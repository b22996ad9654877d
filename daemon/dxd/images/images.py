"""The image behind a name: from memory where possible, else looked up or pulled; and building one.

A hit asks nobody, so runs go on while the engine is down or hangs. What the engine tells of images makes every entry
stale; a stale one is looked up anew at its next use, and still serves if the engine does not answer. `Images` owns its
memory and the work that is going on; `app` makes one, feeds it events and closes it.
"""

import asyncio
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from dxd.engine.docker import Engine
from dxd.engine.model import EngineEvent, Image, ImageId
from dxd.errors import BuildFailed, EngineError, EngineTimeout, EngineTrouble, ImageMissing
from dxd.images import context, platform
from dxd.images.context import ContextMoved
from dxd.images.identity import Identity
from dxd.images.pinned import pinned
from dxd.images.shared import Shared
from dxd.kit.progress import Progress, Silent
from dxd.tools.model import Build

PATIENCE_S = 2.0
"""How long a stale entry waits for the engine before it serves; then, until the engine answers again, not at all."""

TOOL_LABEL = "dev.dx.tool"
BUILD_LABEL = "dev.dx.build"
BUILDER_LABEL = "dev.dx.builder"
ATTEMPT_LABEL = "dev.dx.attempt"
"""On an image that was built: for which tool, the digest of what it is built from, by which daemon, and in which
attempt. Images that others build on it inherit them.
"""

_REPOSITORY = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*", re.ASCII)


@dataclass(slots=True)
class _Entry:
    image: Image | None
    """None: there is none of that name, which is remembered of marks only."""
    fresh: bool


def tag_of(name: str, tag: str = "latest") -> str:
    """A tag of a tool's builds.

    A name that no repository can have (`g++`, `R`) gets a digest of itself.
    """
    if not _REPOSITORY.fullmatch(name):
        readable = "-".join(re.findall(r"[a-z0-9]+", name.lower())) or "tool"
        name = f"{readable}-{hashlib.sha256(name.encode()).hexdigest()[:12]}"
    return f"dx/{name}:{tag}"


class Images:
    """Resolves names to images, and builds them."""

    def __init__(self, engine: Engine, *, binfmt: Path = platform.BINFMT, patience_s: float = PATIENCE_S) -> None:
        self._engine = engine
        self._binfmt = binfmt
        self._entries: dict[str, _Entry] = {}
        self._marks: set[str] = set()
        self._generation = 0
        self._architecture: str | None = None
        self._knows_architecture = False
        self._patience_s = self._full_patience_s = patience_s
        self._lookups: dict[str, asyncio.Task[Image | None]] = {}
        self._work: Shared[Image] = Shared()

    async def resolve(self, ref: str, progress: Progress | None = None) -> Image:
        """The image of that name or id; one that is missing is pulled, one that the engine has never is.

        Several who wait for the same pull share it, and it is cancelled with the last of them. Raises `ImageMissing`,
        `WrongArchitecture`, `EngineTrouble`.
        """
        image = await self._look_up(ref)
        if image is None:
            image = await self._work.join(f"pull {ref}", partial(self._pull, ref), progress or Silent())
        return self._checked(image, ref)

    async def pull(self, ref: str, progress: Progress) -> Image:
        """The image that the registry has under that name now; shared and cancelled as in `resolve`."""
        return self._checked(await self._work.join(f"pull {ref}", partial(self._pull, ref), progress), ref)

    async def find(self, ref: str) -> Image | None:
        """The image of that name, where the engine has one; nothing is pulled. Raises `WrongArchitecture`."""
        image = await self._look_up(ref)
        return image and self._checked(image, ref)

    async def marked(self, ref: str) -> Image | None:
        """As `find`, of a name that nobody but dx gives: that there is none is remembered as well."""
        self._marks.add(ref)
        return await self.find(ref)

    async def inspect(self, image: ImageId) -> Image:
        """An image as the engine has it now; raises `ImageMissing`."""
        found = await self._engine.image(image)
        if found is None:
            raise ImageMissing(f"image {image[7:19]} was removed as soon as it was there", "try again")
        return self._checked(found, image[7:19])

    async def platform(self) -> str:
        """Of the images that are built here, as `os/architecture`."""
        if self._architecture is None:  # one that is known will do, so that runs ask nobody
            await self._know_architecture()
        return f"linux/{self._architecture}"

    def named(self, ref: str, image: Image) -> None:
        """The name was given to that image just now."""
        self._remember(ref, image, self._generation)

    def unnamed(self, ref: str) -> None:
        """The name was taken away just now."""
        self._remember(ref, None, self._generation)

    async def build(
        self, name: str, build: Build, found: Identity, progress: Progress, *, builder: str, attempt: str,
        pins: Mapping[str, str] | None = None,
    ) -> ImageId:  # fmt: skip
        """Build a tool's image, which gets no name; raises `BuildFailed`, and ends when it is cancelled.

        `ContextMoved` is for files that are not those that were `found`; then there is no image. `pins` are names to be
        taken in place of others that the Dockerfile has for images.
        """
        progress.progress(f"building {name}")
        try:
            recipe = await asyncio.to_thread(context.read, build)
        except BuildFailed as error:  # though it could be read just now
            raise ContextMoved(error.message, error.hint) from None
        dockerfile = pinned(recipe, build, pins, await self.platform()) if pins else None
        archive = context.Archive(recipe, found.sent, dockerfile=dockerfile)
        try:
            return await self._engine.build(
                archive,
                dockerfile=recipe.dockerfile,
                path=recipe.shown,
                target=build.target,
                args=dict(build.args),
                secrets=dict(build.secrets),
                ssh=build.ssh,
                tag=None,
                labels={TOOL_LABEL: name, BUILD_LABEL: found.digest, BUILDER_LABEL: builder, ATTEMPT_LABEL: attempt},
                progress=progress,
            )
        finally:
            await archive.close()

    async def is_local(self, ref: str) -> bool:
        """Whether the engine has an image of that name; nothing is pulled."""
        return await self._look_up(ref) is not None

    def on_event(self, event: EngineEvent) -> None:
        """Take note of what happened in the engine."""
        if event.kind == "image":
            self._grow_stale()

    def clear(self) -> None:
        """Trust nothing: events may have been lost, or another engine answers."""
        self._knows_architecture = False
        self._grow_stale()

    async def close(self) -> None:
        """End the lookups that nobody waits for any more."""
        while self._lookups:
            for task in self._lookups.values():
                task.cancel()
            await asyncio.wait(self._lookups.values())

    def _grow_stale(self) -> None:
        self._generation += 1
        for entry in self._entries.values():
            entry.fresh = False

    def _checked(self, image: Image, ref: str) -> Image:
        if self._architecture and (image.architecture != self._architecture or image.os != "linux"):
            platform.check(image, ref, self._architecture, binfmt=self._binfmt)
        return image

    async def _look_up(self, ref: str) -> Image | None:
        """What the engine has under that name, remembered or asked for."""
        entry = self._entries.get(ref)
        if entry and entry.fresh:
            return entry.image
        task = self._lookups.get(ref)
        if task is None:
            task = self._lookups[ref] = asyncio.create_task(self._inspect(ref), name=f"look up {ref}")
            task.add_done_callback(partial(self._looked_up, ref))
        await asyncio.wait({task}, timeout=self._patience_s if entry else None)
        if not task.done():
            self._patience_s = 0.0
        elif task.cancelled():
            raise EngineError("dx is about to stop")
        elif entry is None or not isinstance(task.exception(), EngineTrouble):
            return task.result()
        assert entry is not None
        return entry.image

    def _looked_up(self, ref: str, task: asyncio.Task[Image | None]) -> None:
        """A lookup has ended, perhaps with nobody waiting; its error is for whoever waits."""
        del self._lookups[ref]
        if task.cancelled():
            return
        if isinstance(task.exception(), EngineTimeout):
            self._patience_s = 0.0
        elif not isinstance(task.exception(), EngineTrouble):
            self._patience_s = self._full_patience_s

    async def _inspect(self, ref: str, key: str | None = None) -> Image | None:
        """Ask the engine, and remember the answer under `key`."""
        generation = self._generation
        await self._know_architecture()
        image = await self._engine.image(ref)
        self._remember(key or ref, image, generation)
        return image

    async def _know_architecture(self) -> None:
        if not self._knows_architecture:
            self._architecture = (await self._engine.info()).architecture
            self._knows_architecture = True

    def _remember(self, ref: str, image: Image | None, generation: int) -> None:
        """Note an answer to a question that was asked in that generation; news since then make it stale."""
        if image is None and ref not in self._marks:
            self._entries.pop(ref, None)
        else:
            self._entries[ref] = _Entry(image, fresh=generation == self._generation)

    async def _pull(self, ref: str, progress: Progress) -> Image:
        progress.progress(f"pulling {ref}")
        await self._engine.pull(ref, progress)
        progress.note(f"pulled {ref}")
        return await self._fetched(ref, ref)

    async def _fetched(self, ref: str, key: str) -> Image:
        """Look at what was just made, and remember it under `key`."""
        image = await self._inspect(ref, key)
        if image is None:
            raise ImageMissing(f"image {key} was removed as soon as it was there", "try again")
        return image
