"""The project around a run: which one it is, its network, and its services ready. What `runs` knows of services.

Made by `app`, called for each run on a project's network. Owns nothing. Raises `UnknownProject`, `NotFound`, and what
`Services` raises.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from dxd.compose import files
from dxd.compose.model import Source
from dxd.errors import UnknownProject
from dxd.kit.progress import Progress
from dxd.services import waking
from dxd.services.model import ProjectView
from dxd.services.networks import ProjectNetworks
from dxd.services.services import Services
from dxd.services.uses import Uses


class Neighbours:
    """See `runs.neighbours`."""

    def __init__(self, *, services: Services, networks: ProjectNetworks, uses: Uses) -> None:
        self._services = services
        self._uses = uses
        self._networks = networks

    async def network(self, cwd: str, name: str) -> str:
        """The engine's name of the project's network; of a project that only Compose knows, too."""
        directory, view = await self._around(cwd)
        if view is not None:
            return await self._networks.find(view.name, name)
        project = None if directory is None else await self._networks.project_at(str(directory))
        if project is None:
            where = f"there is no compose file in {cwd} or above it" if directory is None else f"{directory} is not up"
            raise UnknownProject(f"no network of a project: {where}", "run: dx up" if directory else "run it elsewhere")
        return await self._networks.find(project, name)

    def on(self, network: str) -> Callable[[], None]:
        """A run is on that network."""
        return self._uses.begin_on(network)

    async def wake(
        self, cwd: str, needs: Sequence[str], progress: Progress, *, made: Collection[str], environ: Mapping[str, str]
    ) -> Callable[[], None]:
        """Return when the services are ready or done; they are in use until the answer is called."""
        directory, view = await self._around(cwd)
        if view is None and not set(needs) <= set(made):
            raise UnknownProject(f"no project is known for {directory or cwd}", "begin one there: dx up")
        source = Source(Path(cwd), environ=environ)
        if view is not None:
            source = Source(Path(view.directory), view.files, view.name, view.profiles, environ)
        end = self._uses.begin(view.name, needs) if view is not None else None
        try:
            view = await waking.wake(self._services, view, source, needs, progress, made=made)
        except BaseException:
            if end is not None:
                end()
            raise
        return end or self._uses.begin(view.name, needs)

    async def _around(self, cwd: str) -> tuple[Path | None, ProjectView | None]:
        """The directory of the nearest compose file, and the project that is known for it or for one below it."""
        directory = await asyncio.to_thread(files.directory_of, Path(cwd), (), {})
        try:
            view = await self._services.find(None, cwd)
        except UnknownProject:
            return directory, None
        if directory is None or Path(view.directory).is_relative_to(directory):
            return directory, view
        return directory, None
