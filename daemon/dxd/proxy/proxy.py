"""The daemon's side of the proxy: which doors there shall be, and what wakes the services behind them.

Made by `app`, used by the room of services. The process has the sockets and the connections and may be an older one
than this daemon; here is what it cannot have, the wish and the callback. `run` is the eternal job that keeps the link:
a process that died is started again, with all its doors.
"""

import asyncio
import errno
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from dxd.errors import DxError, PortTaken, ProxyFailed, Refused
from dxd.kit.tasks import Tasks
from dxd.proxy import process, wire
from dxd.proxy.model import Door, Place, Wake
from dxd.proxy.process import Link
from dxd.telemetry import get_logger

DEADLINE_S = 120.0
"""How long a connection waits for its service: a database that recovers takes a minute."""
MAX_HELD = 1024
"""Connections that wait at one door; each takes a descriptor."""
RETRY_S = 1.0
LINK_S = 15.0

log = get_logger("proxy")


class Proxy:
    """Listens for services that sleep. Nothing works before `run` does. `close` it at the end; the process stays."""

    def __init__(self, directory: Path) -> None:
        """`directory` is the runtime directory."""
        self._path = directory / wire.SOCKET_NAME
        self._doors: dict[str, Door] = {}
        self._left: set[str] = set()
        """Doors of a daemon before this one, which nobody has asked for yet."""
        self._kept = False
        """All that was to be asked for has been."""
        self._uses: dict[str, float | None] = {}
        self._waking: set[str] = set()
        """Doors whose `wake` goes on."""
        self._link: Link | None = None
        self._linked = asyncio.Event()
        self._wanted = asyncio.Event()
        self._tasks = Tasks(lambda name, error: log.error("task failed", task=name, exc_info=error))

    async def listen(
        self, service: str, at: Place, wake: Wake, *, deadline_s: float = DEADLINE_S, max_held: int = MAX_HELD
    ) -> None:
        """Listen there for a service. A port that is listened at already stays, with its connections.

        Raises `PortTaken`, `Refused`, `ProxyFailed`.
        """
        await self._open(Door(f"port:{at}", service, at, wake, deadline_s, max_held))

    async def name(self, service: str, host: str, wake: Wake, *, deadline_s: float = DEADLINE_S) -> None:
        """Lead HTTP requests for a host, `SERVICE.PROJECT.localhost`, to a service. Raises `ProxyFailed`."""
        await self._open(Door(f"name:{host.lower()}", service, None, wake, deadline_s, MAX_HELD))

    async def listen_for_names(self, at: Place) -> None:
        """Take HTTP requests for the names there, on the loopback interface only.

        Raises `PortTaken`, `Refused`, `ProxyFailed`.
        """
        if at.host not in {"127.0.0.1", "::1"}:
            raise Refused(f"names are not served at {at}", "take 127.0.0.1: others must not reach every service")
        await self._open(Door(f"names:{at}", "", at, _nobody, DEADLINE_S, MAX_HELD, names=True))

    async def shut(self, service: str) -> None:
        """Listen for it no longer; connections that are open stay."""
        for each in [each for each in self._doors.values() if each.service == service]:
            del self._doors[each.key]
            await self._tell("shut", door=each.key)
        self._leave_if_idle()

    async def keep(self) -> None:
        """Shut what the daemon before this one had, and nobody has asked for since; found later, that goes too."""
        self._kept = True
        for key in self._left - self._doors.keys():
            await self._tell("shut", door=key)
        self._left.clear()
        self._leave_if_idle()

    async def lost(self, service: str) -> None:
        """Its container has ended, or is about to: from now on connections wait, and wake it."""
        for each in self._doors.values():
            if each.service == service:
                await self._tell("lead", door=each.key, to=None)

    async def rest(self, service: str) -> bool:
        """Whether no connection is there; then it may be stopped, and those to come wait. Raises `ProxyFailed`."""
        return bool((await self._ask("rest", service=service))["rested"])

    def idle_since(self, service: str) -> float | None:
        """Since when it has had no connection, by the monotonic clock; None while it has one, or none is known.

        It may be a second late: `rest` is what decides.
        """
        return self._uses.get(service)

    async def run(self) -> None:
        """An eternal job: have the link, as long as anybody wants a door."""
        if not self._path.exists():
            await self._wanted.wait()
        said = ""
        while True:
            try:
                link = await self._reach()
            except ProxyFailed as error:
                if error.line() != said:  # once, not at each try
                    said = error.line()
                    log.warning("no proxy", reason=said)
                await asyncio.sleep(RETRY_S)
                continue
            said = ""
            if link is not None:
                try:
                    await self._follow(link)
                finally:
                    self._linked.clear()
                    link.close()
                    self._link = None
            if not self._doors:
                self._wanted.clear()
                await self._wanted.wait()

    async def close(self) -> None:
        """Leave the process alone with its connections; those that wait do so for the next daemon."""
        await self._tasks.close()
        if self._link is not None:
            self._link.close()

    def _leave_if_idle(self) -> None:
        """Without a door the process ends with its last connection, once there is no daemon."""
        if not self._doors and self._link is not None:
            self._linked.clear()
            self._link.close()

    async def _open(self, door: Door) -> None:
        had = self._doors.get(door.key)
        self._doors[door.key] = door
        self._wanted.set()
        try:
            said = await self._ask("open", **_fields(door))
        except BaseException as error:
            if had is None:
                self._doors.pop(door.key, None)
            else:
                self._doors[door.key] = had
            if isinstance(error, OSError):
                _explain(error, door.at)
            raise
        self._left.discard(door.key)
        self._uses.setdefault(door.service, asyncio.get_running_loop().time())
        if said["waiting"]:
            self._waken(door.key)

    async def _reach(self) -> Link | None:
        """A link to a process of our version, which has said what it has; None where none is there, nor wanted."""
        link = await process.find(self._path)
        if link is None:
            if not self._wanted.is_set():
                return None
            link = await process.start(self._path)
        return link

    async def _follow(self, link: Link) -> None:
        following = self._tasks.start(link.follow(self._told), name="proxy link")
        try:
            said = await link.ask("hello", version=wire.VERSION)
            if said.get("version") != wire.VERSION:
                log.warning(
                    "a proxy of another version keeps its connections and takes no new ones", pid=said.get("pid")
                )
                await link.ask("retire")
                return
            self._left = set(said["doors"]) - self._doors.keys()
            self._uses |= {each["service"]: None if each["open"] else each["since"] for each in said["uses"]}
            for door in list(self._doors.values()):
                await self._reopen(link, door)
            self._link = link
            self._linked.set()
            if self._kept:
                await self.keep()
            await following
            log.warning("the link to the proxy is lost", doors=len(self._doors))
        except (ProxyFailed, OSError, LookupError) as error:
            log.warning("the proxy is lost", reason=str(error))
        finally:
            following.cancel()

    async def _reopen(self, link: Link, door: Door) -> None:
        try:
            said = await link.ask("open", **_fields(door))
        except OSError as error:
            log.warning("a port is lost", port=str(door.at), service=door.service, reason=error.strerror)
            return
        if said["waiting"]:
            self._waken(door.key)

    def _told(self, message: Mapping[str, Any]) -> None:
        match message["tell"]:
            case "wake":
                self._waken(str(message["door"]))
            case "use":
                self._uses[str(message["service"])] = None if message["open"] else float(message["since"])
            case "note":
                log.warning(str(message["text"]))

    def _waken(self, key: str) -> None:
        if key in self._doors and key not in self._waking:
            self._waking.add(key)
            self._tasks.spawn(self._wake(self._doors[key]), name=f"wake {key}")

    async def _wake(self, door: Door) -> None:
        try:
            place = await door.wake()
        except DxError as error:
            log.warning("not woken", service=door.service, reason=error.line())
            await self._woken(door, "fail", reason=error.line())
        except Exception:
            await self._woken(door, "fail", reason="dx failed; see: dx daemon logs")
            raise
        else:
            await self._woken(door, "lead", to=[place.host, place.port])

    async def _woken(self, door: Door, do: str, **fields: Any) -> None:
        # First: the next who connects may have it woken again before the answer to this is read here.
        self._waking.discard(door.key)
        await self._tell(do, door=door.key, **fields)

    async def _ask(self, do: str, **fields: Any) -> dict[str, Any]:
        try:
            async with asyncio.timeout(LINK_S):
                await self._linked.wait()
        except TimeoutError:
            raise ProxyFailed("there is no proxy process", process.HINT) from None
        assert self._link is not None
        return await self._link.ask(do, **fields)

    async def _tell(self, do: str, **fields: Any) -> None:
        """Ask for what goes without saying where there is no process."""
        if self._link is not None:
            try:
                await self._link.ask(do, **fields)
            except ProxyFailed as error:
                log.warning("not told to the proxy", what=do, reason=error.line())


async def _nobody() -> NoReturn:
    raise ProxyFailed("names have no service of their own")


def _fields(door: Door) -> dict[str, Any]:
    return {
        "door": door.key,
        "service": door.service,
        "listen": None if door.at is None else [door.at.host, door.at.port],
        "deadline_s": door.deadline_s,
        "max_held": door.max_held,
        "names": door.names,
    }


def _explain(error: OSError, at: Place | None) -> NoReturn:
    """As what the user can do about it."""
    port = "" if at is None else at.port
    if error.errno == errno.EADDRINUSE:
        hint = f"see who has it: ss -lntup 'sport = :{port}'"
        raise PortTaken(f"port {at} of this machine is taken by another program", hint) from None
    if error.errno == errno.EACCES:
        hint = f"take one above 1023, or: sudo sysctl net.ipv4.ip_unprivileged_port_start={port}"
        raise Refused(f"only root may listen at port {port}", hint) from None
    if error.errno == errno.EADDRNOTAVAIL:
        raise Refused(f"this machine has no address {at.host if at else ''}", "see: ip address") from None
    raise Refused(f"cannot listen at {at}: {error.strerror}", "take another port") from None
