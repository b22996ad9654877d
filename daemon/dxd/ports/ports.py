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
        self, owner: Owner, *, addresses: Sequence[str] = (), has: Collection[int] = (), stays: bool = False
    ) -> Given:
        """The port for an owner to listen at, at these addresses of the machine's, or at all of them.

        `has` is where it listens already: it keeps that if it is the wanted one or what it had last. With `stays` it
        keeps what it had last though the wanted one is free by now. Nobody holds the port for it: where another program
        takes it in between, take once more.
        """
        wanted, protocol = owner.wanted, owner.protocol
        async with self._giving:
            rows = await self._live(protocol)
            had = next((each.port for each in rows if _owner(each) == owner), None)
            others = [each for each in rows if _owner(each) != owner]
            published = await self._published(protocol)

            def possible(port: int) -> bool:
                if any(each.port == port and table.meet(each.addresses, addresses) for each in others):
                    return False
                if any(each.port == port and table.meet([each.address], addresses) for each in published):
                    return False
                return all(table.free(each, port, protocol) for each in addresses or [""])

            keeps = [each for each in (had, wanted) if each is not None and each in has]
            if keeps:
                port = keeps[0]
            else:
                port = await asyncio.to_thread(
                    partial(policy.choose, owner, had=had, stays=stays, possible=possible, uid=self._uid)
                )
            await self._rows.keep(_row(owner, addresses, port))
        if wanted is None or port == wanted:
            return Given(port)
        if keeps or (stays and port == had):
            return Given(port, f"port {port}, as before, instead of {wanted}")
        who = await self.holder(wanted, protocol, addresses=addresses)
        if who is None:
            named = (each for each in others if each.port == wanted and table.meet(each.addresses, addresses))
            who = next((str(_owner(each)) for each in named), None)
        return Given(port, f"port {wanted} is {f'of {who}' if who else 'taken'}, so it is {port}")

    async def holder(self, port: int, protocol: Protocol = "tcp", *, addresses: Sequence[str] = ()) -> str | None:
        """Who has a port, in words: a container, a service of ours, a process; None where nobody does."""
        for each in await self._published(protocol):
            if each.port == port and table.meet([each.address], addresses):
                return _container(each)
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
        gone = [each for each in rows if not await asyncio.to_thread(Path(each.root).is_dir)]
        if gone:
            await self._rows.drop(gone)
        return [each for each in rows if each not in gone and each.protocol == protocol]

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
