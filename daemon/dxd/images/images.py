"""The image behind a tool or a name: from memory where possible, else looked up, pulled or built.

A hit asks nobody, so runs go on while the engine is down or hangs. What the engine tells of images makes every entry
stale; a stale one is looked up anew at its next use, and still serves if the engine does not answer. `Images` owns its
memory and the work that is going on; `app` makes one, feeds it events and closes it.
"""

import asyncio
import hashlib
import json
import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from dxd.engine.docker import Engine
from dxd.engine.model import EngineEvent, Image
from dxd.errors import EngineError, EngineTimeout, EngineTrouble, ImageMissing
from dxd.images import context, platform
from dxd.images.shared import Shared
from dxd.kit.progress import Progress, Silent
from dxd.tools.model import Build, Tool

PATIENCE_S = 2.0
"""How long a stale entry waits for the engine before it serves; then, until the engine answers again, not at all."""

TOOL_LABEL = "dev.dx.tool"
BUILD_LABEL = "dev.dx.build"

_REPOSITORY = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*", re.ASCII)


@dataclass(slots=True)
class _Entry:
    image: Image
    fresh: bool


def tag_of(name: str) -> str:
    """The tag of a tool's own build. A name that no repository can have (`g++`, `R`) gets a digest of itself."""
    if not _REPOSITORY.fullmatch(name):
        readable = "-".join(re.findall(r"[a-z0-9]+", name.lower())) or "tool"
        name = f"{readable}-{hashlib.sha256(name.encode()).hexdigest()[:12]}"
    return f"dx/{name}:latest"


def definition_of(build: Build) -> str:
    """A digest of how the image is to be built; not of the files that are in it."""
    definition = [str(build.context), str(build.file or ""), build.target, sorted(build.args)]
    return hashlib.sha256(json.dumps(definition).encode()).hexdigest()


class Images:
    """Resolves tools and names to images."""

    def __init__(self, engine: Engine, *, binfmt: Path = platform.BINFMT, patience_s: float = PATIENCE_S) -> None:
        self._engine = engine
        self._binfmt = binfmt
        self._entries: dict[str, _Entry] = {}
        self._generation = 0
        self._architecture: str | None = None
        self._knows_architecture = False
        self._patience_s = self._full_patience_s = patience_s
        self._lookups: dict[str, asyncio.Task[Image | None]] = {}
        self._work: Shared[Image] = Shared()

    async def resolve(self, source: Tool | str, progress: Progress | None = None, *, rebuild: bool = False) -> Image:
        """The image of a tool, or of that name or id.

        An image that is missing is pulled, one that the engine has never is; a tool's build is built where it is
        missing or defined anew, and always with `rebuild`. Several who wait for the same share the work, and it is
        cancelled with the last of them. Raises `ImageMissing`, `WrongArchitecture`, `BuildFailed`, `EngineTrouble`.
        """
        progress = progress or Silent()
        if isinstance(source, str):
            return await self._named(source, progress)
        if source.build is None:
            return await self._named(source.image or "", progress)
        return await self._built(source.name, source.build, progress, rebuild=rebuild)

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

    async def _named(self, ref: str, progress: Progress) -> Image:
        image = await self._look_up(ref)
        if image is None:
            image = await self._work.join(f"pull {ref}", partial(self._pull, ref), progress)
        return self._checked(image, ref)

    async def _built(self, name: str, build: Build, progress: Progress, *, rebuild: bool) -> Image:
        tag, definition = tag_of(name), definition_of(build)
        if not rebuild:
            image = await self._look_up(tag)
            if image and (image.labels.get(TOOL_LABEL), image.labels.get(BUILD_LABEL)) == (name, definition):
                return self._checked(image, tag)
        start = partial(self._build, name, build)
        return self._checked(await self._work.join(f"build {tag} {definition}", start, progress), tag)

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
        if not self._knows_architecture:
            self._architecture = (await self._engine.info()).architecture
            self._knows_architecture = True
        image = await self._engine.image(ref)
        self._remember(key or ref, image, generation)
        return image

    def _remember(self, ref: str, image: Image | None, generation: int) -> None:
        """Note an answer to a question that was asked in that generation; news since then make it stale."""
        if image is None:
            self._entries.pop(ref, None)
        else:
            self._entries[ref] = _Entry(image, fresh=generation == self._generation)

    async def _pull(self, ref: str, progress: Progress) -> Image:
        progress.progress(f"pulling {ref}")
        await self._engine.pull(ref, progress)
        progress.note(f"pulled {ref}")
        return await self._fetched(ref, ref)

    async def _build(self, name: str, build: Build, progress: Progress) -> Image:
        tag = tag_of(name)
        progress.progress(f"building {tag}")
        recipe = await asyncio.to_thread(context.read, build)
        archive = context.Archive(recipe)
        try:
            image_id = await self._engine.build(
                archive,
                dockerfile=recipe.dockerfile,
                target=build.target,
                args=dict(build.args),
                tag=tag,
                labels={TOOL_LABEL: name, BUILD_LABEL: definition_of(build)},
                progress=progress,
            )
        finally:
            await archive.close()
        progress.note(f"built {tag}")
        return await self._fetched(image_id, tag)

    async def _fetched(self, ref: str, key: str) -> Image:
        """Look at what was just made, and remember it under `key`."""
        image = await self._inspect(ref, key)
        if image is None:
            raise ImageMissing(f"image {key} was removed as soon as it was there", "try again")
        return image
