"""Containers that somebody else made and dx looks after: seen in detail, stopped in their own time, tested.

Used by `services`. Holds nothing: the engine's state is in the engine. Raises what `Engine` raises; a container that is
gone is None, or `NotFound` where something was to be done with it.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from dxd.engine import raw
from dxd.engine.answer import Answer
from dxd.engine.docker import Engine
from dxd.engine.model import ContainerId, ExecId, ImageId, Inspected
from dxd.errors import Conflict, EngineTrouble, NotFound

if TYPE_CHECKING:
    from dxd.engine.connection import Connection

ANEW_S = 2.0
"""An engine that takes longer to answer a new connection is about to stop."""
MAX_PRINTED_BYTES = 4096
TIMED_OUT = -1
"""The status of a test that did not end in time; no program has it."""


class Supervised:
    """What supervision needs of the engine, besides what `Engine` has for everybody."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._reach = engine.reach

    async def ids(self, labels: Mapping[str, str]) -> list[ContainerId]:
        """Every container, running or not, that has all these labels; an empty value stands for any."""
        return [each.id for each in await self._engine.containers(labels)]

    async def inspect(self, container: ContainerId) -> Inspected | None:
        """One container; None where there is none."""
        try:
            async with self._reach.deadline():
                connection = await self._reach.found()
                with self._reach.noting():
                    return raw.inspected(await connection.get(f"containers/{container}/json", {}))
        except Answer as answer:
            if answer.status == 404:
                return None
            raise

    async def start(self, container: ContainerId) -> None:
        """Start it, as `Engine.start` does."""
        await self._engine.start(container)

    async def stop(self, container: ContainerId, *, grace_s: float) -> bool:
        """Stop it by its own signal; after its own time, which is `grace_s`, the engine kills it. False if it did not
        run.
        """
        async with self._reach.deadline(grace_s + 30):
            connection = await self._reach.found()
            with self._reach.noting():
                return await self._told(f"containers/{container}/stop", None, connection)

    async def leave_to_dx(self, container: ContainerId) -> None:
        """Have the engine not start it by itself any more."""
        await self.set_restart(container, "no", None)

    async def set_restart(self, container: ContainerId, kind: str, attempts: int | None) -> None:
        """The engine's own policy for a container: what its labels, and the hash in them, do not show."""
        policy = {"Name": kind, "MaximumRetryCount": attempts or 0}
        async with self._reach.deadline():
            connection = await self._reach.found()
            with self._reach.noting():
                await self._told(f"containers/{container}/update", {"RestartPolicy": policy}, connection)

    async def test(
        self,
        container: Inspected,
        test: Sequence[str],
        *,
        deadline_s: float,
        began: Callable[[ExecId], None] = lambda _: None,
    ) -> tuple[int, str]:
        """Run a health check's test in it: status, 0 for good, and what it printed first.

        `TIMED_OUT` where it does not end in time: it goes on, since the engine ends no such program for anybody.
        `began` is told its id.
        """
        async with self._reach.deadline():
            connection = await self._reach.found()
        try:
            async with asyncio.timeout(deadline_s):  # the test's own: the engine is not to blame
                status, printed = await connection.run(
                    container.id,
                    words_of(container, test),
                    limit_bytes=MAX_PRINTED_BYTES,
                    began=lambda made: began(ExecId(made)),
                )
        except TimeoutError:
            return TIMED_OUT, f"did not end within {deadline_s:g} s"
        except Answer as answer:
            if _does_not_run(answer):
                raise NotFound(f"the container {container.name} is gone", "try again") from None
            raise
        return status, printed.decode(errors="replace").strip()

    async def program(self, made: ExecId) -> tuple[str, ...] | None:
        """The words of a program that runs in a container besides its own; None of one that has ended."""
        try:
            async with self._reach.deadline():
                connection = await self._reach.found()
                with self._reach.noting():
                    return raw.program(await connection.get(f"exec/{made}/json", {}))
        except Answer as answer:
            if answer.status == 404:
                return None
            raise

    async def logs(self, container: ContainerId, lines: int) -> str:
        """The last lines that it printed; empty where it is gone."""
        return await self._engine.logs(container, lines)

    async def remove(self, container: ContainerId) -> None:
        """Kill and remove it, as `Engine.remove` does."""
        await self._engine.remove(container)

    async def rename(self, container: ContainerId, name: str) -> None:
        """Give it another name, which names on its networks follow; raises `Conflict` where that is another's."""
        try:
            async with self._reach.deadline():
                connection = await self._reach.found()
                with self._reach.noting():
                    await connection.post_checked(f"containers/{container}/rename", {"name": name})
        except Answer as answer:
            if answer.status == 404:
                raise NotFound("the container is gone", "try again") from None
            if answer.status == 409:
                raise Conflict(f"there is a container {name} already", f"see: docker inspect {name}") from None
            raise

    async def image_id(self, ref: str) -> ImageId | None:
        """Which image a name means now; None where there is none."""
        image = await self._engine.image(ref)
        return None if image is None else image.id

    async def tag(self, image: ImageId, ref: str) -> None:
        """Have a name mean that image, as `Engine.tag` does."""
        await self._engine.tag(image, ref if ":" in ref.rpartition("/")[2] else f"{ref}:latest")

    async def forget_image(self, image: ImageId) -> None:
        """Remove an image that has no name and no container any more; others stay."""
        await self._engine.remove_image(image)

    async def put(self, container: ContainerId, archive: bytes, *, deadline_s: float) -> None:
        """Unpack a tar archive at its root; what is in it belongs to the container's user.

        Where the image has no passwd file that the user is in, it belongs to whom the archive says.
        """
        path = f"containers/{container}/archive"
        async with self._reach.deadline(deadline_s):
            connection = await self._reach.found()
            with self._reach.noting():
                try:
                    await connection.put(path, {"path": "/", "copyUIDGID": "1"}, archive)
                except Answer as answer:
                    if "unable to find" not in answer.reason:
                        raise
                    await connection.put(path, {"path": "/"}, archive)

    async def run(
        self,
        container: ContainerId,
        argv: Sequence[str],
        *,
        user: str = "",
        working_dir: str = "",
        environment: Sequence[str] = (),
        privileged: bool = False,
        deadline_s: float,
    ) -> tuple[int, str]:
        """Run a program in it: its status, and what it printed first; `TIMED_OUT` where it goes on after that.

        As the container's user, where its own programs run, with its environment, unless something else is said;
        `environment` is besides, `NAME=VALUE` each.
        """
        settings = {"User": user, "WorkingDir": working_dir, "Env": [*environment], "Privileged": privileged}
        async with self._reach.deadline():
            connection = await self._reach.found()
        try:
            async with asyncio.timeout(deadline_s):
                status, printed = await connection.run(container, argv, settings, limit_bytes=MAX_PRINTED_BYTES)
        except TimeoutError:
            return TIMED_OUT, f"did not end within {deadline_s:g} s"
        except Answer as answer:
            if _does_not_run(answer):
                raise NotFound("the container is gone", "try again") from None
            raise
        return status, printed.decode(errors="replace").strip()

    async def goes_on(self) -> bool:
        """Whether the engine is not about to stop."""
        try:
            async with asyncio.timeout(ANEW_S):
                return await (await self._reach.found()).answers_anew()
        except (EngineTrouble, TimeoutError):
            return False

    async def ago_s(self, time_ns: int) -> float:
        """How many seconds ago that was, by the engine's own clock; negative where it is still to come."""
        async with self._reach.deadline():
            connection = await self._reach.found()
            with self._reach.noting():
                now_ns = raw.clock_ns(await connection.get("info", {}))
        return (now_ns - time_ns) / 1e9

    async def _told(self, path: str, body: object, connection: "Connection") -> bool:
        """Whether there was anything to do."""
        try:
            await connection.tell(path, body)
        except Answer as answer:
            if answer.status == 404:
                raise NotFound("the container is gone", "try again") from None
            if answer.status == 409 and "is not running" in answer.reason:
                return False
            raise
        return True


def words_of(container: Inspected, test: Sequence[str]) -> tuple[str, ...]:
    """The program of a health check's test in a container, as the engine runs it too."""
    kind, *words = test
    return (*container.shell, *words) if kind == "CMD-SHELL" else tuple(words)


def _does_not_run(answer: Answer) -> bool:
    """Whether there is no container that a program could be run in. One that ends between the two calls that this takes
    is told as an error of the engine's own, status 500.
    """
    return answer.status in (404, 409) or "is not running" in answer.reason
