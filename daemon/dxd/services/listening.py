"""Keeps the doors of services: the owner of which are open. What they are, `doors` decides.

One for all projects, made by `app`; each project's `sleeper` says what it wants. A door that cannot be had is told, and
tried again by whoever wants it. Raises nothing but what `rest` does, `ProxyFailed`.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial

from dxd.compose.model import ProjectName, ServiceName
from dxd.errors import DxError, PortTaken, ProxyFailed, Refused
from dxd.proxy.model import Place
from dxd.proxy.proxy import Proxy
from dxd.services.doors import EVERYWHERE, Door
from dxd.telemetry import get_logger

Wake = Callable[[ServiceName, int], Awaitable[Place]]
"""Where a port of a service is reached, once that is ready."""

log = get_logger("services")


class Doors:
    """Of all projects."""

    def __init__(self, *, proxy: Proxy, names_port: int) -> None:
        """`names_port` is where names are served, on 127.0.0.1."""
        self._proxy = proxy
        self._names_at = Place("127.0.0.1", names_port)
        self._open: dict[str, dict[Door, None]] = {}
        """By service, as the proxy knows it."""
        self._turn = asyncio.Lock()

    async def keep(
        self, project: ProjectName, wanted: Mapping[ServiceName, Sequence[Door]], wake: Wake
    ) -> dict[ServiceName, DxError]:
        """Have these doors and no others of the project; why not, of services of which one could not be had."""
        async with self._turn:
            troubles: dict[ServiceName, DxError] = {}
            mine = f"{project}/"
            for key in [each for each in self._open if each.startswith(mine)]:
                now = wanted.get(ServiceName(key.removeprefix(mine)), ())
                if not set(self._open[key]) <= set(now):
                    await self._shut(key)
            for name, every in wanted.items():
                for door in every:
                    try:
                        await self._have(key_of(project, name), door, partial(wake, name, door.target))
                    except (Refused, ProxyFailed) as error:
                        if door.at is not None and door.at.host == EVERYWHERE[1] and not isinstance(error, PortTaken):
                            continue  # a machine without IPv6
                        troubles.setdefault(name, error)
            await self._name_nothing()
            return troubles

    def of(self, project: ProjectName) -> dict[ServiceName, tuple[Door, ...]]:
        """Those that are open, by service."""
        mine = f"{project}/"
        return {
            ServiceName(key.removeprefix(mine)): tuple(every)
            for key, every in self._open.items()
            if key.startswith(mine)
        }

    async def settled(self) -> None:
        """All projects have said what they want: doors of a daemon before this one that nobody wanted are shut."""
        await self._proxy.keep()

    async def lost(self, project: ProjectName, name: ServiceName) -> None:
        """Its container has ended: the next connection wakes it."""
        await self._proxy.lost(key_of(project, name))

    async def rest(self, project: ProjectName, name: ServiceName) -> bool:
        """Whether it has no connection, so that it may be stopped; those to come wait from now on."""
        key = key_of(project, name)
        return key not in self._open or await self._proxy.rest(key)

    def idle_since(self, project: ProjectName, name: ServiceName) -> float | None:
        """Since when it has had no connection; None while it has one, and 0 where it has no doors."""
        key = key_of(project, name)
        return self._proxy.idle_since(key) if key in self._open else 0.0

    async def _have(self, key: str, door: Door, wake: Callable[[], Awaitable[Place]]) -> None:
        if door in self._open.get(key, ()):
            return
        if door.at is not None:
            await self._proxy.listen(key, door.at, wake)
        else:
            if not self._has_names():
                await self._listen_for_names()
            await self._proxy.name(key, door.name, wake)
        self._open.setdefault(key, {})[door] = None

    async def _listen_for_names(self) -> None:
        try:
            await self._proxy.listen_for_names(self._names_at)
        except PortTaken as error:
            hint = "take another: names_port in [daemon] of dx.toml"
            raise PortTaken(f"names of services are not served: {error.message}", hint) from None

    async def _shut(self, key: str) -> None:
        del self._open[key]
        await self._proxy.shut(key)

    async def _name_nothing(self) -> None:
        """Without names nobody listens for them."""
        if not self._has_names():
            await self._proxy.shut("")

    def _has_names(self) -> bool:
        return any(door.name for every in self._open.values() for door in every)


def key_of(project: ProjectName, name: ServiceName) -> str:
    """What the proxy calls a service."""
    return f"{project}/{name}"
