"""Exchanges containers of one project's services for new ones, and takes a new one back that is no good.

Made by the supervisor, whose turn it takes, so that no verb changes containers meanwhile. A verb that waits ends a
trial: whoever asks for something counts more. Raises `ServiceFailed` where the old container goes on, what Compose and
the engine raise, and `Interrupted`. What an exchange leaves behind when the daemon is killed, `mend` puts right.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

from dxd.compose.compose import Compose
from dxd.compose.model import Service, ServiceName, Source
from dxd.engine.model import ContainerId, ContainerStatus, ImageId, Inspected
from dxd.engine.supervised import TIMED_OUT, Supervised
from dxd.errors import DxError, EngineDown, EngineTimeout, EngineTrouble, NotFound, ServiceFailed
from dxd.services import probes, swap
from dxd.services.ledger import Ledger
from dxd.services.news import PROJECT, SERVICE, Attribution
from dxd.services.swap import NEXT, PREVIOUS, Mend, Verdict, Way
from dxd.services.turn import Turn
from dxd.telemetry import get_logger

LOOK_S = 0.15

log = get_logger("services")


class Interrupted(Exception):
    """Somebody wants something else of the project. To be tried again."""


class Swaps:
    """Of one project."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        compose: Compose,
        containers: Supervised,
        attribution: Attribution,
        turn: Turn,
        source: Callable[[], Source],
        with_compose: Callable[[Awaitable[None]], Awaitable[None]],
        look: Callable[[ContainerId], Awaitable[None]],
        wake: Callable[[], None],
    ) -> None:
        """`with_compose` does something while the supervisor leaves containers alone; `look` has it see one anew."""
        self._ledger = ledger
        self._compose = compose
        self._containers = containers
        self._attribution = attribution
        self._turn = turn
        self._source = source
        self._with_compose = with_compose
        self._look = look
        self._wake = wake
        self.under_way: ServiceName | None = None
        """The service whose containers are exchanged just now."""

    async def of(self, name: ServiceName) -> list[Inspected]:
        """The containers of a service as they are now, those of an exchange left out."""
        labels = {PROJECT: self._ledger.project.name, SERVICE: name}
        found = [await self._containers.inspect(each) for each in await self._containers.ids(labels)]
        mine = [each for each in found if each is not None and not is_aside(each)]
        return sorted(mine, key=lambda each: each.name)

    async def mend(self) -> None:
        """Put right what an exchange left behind that was cut off."""
        async with self._turn:
            by_name = {}
            for each in await self._containers.ids({PROJECT: self._ledger.project.name}):
                if (found := await self._containers.inspect(each)) is not None:
                    by_name[found.name] = found
            for name, what in swap.leftovers(by_name).items():
                container = by_name[name]
                if not is_aside(container):
                    continue
                log.info("left over from an exchange", container=name, what=what)
                if what is Mend.REMOVE:
                    await self._remove(container)
                else:
                    await self._containers.rename(container.id, swap.base_of(name) or name)
                    await self._look(container.id)
            self._wake()

    async def remake(self, name: ServiceName) -> None:
        """Have Compose make the containers of a service anew that does not run."""
        async with self._turn:
            await self._with_compose(self._compose.anew(self._source(), self._ledger.project.name, name))

    async def swap(self, name: ServiceName, way: Way, wanted: ImageId, config: str, *, remount: bool) -> None:
        """Exchange every container of a service that has not this image or hash, one after the other.

        With `remount` new ones may have other mounts than the old ones.
        """
        async with self._turn:
            service = self._ledger.project.services.get(name)
            if service is None:
                raise Interrupted  # the files are others by now
            self.under_way = name
            try:
                await self._swap(service, way, wanted, config, remount=remount)
            finally:
                self.under_way = None

    async def _swap(self, service: Service, way: Way, wanted: ImageId, config: str, *, remount: bool) -> None:
        before = await self.of(service.name)
        for old in before:
            if old.image_id == wanted and (not config or old.labels.get(HASH) == config):
                continue
            began = time.monotonic()
            if way is Way.IN_PLACE:
                await self._in_place(service, old)
            else:
                total, stop_first = len(before) + 1, way is Way.AFTER
                await self._exchange(service, old, total=total, stop_first=stop_first, config=config, remount=remount)
            seconds = round(time.monotonic() - began, 3)
            log.info("exchanged", service=service.name, container=old.name, way=way, seconds=seconds)

    async def _exchange(
        self, service: Service, old: Inspected, *, total: int, stop_first: bool, config: str, remount: bool
    ) -> None:
        new = await self._another(service, old, total)
        made = await self._containers.inspect(new)
        if made is None or (config and made.labels.get(HASH) != config):
            await asyncio.shield(self._back(new, old, stopped=False))
            raise Interrupted  # the files are others by now
        if not remount and made.mounts != old.mounts:
            # The definition of a secret, a config or a volume is nothing of the service's own.
            await asyncio.shield(self._back(new, old, stopped=False))
            raise ServiceFailed(f"{service.name}: a new container would have other mounts", "to apply that: dx up")
        self._ledger.take(old.id)
        try:
            try:
                if stop_first:
                    await self._stop(service, old)
                self._attribution.announce(new, "start")
                await self._containers.start(new)
                await self._trial(service, new)
            except BaseException:
                # Shielded: whoever is cancelled here must not leave the project without its service.
                await asyncio.shield(self._back(new, old, stopped=stop_first))
                raise
            await asyncio.shield(self._promote(new, old))
            try:
                if not stop_first:
                    await self._turn.asked_within(swap.BESIDE_S)
            finally:
                await asyncio.shield(self._retire(service, old))
        except DxError as error:
            if isinstance(error, EngineTrouble):
                raise
            raise _failed(service, error.line()) from None
        finally:
            self._ledger.finish(old.id)
            self._wake()

    async def _another(self, service: Service, old: Inspected, total: int) -> ContainerId:
        """One more container, made by Compose and on trial from now on."""
        project = self._ledger.project.name
        made: list[ContainerId] = []

        async def make() -> None:
            labels = {PROJECT: project, SERVICE: service.name}
            before = set(await self._containers.ids(labels))
            await self._compose.another(self._source(), project, service.name, total)
            made.extend(set(await self._containers.ids(labels)) - before)
            if len(made) == 1:
                await self._containers.rename(made[0], f"{old.name}{NEXT}")

        await self._with_compose(make())
        if len(made) != 1:
            raise _failed(service, f"Compose made {len(made)} containers where one was wanted")
        await self._containers.leave_to_dx(made[0])
        return made[0]

    async def _promote(self, new: ContainerId, old: Inspected) -> None:
        """Give it the name of the old one, which is about to go."""

        async def rename() -> None:
            await self._containers.rename(old.id, f"{old.name}{PREVIOUS}")
            await self._containers.rename(new, old.name)

        await self._with_compose(rename())
        await self._look(new)
        if (seen := self._ledger.get(new)) is not None:
            self._ledger.probed(new, seen.run)  # as the trial has shown
        self._ledger.lose(old.id)
        self._wake()

    async def _retire(self, service: Service, old: Inspected) -> None:
        """Stop the old one, which is another's predecessor by now, and remove it with its image."""
        await self._stop(service, old)
        await self._remove(old)
        await self._containers.forget_image(old.image_id)

    async def _back(self, new: ContainerId, old: Inspected, *, stopped: bool) -> None:
        """Take the new one away, and have the old one run."""
        if (found := await self._containers.inspect(new)) is not None:
            await self._remove(found)
        if stopped:
            self._attribution.announce(old.id, "start")
            await self._containers.start(old.id)
            await self._look(old.id)

    async def _in_place(self, service: Service, old: Inspected) -> None:
        """Make it anew; from the image before, if it is no good."""
        self._ledger.excuse(_run_of(old), "a new build takes its place")
        project, name = self._ledger.project.name, service.name
        await self._with_compose(self._compose.anew(self._source(), project, name))
        try:
            made = next((each for each in await self.of(name) if each.name == old.name), None)
            if made is None:
                raise ServiceFailed("was not made")
            await self._look(made.id)
            self._wake()
            await self._trial(service, made.id, begun=False)
        except DxError as error:
            if isinstance(error, EngineTrouble):
                raise
            await self._containers.tag(old.image_id, old.image)
            await self._with_compose(self._compose.anew(self._source(), project, name))
            raise _failed(service, error.line()) from None
        except Interrupted:
            return  # what is there is the new one already; how it does, the supervisor tells
        await self._containers.forget_image(old.image_id)

    async def _trial(self, service: Service, container: ContainerId, *, begun: bool = True) -> None:
        """Return when it is healthy; `ServiceFailed` where it is not, `Interrupted` where somebody waits.

        With `begun` unset the supervisor starts it in its turn.
        """
        since = time.monotonic()
        passed = hangs = False
        while True:
            found = await self._containers.inspect(container)
            if not begun and found is not None and found.status is ContainerStatus.CREATED:
                if time.monotonic() - since < swap.TRIAL_S:
                    if await self._turn.asked_within(LOOK_S):
                        raise Interrupted
                    continue
                raise ServiceFailed(f"was not started within {swap.TRIAL_S:g} s")
            if not begun:
                begun, since = True, time.monotonic()
            own_test = service.extras.ready is not None
            probe = None if found is None else probes.needed(found, service.extras.ready)
            if found is not None and probe is not None and not hangs and found.status is ContainerStatus.RUNNING:
                with suppress(NotFound):
                    status, _ = await self._containers.test(found, probe.test, deadline_s=probe.deadline_s)
                    passed, hangs = status == 0, status == TIMED_OUT
            ran_s = time.monotonic() - since
            verdict, reason = swap.judge(found, passed=passed, own_test=own_test, ran_s=ran_s)
            if verdict is Verdict.GOOD:
                return
            if verdict is Verdict.BAD:
                raise ServiceFailed(reason)
            if await self._turn.asked_within(LOOK_S):
                raise Interrupted

    async def _stop(self, service: Service, container: Inspected) -> None:
        self._ledger.excuse(_run_of(container), "a new container takes its place")
        self._attribution.announce(container.id, "stop")
        try:
            if not await self._containers.stop(container.id, grace_s=service.stop_grace_s):
                self._attribution.retract(container.id, "stop")
        except NotFound:
            self._attribution.retract(container.id, "stop")
        except (EngineDown, EngineTimeout):
            self._attribution.unanswered(container.id, "stop")
            raise

    async def _remove(self, container: Inspected) -> None:
        self._attribution.vanished(container.id)
        await self._containers.remove(container.id)


HASH = "com.docker.compose.config-hash"


def is_aside(container: Inspected) -> bool:
    """Whether it belongs to an exchange that goes on, and is not looked after."""
    labels = container.labels
    return swap.is_aside(container.name, labels.get(PROJECT, ""), labels.get(SERVICE, ""))


def _run_of(container: Inspected) -> str:
    return f"{container.id}@{container.started_at}"


def _failed(service: Service, reason: str) -> ServiceFailed:
    return ServiceFailed(
        f"{service.name}: its new container {reason}", "the one before it goes on; mend it, and it is tried again"
    )
