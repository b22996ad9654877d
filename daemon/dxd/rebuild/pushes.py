"""Publishing a tool: an image of its own one's layers that says in its labels how it is run, sent to a registry.

The image is there only for the push, under the name that it has at the registry, because the engine pushes nothing
that has no name. What that name meant before it means again afterwards. A note in `directory` says what is under way,
so that what a killed daemon has left is put in order by the next push or `dx prune`. `Pushes` owns the notes.
"""

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from dxd.engine import reference
from dxd.engine.docker import Engine
from dxd.engine.model import Image, ImageId
from dxd.errors import DxError, Refused
from dxd.kit import atomic
from dxd.kit.progress import Progress
from dxd.tools import labels as words
from dxd.tools import whalebrew
from dxd.tools.model import Tool
from dxd.trust.tools import Tools

PUSH_LABEL = "dev.dx.push"
"""On an image that was made to be pushed: by which daemon."""
MAX_NOTE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Pushed:
    """What the registry has now."""

    ref: str
    digest: str


@dataclass(frozen=True, slots=True)
class Note:
    """A push that is under way, or was when the daemon ended."""

    ref: str
    before: str | None
    """The image that had the name here."""
    made: str | None = None
    """The image that is pushed, once it is there."""
    there: tuple[str, ...] = ()
    """Images with the label of pushes that were there before: pushed ones, and what somebody built on them."""


Resolve = Callable[[Tool, Progress], Awaitable[Image]]
"""The image that the tool's runs take."""


class Pushes:
    """Publishes tools."""

    def __init__(self, *, engine: Engine, tools: Tools, resolve: Resolve, instance: str, directory: Path) -> None:
        self._engine = engine
        self._tools = tools
        self._resolve = resolve
        self._instance = instance
        self._directory = directory
        self._turn = asyncio.Lock()
        self._running: set[str] = set()

    async def push(self, name: str, to: str, wanted: Mapping[str, str], progress: Progress) -> Pushed:
        """Push the tool's image with these labels and no others that describe a tool.

        Raises `UnknownTool`, `BadDefinition` where a label is wrong, `Refused` where the name is, or another push to it
        goes on, `PushFailed`, and what its image cannot be had for. Cancelling it ends the push.
        """
        target = reference.parse(to)
        if target is None or target.is_digest:
            raise Refused(f"no registry can take an image called {to!r}", "write it like ghcr.io/team/tool:1")
        ref = f"{target.repository}:{target.tag}"
        tool = self._tools.get(name)
        words.complete(wanted, {}, ())  # before anything is pulled or built for it
        image = await self._resolve(tool, progress)
        every = words.complete(wanted, image.labels, whalebrew.read_labels(image.labels).table)
        await self.sweep()
        if ref in self._running:
            raise Refused(f"{ref} is being pushed already", "wait until that has ended")
        self._running.add(ref)
        try:
            return await self._pushed(ref, image, every, progress)
        finally:
            self._running.discard(ref)

    async def sweep(self) -> int:
        """Put in order what pushes have left that did not end; how many images that removed. Raises `EngineTrouble`."""
        removed = 0
        async with self._turn:
            for note in await asyncio.to_thread(self._notes):
                if note.ref not in self._running:
                    removed += await self._clear(note)
        return removed

    async def _pushed(self, ref: str, image: Image, every: Mapping[str, str], progress: Progress) -> Pushed:
        made_here = {PUSH_LABEL: self._instance}
        note = Note(ref, None)
        try:
            # Two pushes of one tool share the image: it has a name before another's end could take it away.
            async with self._turn:
                before = await self._engine.image(ref)
                ours = await self._engine.images(made_here)
                held = {each.id for each in ours if (set(each.tags) - self._running if each.tags else each.digests)}
                note = Note(ref, before.id if before else None, there=tuple(each.id for each in ours))
                await asyncio.to_thread(self._write, note)
                progress.progress(f"labelling {ref}")
                made = await self._engine.relabel(image.id, {**every, **made_here})
                # With an image's last tag the engine drops its digests of that repository: what somebody pulled by its
                # digest would be gone. Then the name stays.
                note = replace(note, made=made, before=made if before is None and made in held else note.before)
                await asyncio.to_thread(self._write, note)
                await self._engine.tag(made, ref)
            return Pushed(ref, await self._engine.push(ref, progress))
        finally:
            # Also where Ctrl-C has ended it; what the engine does not do now, the next sweep has it do.
            with suppress(DxError):
                await asyncio.shield(self._ended(note))

    async def _ended(self, note: Note) -> None:
        async with self._turn:
            await self._clear(note)

    async def _clear(self, note: Note) -> int:
        """Have the name mean what it did, and the image gone; how many that removed."""
        removed = 0
        now = await self._engine.image(note.ref)
        if now is not None and now.id == note.made != note.before:
            if note.before is None:
                removed += await self._engine.remove_image(note.ref)  # and with its last name the image
            else:
                await self._engine.tag(ImageId(note.before), note.ref)
        left = await self._engine.images({PUSH_LABEL: self._instance})
        for each in left:
            # One that was built and not noted has no name of any kind; what came back from a registry has its digest's.
            is_new = note.made is None and each.id not in note.there
            is_nobodys = is_new and not each.tags and not each.digests and not self._running - {note.ref}
            if (each.id == note.made != note.before and not each.tags) or is_nobodys:
                removed += await self._engine.remove_image(each.id)
        await asyncio.to_thread(self._file(note.ref).unlink, missing_ok=True)
        return removed

    def _file(self, ref: str) -> Path:
        return self._directory / f"{hashlib.sha256(ref.encode()).hexdigest()[:16]}.json"

    def _write(self, note: Note) -> None:
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            atomic.write(self._file(note.ref), json.dumps(asdict(note)).encode())
        except OSError as error:
            raise Refused(f"{self._directory}: cannot be written: {error.strerror}", "nothing was pushed") from error

    def _notes(self) -> list[Note]:
        """Those that are there; one that cannot be read is of no use to anybody."""
        found = []
        for file in sorted(self._directory.glob("*.json")):
            try:
                content, _ = atomic.read(file, limit_bytes=MAX_NOTE_BYTES)
                found.append(Note(**json.loads(content)))
            except (OSError, ValueError, TypeError):
                file.unlink(missing_ok=True)
        return found
