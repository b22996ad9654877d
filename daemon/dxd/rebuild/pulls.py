"""The images of tools that are not built: which one runs take, and those before it.

Each one that dx pulled is a row of history. When its tag moves on it gets a name of the daemon's own, for as long as it
is kept, so that the engine does not count it as left over. Going back to one gives it one more, as with builds; runs
look for that first, in memory.
"""

import time
from collections.abc import Callable, Mapping, Sequence

from dxd.engine import reference
from dxd.engine.docker import Engine
from dxd.engine.model import HeldImage, Image, ImageId
from dxd.errors import Conflict, ImageTrouble, NotFound, Refused
from dxd.images.images import Images
from dxd.kit.progress import Progress
from dxd.rebuild.names import Names
from dxd.rebuild.pins import Pins
from dxd.store.builds import Builds
from dxd.store.model import Build, BuildId, Result
from dxd.tools.model import Tool


class Pulls:
    """Keeps what was pulled; has no state of its own."""

    def __init__(
        self, *, engine: Engine, images: Images, builds: Builds, names: Names, pins: Pins,
        retire: Callable[[ImageId], None],
    ) -> None:  # fmt: skip
        """`retire` is told of an image that runs of a tool take no more."""
        self._engine = engine
        self._images = images
        self._builds = builds
        self._names = names
        self._pins = pins
        self._retire = retire

    async def resolve(self, tool: Tool | str, progress: Progress, *, asked_by: str) -> Image:
        """The image that a run of a tool takes, or that of a name, pulled where it is missing.

        Raises as `Images.resolve` and `Pins.image`.
        """
        if isinstance(tool, str):
            return await self._images.resolve(tool, progress)
        ref = await self._pins.image(tool)
        if ref == tool.image and (held := await self.held(tool)) is not None:
            return held
        found = await self._images.find(ref)
        if found is not None:
            return found
        held_before = {digest for each in await self._engine.images({}) for digest in each.digests}
        begun = time.monotonic()
        image = await self._images.resolve(ref, progress)
        if not self._pins.is_choice(tool):
            seconds, fetched = time.monotonic() - begun, held_before.isdisjoint(image.digests)
            await self.note(
                tool, ref, image, cause="it was not there", asked_by=asked_by, seconds=seconds, fetched=fetched
            )
        return image

    async def held(self, tool: Tool) -> Image | None:
        """The image that somebody went back to, which runs take whatever the tag means; none of a run's own choice."""
        image = await self._images.marked(self._names.pinned(tool.name))
        return None if image is None or self._pins.is_choice(tool) else image

    async def current(self, tool: Tool) -> ImageId | None:
        """Which image runs take now; nothing is pulled. Raises `EngineTrouble`."""
        try:
            ref = await self._pins.image(tool)
            image = (await self.held(tool) if ref == tool.image else None) or await self._images.find(ref)
        except (ImageTrouble, Refused):  # it has none to take
            return None
        return None if image is None else image.id

    async def note(
        self, tool: Tool, ref: str, image: Image, *, cause: str, asked_by: str, seconds: float | None = None,
        fetched: bool = False,
    ) -> None:  # fmt: skip
        """Remember what a tool's name means, if it came from a registry.

        `fetched` is that nobody had it here before: then it goes for good when it is kept no more.
        """
        name = reference.parse(ref)
        digest = reference.digest_in(image.digests, name) if name is not None else None
        if name is not None and digest is not None:
            await self._builds.pulled(
                tool.name, digest, image.id, cause=cause, asked_by=asked_by, seconds=seconds,
                fetched=name.at(digest) if fetched else "",
            )  # fmt: skip

    async def keep(self, tool: Tool, ref: str, image: Image) -> None:
        """The name is about to mean another one: have the engine keep this."""
        await self.note(tool, ref, image, cause="it was there", asked_by="upgrade")
        name = reference.parse(ref)
        if name is not None and (digest := reference.digest_in(image.digests, name)) is not None:
            await self._engine.tag(image.id, self._names.kept(tool.name, digest))

    async def go_back(self, tool: Tool, build: BuildId | None, held: dict[str, HeldImage]) -> Build:
        """Have runs take an older one, the one before where none is named, and stay with it."""
        assert tool.image is not None
        if await self._pins.image(tool) != tool.image:
            raise Conflict(f"{tool.name} is locked", f"lock it to another image, or remove {tool.word} from dx.lock")
        good = [each for each in await self._builds.all(tool.name) if _could_serve(each, held)]
        now = await self.current(tool)
        if build is None:
            at = next((index for index, each in enumerate(good) if each.image_id == now), -1)
            found = good[at + 1] if at + 1 < len(good) else None
            if found is None:
                raise NotFound(f"{tool.name} has no image before this one", f"see: dx builds {tool.name}")
        else:
            found = next((each for each in good if each.id == build), None)
            if found is None:
                raise NotFound(f"{tool.name} has no image {build} that could serve", f"see: dx builds {tool.name}")
        image = await self._images.inspect(ImageId(found.image_id or ""))
        mark = self._names.pinned(tool.name)
        await self._engine.tag(image.id, mark)
        self._images.named(mark, image)
        if now is not None and now != image.id:
            self._retire(now)
        return found

    async def unpin(self, tool: Tool) -> None:
        """Have runs take what the tag means again; nothing where they do."""
        mark = self._names.pinned(tool.name)
        held = await self._images.marked(mark)
        await self._engine.remove_image(mark)
        self._images.unnamed(mark)
        if held is not None:
            self._retire(held.id)

    async def fetched(self) -> dict[BuildId, str]:
        """The names by which images came that nobody had before; ask before history forgets them."""
        return {
            each.id: (await self._builds.parts(each.id)).decode() for each in await self._builds.all() if each.is_pulled
        }

    async def let_go(self, gone: Sequence[Build], fetched: Mapping[BuildId, str], tools: Sequence[Tool]) -> int:
        """Take the names away by which images are kept that history has forgotten; how many images went with them.

        `gone` are those that it forgot just now, `fetched` the names by which they came. An image with another name
        stays, and so does one that a container has.
        """
        rows = await self._builds.all()
        known = {each.image_id for each in rows}
        wanted = {self._names.kept(each.tool, each.digest) for each in rows if each.is_pulled}
        wanted |= {self._names.pinned(each.name) for each in tools}
        taken: set[ImageId] = set()  # what lost a name by this: others remove images, too
        for image in await self._engine.images({}):
            for tag in image.tags:
                is_over = self._names.is_kept(tag) or (self._names.is_pin(tag) and image.id not in known)
                if is_over and tag not in wanted:
                    await self._engine.remove_image(tag)
                    taken.add(image.id)
        held = {each.id: each for each in await self._engine.images({})}
        for build in gone:
            left = held.get(ImageId(build.image_id or ""))
            if left is not None and not left.tags and _is_only(left.digests, fetched.get(build.id, "")):
                await self._engine.remove_image(fetched[build.id])
                taken.add(left.id)
        return len(taken - {each.id for each in await self._engine.images({})})


def _is_only(digests: Sequence[str], name: str) -> bool:
    """Whether that is the one name that is left of an image."""
    parsed = reference.parse(name) if name else None
    return parsed is not None and len(digests) == 1 and reference.digest_in(digests, parsed) == parsed.tag


def _could_serve(build: Build, held: dict[str, HeldImage]) -> bool:
    return build.is_pulled and build.result is Result.GOOD and build.image_id in held
