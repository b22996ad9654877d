"""Gives ports to services, and says who has one. One at a time, and remembered before it is given.

Made by `app`, used by the room of services. What is remembered may be lost: then a service gets the port that it
wants or the first of its own series, which is the same one as a rule. Raises `PortTaken`.
"""

import asyncio
import os
from collections.abc import Callable, Collection, Sequence
from functools import partial
from pathlib import Path

from dxd.engine.docker import Engine
from dxd.engine.model import Published
from dxd.errors import EngineTrouble
from dxd.kit.directories import is_gone
from dxd.ports import policy, table
from dxd.ports.model import Given, Owner, Protocol
from dxd.store.ports import PortRow, PortRows


class Ports:
    """The ports of all services of this user."""

    def __init__(self, *, engine: Engine, rows: PortRows, uid: int | None = None) -> None:
        self._engine = engine
        self._rows = rows
        self._uid = os.getuid() if uid is None else uid
        self._giving = asyncio.Lock()

    async def take(
        self,
        owner: Owner,
        *,
        also: Sequence[int] = (),
        addresses: Sequence[str] = (),
        has: Collection[int] = (),
        stays: bool = False,
    ) -> Given:
        """The port for an owner to listen at, at these addresses of the machine's, or at all of them.

        Those of `also` would do as well as the wanted one. `has` is where it listens already, which is not in its way.
        With `stays` it keeps that, or what it had last, though the wanted one is free by now. Nobody holds the port for
        it: where another program takes it in between, take once more.
        """
        wanted, protocol = owner.wanted, owner.protocol
        async with self._giving:
            rows = await self._live(protocol)
            had = next((each.port for each in rows if _owner(each) == owner), None)
            others = [each for each in rows if _owner(each) != owner and table.meet(each.addresses, addresses)]
            published = [each for each in await self._published(protocol) if table.meet([each.address], addresses)]
            taken = {*(each.port for each in others), *(each.port for each in published)}.difference(has)
            here = await self._engine_is_here()

            def possible(port: int) -> bool:
                if port in taken or port in has or not here:
                    return port not in taken
                return all(table.free(each, port, protocol) for each in addresses or [""])

            last = next((each for each in (had, wanted, *also) if each is not None and each in has), had)
            choose = partial(policy.choose, owner, also=also, had=last, stays=stays, possible=possible, uid=self._uid)
            port = await asyncio.to_thread(choose)
            await self._rows.keep(_row(owner, addresses, port))
        if wanted is None or port == wanted:
            back = wanted is not None and last not in (None, wanted)
            return Given(port, f"port {wanted} is free, so it is not {last} any more" if back else "")
        if await asyncio.to_thread(possible, wanted):
            return Given(port, f"port {port} as before, though {wanted} is free by now; to have that: dx up --recreate")
        who, hint = await self.holder(wanted, protocol, addresses=addresses), ""
        if who is None and (resting := next((_owner(each) for each in others if each.port == wanted), None)):
            who, hint = str(resting), f"; dx forget --project {resting.project} gives it back"
        return Given(port, f"port {wanted} is {f'of {who}' if who else 'taken'}, so it is {port}{hint}")

    async def holder(self, port: int, protocol: Protocol = "tcp", *, addresses: Sequence[str] = ()) -> str | None:
        """Who has a port, in words: a container, a service of ours, a process; None where nobody does."""
        for each in await self._published(protocol):
            if each.port == port and table.meet([each.address], addresses):
                return _container(each)
        if not await self._engine_is_here():
            return None
        found = await asyncio.to_thread(table.holder, addresses, port, protocol)
        if found is None:
            return None
        process = await asyncio.to_thread(table.process, found.inode)
        if process is None:
            return f"a process of {table.user(found.uid)}"
        pid, name = process
        if _is_proxy(pid):
            for row in await self._rows.all():
                if (row.port, row.protocol) == (port, protocol):
                    return str(_owner(row))
        return f"{name}, process {pid}"

    async def all(self, root: str) -> Sequence[tuple[Owner, int]]:
        """What the services of a worktree have, or had last."""
        return [(_owner(each), each.port) for each in await self._rows.all() if each.root == root]

    async def forget(self, root: str) -> None:
        """Let others have what the services of a worktree had."""
        await self._rows.drop([each for each in await self._rows.all() if each.root == root])

    async def retain(self, project: str, root: str, kept: Callable[[Owner], bool]) -> None:
        """Of what a project in a worktree had, let others have what is not kept."""
        mine = [each for each in await self._rows.all() if (each.project, each.root) == (project, root)]
        await self._rows.drop([each for each in mine if not kept(_owner(each))])

    async def _live(self, protocol: Protocol) -> Sequence[PortRow]:
        """What is remembered, without worktrees that are gone."""
        rows = await self._rows.all()
        gone = [each for each in rows if await asyncio.to_thread(is_gone, each.root)]
        if gone:
            await self._rows.drop(gone)
        return [each for each in rows if each not in gone and each.protocol == protocol]

    async def _engine_is_here(self) -> bool:
        """Whether what it publishes is at this machine's ports; without an engine that is supposed."""
        try:
            return (await self._engine.address()).startswith("unix:")
        except EngineTrouble:
            return True

    async def _published(self, protocol: Protocol) -> Sequence[Published]:
        """What the engine has: it may do without a process that could be seen. Without an engine nothing."""
        try:
            return [each for each in await self._engine.published() if each.protocol == protocol]
        except EngineTrouble:
            return []


def _container(published: Published) -> str:
    label = published.labels.get
    service, project = label("com.docker.compose.service"), label("com.docker.compose.project")
    return f"the container {published.name}" + (f", {service} of {project}" if service and project else "")


def _is_proxy(pid: int) -> bool:
    try:
        return b"dxd.proxy" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False


def _owner(row: PortRow) -> Owner:
    protocol: Protocol = "udp" if row.protocol == "udp" else "tcp"
    return Owner(row.project, row.root, row.service, row.target, protocol, row.wanted or None)


def _row(owner: Owner, addresses: Sequence[str], port: int) -> PortRow:
    whose = owner.project, owner.root, owner.service, owner.target, owner.protocol, owner.wanted or 0
    return PortRow(*whose, tuple(addresses), port)
