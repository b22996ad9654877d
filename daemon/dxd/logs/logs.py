"""What services print: the one owner of the files, of who is followed, and of what readers are told.

    logs = Logs(engine=engine, directory=state_dir / "logs", max_bytes=settings.log_bytes)
    logs.follow(ServiceId("shop", "web"), Instance(container_id, "shop-web-1"))    # whenever one is seen or started
    async for entries in await logs.read(Query((ServiceId("shop", "web"),), follow=True)): ...

Files are written in one thread, and read in others. A full disk holds up who is followed, nobody else: the engine has
the rest in its own files meanwhile. Nothing here raises because of the disk but `read`, and `NotFound`.
"""

import asyncio
import errno
import shutil
import time
from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

from dxd.engine.docker import Engine
from dxd.engine.model import ContainerId
from dxd.errors import NotFound
from dxd.kit.nearest import did_you_mean
from dxd.kit.tasks import Tasks
from dxd.logs.capture import Capture, Into
from dxd.logs.keeper import Keeper
from dxd.logs.model import Instance, Mark, Progress, Query, ServiceId, Unkept, stamp_of
from dxd.logs.policy import COMPRESS_AFTER_S
from dxd.logs.segment import numbers_in
from dxd.logs.weave import Entry, Weave
from dxd.telemetry import get_logger

T = TypeVar("T")

RETRY_S = 1.0
"""How long a full disk is left alone."""

log = get_logger("logs")


@dataclass(slots=True)
class _Service:
    """One service, as far as it was asked for."""

    keeper: Keeper
    opened: bool = False
    unkept: Unkept | None = None
    readers: set[asyncio.Event] = field(default_factory=set)
    tidying: asyncio.TimerHandle | None = None


@dataclass(slots=True)
class _Followed:
    service: ServiceId
    capture: Capture
    task: "asyncio.Task[None]"


class Logs:
    """Made inside the loop or before it; `close` it in there."""

    def __init__(
        self, *, engine: Engine, directory: Path, max_bytes: int, clock_ns: Callable[[], int] = time.time_ns
    ) -> None:
        """`max_bytes` is of each service, on the disk."""
        self._engine = engine
        self._directory = directory
        self._max_bytes = max_bytes
        self._clock_ns = clock_ns
        self._services: dict[ServiceId, _Service] = {}
        self._expecting: set[asyncio.Event] = set()
        """Of readers who want services that are not there yet."""
        self._followed: dict[ContainerId, _Followed] = {}
        self._tasks = Tasks(lambda name, error: log.error("a follower failed", task=name, exc_info=error))
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="logs")

    def follow(self, service: ServiceId, instance: Instance) -> None:
        """Keep what this container prints and has printed, until it is gone or stopped.

        To be called for each container that is there when the daemon starts, and for each that is started; calling it
        once more is fine. Raises `BadName`.
        """
        if followed := self._followed.get(instance.container):
            followed.capture.poke()
            return
        of = self._known(service)
        into = Into(
            append=partial(self._append, service), mark=partial(self._mark, service), progress=of.keeper.progress
        )
        capture = Capture(self._engine, instance, into)
        task = self._tasks.start(self._capture(service, instance, capture), name=f"output of {instance.name}")
        self._followed[instance.container] = _Followed(service, capture, task)

    def followed(self) -> frozenset[ContainerId]:
        """The containers that are followed now."""
        return frozenset(self._followed)

    def unkept(self) -> dict[ServiceId, Unkept]:
        """Whose output is not kept for now, because of the disk."""
        return {service: of.unkept for service, of in self._services.items() if of.unkept}

    def kept(self, project: str) -> list[ServiceId]:
        """The services of a project that something is kept of, by name; looks at the disk."""
        try:
            found = sorted(each.name for each in (self._directory / project).iterdir())
        except (FileNotFoundError, NotADirectoryError):
            return []
        return [ServiceId(project, each) for each in found]

    def projects(self) -> list[str]:
        """The projects that something is kept of; looks at the disk."""
        try:
            return sorted(each.name for each in self._directory.iterdir())
        except FileNotFoundError:
            return []

    async def find(self, project: str, services: Sequence[str]) -> list[ServiceId]:
        """These services of a project, or all that something is kept of or that are followed; raises `NotFound`."""
        kept = await asyncio.to_thread(self.kept, ServiceId(project, "_").check().project)
        known = sorted({*kept, *(each for each in self._services if each.project == project)}, key=_name)
        names = [each.service for each in known]
        if not known:
            raise NotFound(f"nothing is kept of a project {project}", did_you_mean(project, self.projects()))
        for each in services:
            if each not in names:
                raise NotFound(
                    f"nothing is kept of a service {each} of {project}",
                    did_you_mean(each, names) or f"there are {', '.join(names)}",
                )
        return [each for each in known if not services or each.service in services]

    async def read(self, query: Query) -> AsyncGenerator[list[Entry], None]:
        """The lines and marks that the query asks for, in the order of their times; to be closed by the caller.

        A reader that is slow slows nobody: it reads what is on the disk, and where that was removed meanwhile it gets a
        mark of it. Raises `NotFound` for a service of which nothing is kept, and before the first line.
        """
        keepers: dict[ServiceId, Keeper] = {}
        for service in query.services:
            if service not in self._services and not numbers_in(self._path(service)):
                raise NotFound(
                    f"nothing is kept of the service {service.service} of {service.project}", "was it started by dx?"
                )
            keepers[service] = (await self._opened(service)).keeper
        return self._read(query, keepers)

    async def _read(self, query: Query, keepers: dict[ServiceId, Keeper]) -> AsyncGenerator[list[Entry], None]:
        rung = asyncio.Event()
        services = {service: self._services[service] for service in query.services}
        for of in services.values():
            of.readers.add(rung)
        if query.rest_of:
            self._expecting.add(rung)
        weave: Weave | None = None
        try:
            weave = await _in_thread(partial(Weave, keepers, query, clock_ns=self._clock_ns))
            while True:
                rung.clear()
                entries, wait_s = await _in_thread(weave.pull)
                if entries:
                    yield entries
                if wait_s == 0:
                    continue
                if wait_s is None and self._is_over(query):
                    return
                await self._wait(rung, query, wait_s)
                if any(self._services.get(service) is not of for service, of in services.items()):
                    return  # the project was forgotten
                for service in self._new(query, services):
                    of = services[service] = await self._opened(service)
                    of.readers.add(rung)
                    await _in_thread(partial(weave.add, service, of.keeper))
                weave.again()
        finally:
            self._expecting.discard(rung)
            for of in services.values():
                of.readers.discard(rung)
            if weave:
                weave.close()

    def _new(self, query: Query, known: Collection[ServiceId]) -> list[ServiceId]:
        return [each for each in self._services if each.project == query.rest_of and each not in known]

    async def forget(self, project: str) -> None:
        """Follow nothing of the project any more, and remove what is kept of it."""
        gone = [each for each in self._followed.values() if each.service.project == project]
        for each in gone:
            each.task.cancel()
        if gone:
            await asyncio.wait([each.task for each in gone])
        for service in [each for each in self._services if each.project == project]:
            of = self._services.pop(service)
            if of.tidying:
                of.tidying.cancel()
            await self._run(of.keeper.close)
            for reader in of.readers:
                reader.set()
        await self._run(partial(shutil.rmtree, self._path(ServiceId(project, "_")).parent, ignore_errors=True))

    async def close(self) -> None:
        """Follow nothing any more, and close the files."""
        await self._tasks.close()
        for each in self._services.values():
            if each.tidying:
                each.tidying.cancel()
            await self._run(each.keeper.close)
        self._writer.shutdown()

    async def _capture(self, service: ServiceId, instance: Instance, capture: Capture) -> None:
        try:
            await self._opened(service)
            if not await capture.run():
                self._known(service).keeper.forget(instance.container)
        finally:
            del self._followed[instance.container]

    async def _append(self, service: ServiceId, instance: Instance, frames: list[bytes], progress: Progress) -> bool:
        of = self._known(service)
        number = of.keeper.end.number
        at_once = await self._persist(service, partial(of.keeper.append, instance, frames, progress))
        if of.keeper.end.number != number and of.tidying is None:
            self._tidy_later(of, COMPRESS_AFTER_S)
        return at_once

    async def _mark(self, service: ServiceId, mark: Mark) -> None:
        await self._persist(service, partial(self._known(service).keeper.mark, mark))

    async def _persist(self, service: ServiceId, job: Callable[[], None]) -> bool:
        """Write, as soon as the disk takes it; whether it did at once."""
        of, at_once = self._known(service), True
        while True:
            try:
                await self._run(job)
                break
            except OSError as error:
                at_once = False
                if not of.unkept:
                    log.warning(
                        "output is not kept for now", service=f"{service.project}/{service.service}", reason=str(error)
                    )
                of.unkept = self._why_not(error)
                await asyncio.sleep(RETRY_S)
        if of.unkept:
            of.unkept = None
            log.info("output is kept again", service=f"{service.project}/{service.service}")
        for each in of.readers:
            each.set()
        return at_once

    def _why_not(self, error: OSError) -> Unkept:
        full = error.errno in {errno.ENOSPC, errno.EDQUOT}
        reason = f"its output is not kept: {error.strerror or error}"
        return Unkept(reason, f"{'make room in' if full else 'see to'} {self._directory}")

    async def _opened(self, service: ServiceId) -> _Service:
        of = self._known(service)
        if not of.opened:
            await self._persist(service, partial(self._open, of))
            for instance in await self._run(of.keeper.untold):  # they may have been removed while nobody looked
                self.follow(service, instance)
        return of

    def _open(self, of: _Service) -> None:
        """In the thread."""
        if not of.opened:
            of.keeper.open()
            of.opened = True

    def _known(self, service: ServiceId) -> _Service:
        if (of := self._services.get(service)) is None:
            of = self._services[service] = _Service(Keeper(self._path(service), max_bytes=self._max_bytes))
            for each in self._expecting:
                each.set()
        return of

    def _path(self, service: ServiceId) -> Path:
        service.check()
        return self._directory / service.project / service.service

    def _tidy_later(self, of: _Service, after_s: float) -> None:
        loop = asyncio.get_running_loop()
        of.tidying = loop.call_later(after_s, lambda: self._tasks.spawn(self._tidy(of), name="old output"))

    async def _tidy(self, of: _Service) -> None:
        of.tidying = None
        try:
            again_s = await self._run(of.keeper.tidy)
        except OSError as error:
            log.warning("old output is not compressed", directory=str(of.keeper.directory), reason=str(error))
            return
        if again_s is not None and of.tidying is None:
            self._tidy_later(of, max(again_s, 1.0))

    def _is_over(self, query: Query) -> bool:
        return not query.follow or (query.until is not None and query.until < stamp_of(self._clock_ns()))

    async def _wait(self, rung: asyncio.Event, query: Query, wait_s: float | None) -> None:
        """Until there may be more to tell."""
        if wait_s is None and query.until is not None:
            wait_s = 1.0
        try:
            async with asyncio.timeout(wait_s):
                await rung.wait()
        except TimeoutError:
            pass

    async def _run(self, job: Callable[[], T]) -> T:
        """In the thread that writes; it is done even where the caller is cancelled."""
        return await asyncio.shield(asyncio.wrap_future(self._writer.submit(job)))


def _name(service: ServiceId) -> str:
    return service.service


async def _in_thread(job: Callable[[], T]) -> T:
    """In a thread of its own; a caller that is cancelled waits for it, since what it works on is closed then."""
    doing = asyncio.ensure_future(asyncio.to_thread(job))
    try:
        return await asyncio.shield(doing)
    except asyncio.CancelledError:
        await asyncio.wait({doing})
        raise
