"""Follows the files of all projects that are looked after: the one owner of what is watched for them.

Made by `app`. A project is looked at when its files have changed, when one of its services has changed its state, and
once when it comes. While the engine is away it is tried again now and then.
"""

import asyncio
from contextlib import suppress
from functools import partial

from dxd.compose.compose import Compose
from dxd.compose.model import Project
from dxd.develop.follower import Follower
from dxd.engine.supervised import Supervised
from dxd.errors import EngineTrouble
from dxd.images.identity import Memory
from dxd.kit.hub import Hub
from dxd.kit.tasks import Tasks
from dxd.services.services import Services
from dxd.store.service_images import ServiceImages
from dxd.telemetry import get_logger
from dxd.watch.model import Problem as Unwatched
from dxd.watch.watcher import Watcher

AGAIN_S = 2.0
"""After the engine would not do what was asked of it."""
COMES_S = 1.0
"""How often it is seen which projects there are."""

log = get_logger("develop")


class Develop:
    """All of them."""

    def __init__(
        self, *, services: Services, compose: Compose, containers: Supervised, images: ServiceImages, hub: Hub
    ) -> None:
        self._services = services
        self._compose = compose
        self._containers = containers
        self._images = images
        self._hub = hub
        self._memory = Memory()
        self._building = asyncio.Lock()
        self._watcher = Watcher(self.wake)
        self._tasks = Tasks(lambda name, error: log.error("task failed", task=name, exc_info=error))
        self._followers: dict[str, Follower] = {}
        self._wakes: dict[str, asyncio.Event] = {}
        self._jobs: dict[str, asyncio.Task[None]] = {}
        self._taking_up = asyncio.Lock()

    def wake(self, name: str) -> None:
        """Something of that project may be another than it was."""
        if name in self._wakes:
            self._wakes[name].set()

    async def note(self, project: Project) -> None:
        """Containers of it are about to be made; what its files are now is what those begin with."""
        await self._take_up()
        if (follower := self._followers.get(project.name)) is not None:
            await follower.note(project)

    def unwatched(self) -> list[Unwatched]:
        """What is looked at again and again, because nobody tells of changes."""
        return self._watcher.problems()

    async def keep(self) -> None:
        """Follow every project that is there; an eternal job."""
        async with self._hub.subscribe() as news:
            while True:
                await self._take_up()
                with suppress(TimeoutError):
                    async with asyncio.timeout(COMES_S):
                        event = await news.get()
                        if event.kind == "service.changed":
                            self.wake(str(event.fields.get("project")))

    async def close(self) -> None:
        """Follow nothing any more; an exchange that goes on is taken back."""
        await self._tasks.close()
        await self._watcher.close()

    async def _take_up(self) -> None:
        async with self._taking_up:
            await self._take_up_all()

    async def _take_up_all(self) -> None:
        there = self._services.followed()
        for name, follower in list(self._followers.items()):
            if there.get(name) is not follower.supervisor:
                del self._followers[name], self._wakes[name]
                job = self._jobs.pop(name)
                job.cancel()
                await asyncio.wait({job})
                self._watcher.drop(name)
        for name, supervisor in there.items():
            if name not in self._followers:
                wake = self._wakes[name] = asyncio.Event()
                wake.set()
                follower = self._followers[name] = Follower(
                    name,
                    supervisor,
                    services=self._services,
                    compose=self._compose,
                    containers=self._containers,
                    watcher=self._watcher,
                    images=self._images,
                    memory=self._memory,
                    building=self._building,
                    hub=self._hub,
                    again=partial(_wake_in, wake),
                )
                self._jobs[name] = self._tasks.start(self._follow(follower, wake), name=f"follow {name}")

    async def _follow(self, follower: Follower, wake: asyncio.Event) -> None:
        logged = ""
        while True:
            await wake.wait()
            wake.clear()
            try:
                await follower.look()
                logged = ""
            except EngineTrouble as error:
                if error.line() != logged:
                    logged = error.line()
                    log.info("project is not followed", project=follower.name, reason=logged)
                asyncio.get_running_loop().call_later(AGAIN_S, wake.set)
            except Exception:
                # Whatever it is, it must not end the following of the project.
                log.exception("project is not followed", project=follower.name)
                asyncio.get_running_loop().call_later(AGAIN_S * 5, wake.set)


def _wake_in(wake: asyncio.Event, seconds: float) -> None:
    asyncio.get_running_loop().call_later(seconds, wake.set)
