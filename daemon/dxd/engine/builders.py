"""Who builds: docker buildx where the user has it, else the engine itself (docs/decisions/0020-who-builds.md).

Used by `Engine` alone.
"""

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from dxd.engine.model import ImageId
from dxd.engine.reach import Reach
from dxd.kit.progress import Progress

if TYPE_CHECKING:
    from dxd.engine.build import BuildRequest
    from dxd.engine.buildx import Buildx
    from dxd.engine.connection import Connection


class Builders:
    """All that there are, for the engine that is reached."""

    def __init__(self, reach: Reach, environ: Mapping[str, str], directory: Path | None) -> None:
        """`directory` is for files of a moment; None is that for temporary ones."""
        self._reach = reach
        self._environ = environ
        self._directory = directory
        self._found: tuple[object, Buildx | None] | None = None
        """Of which engine and programs, and the plugin, which there may not be."""

    async def build(self, context: AsyncIterator[bytes], request: "BuildRequest", progress: Progress) -> ImageId:
        """Carry it out, by the first that can; raises `BuildFailed`, and what `context` raises, as it is."""
        from dxd.engine.build import build  # noqa: PLC0415 - brings aiodocker

        async with self._reach.deadline():
            connection = await self._reach.found()
        buildx = None if request.classic else await self._buildx(connection)
        with self._reach.noting():
            if buildx is not None:
                return await buildx.build(connection, context, request, progress)
            return await build(connection, context, request, progress)

    async def _buildx(self, connection: "Connection") -> "Buildx | None":
        """The plugin, if it builds with this engine; asked anew only where the engine or the plugin is another."""
        from dxd.engine import buildx  # noqa: PLC0415 - brings aiodocker

        now = (connection.address, connection.version, *buildx.candidates(self._environ, Path.home()))
        if self._found is None or self._found[0] != now:
            found = await buildx.find(connection.address, self._environ, Path.home(), self._directory)
            self._found = (now, found)
        return self._found[1]
