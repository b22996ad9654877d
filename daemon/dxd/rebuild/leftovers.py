"""What builds that were broken off left in the engine: images that never got a name, and containers of what does not
serve: one that was tried when its daemon was killed, or one of the build before.

An engine may finish a build just after nobody wanted it any more, and nobody waits for one whose daemon was killed. So
after each such end it is looked for more than once. `Rebuilds` and
`Builder` say when; `Rebuilds` sweeps.
"""

from collections.abc import Callable, Collection

from dxd.engine.docker import Engine
from dxd.engine.model import ImageId
from dxd.images.images import BUILD_LABEL, BUILDER_LABEL, TOOL_LABEL
from dxd.rebuild.names import Names
from dxd.rebuild.ownership import of_this_daemon
from dxd.store.builds import Builds
from dxd.store.model import Result

ROUNDS = 5
"""How often it is looked for after each build that was broken off."""


class Leftovers:
    """Removes the images of this daemon's builds that have neither a name nor a place in history."""

    def __init__(
        self, *, engine: Engine, builds: Builds, names: Names, replace: Callable[[ImageId], None],
        building: Callable[[], Collection[str]],
    ) -> None:  # fmt: skip
        """`replace` has containers of an image go; `building` are the digests of the builds that go on."""
        self._engine = engine
        self._builds = builds
        self._names = names
        self._replace = replace
        self._building = building
        self._rounds = 0

    def expect(self) -> None:
        """There may be some now, or soon."""
        self._rounds = ROUNDS

    async def sweep(self) -> None:
        """Remove what there is, where some is expected; what a container still has stays. Raises `EngineTrouble`."""
        if not self._rounds:
            return
        held = await self._engine.images({BUILDER_LABEL: self._names.instance, BUILD_LABEL: ""})
        builds = await self._builds.all()  # after that, so that it knows what was built meanwhile
        good = {each.image_id for each in builds if each.result is Result.GOOD}
        for image in of_this_daemon(held, builds, self._names).values():
            # Asked anew for each: one that is built just now may turn out to be the same image.
            serves = self._names.holders(image.labels[TOOL_LABEL], image.tags)
            if serves or image.labels[BUILD_LABEL] in self._building():
                continue
            self._replace(image.id)
            if not image.tags and image.id not in good:
                await self._engine.remove_image(image.id)
        self._rounds -= 1
