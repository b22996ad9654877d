"""Starting one warm container, and finding one again: from a key to an agent in sync.

How an agent comes by its sockets, so that nothing inside a container can reach them: the container's only mounts of
the host are the agent's directory and one with a rendezvous socket, both read-only; the agent connects, we check
that it is
the init of a PID namespace, hand in listening sockets which we bound on the host, and it unmounts both directories.

Where the engine is on another machine none of that can be. The program is then put into the container as an archive,
the agent makes its own sockets there, and whoever wants to reach it does so by the same program, begun beside it by the
engine: `agent link` for us, `agent attach` for a launcher.
"""

import asyncio
import re
import secrets
import socket
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from dx import protocol
from dxd.engine.docker import Engine
from dxd.engine.model import ContainerId, ContainerSpec
from dxd.errors import AgentFailed, DxError, EngineError, EngineTrouble, NotFound
from dxd.warm import ladder, making
from dxd.warm.ladder import Rung
from dxd.warm.link import Link, Listener
from dxd.warm.model import Identity, Key
from dxd.warm.volumes import INSTANCE_LABEL

CONNECT_S = 15.0
"""From the container's start to the agent's connect: a loaded machine may take seconds."""
LOOK_S = 1.0
"""How long an agent is waited for before its container is looked at."""
SETUP_S = 10.0
BACKLOG = 4096
"""Launchers that may wait for an agent; the kernel's default somaxconn."""

KEY_LABEL = "dev.dx.key"
ID_LABEL = "dev.dx.id"
AGENT_LABEL = "dev.dx.agent"
NAME_LABEL = "dev.dx.image"
FOR_LABEL = "dev.dx.for"
"""The tool that it was started for; images of ours have labels too, so none of these is one of theirs."""
_CREDENTIALS = struct.Struct("=iII")
_ID = re.compile(r"[0-9a-f]{12}")


class OutOfReach(AgentFailed):
    """The agent cannot be reached by its sockets, which was not known before."""


class _Silent(AgentFailed):
    """Its agent has not connected."""


@dataclass(frozen=True, slots=True)
class Started:
    """A container whose agent is ready."""

    container: ContainerId
    link: Link
    agent_pid: int | None


class Starter:
    """Creates containers and hands their agents what they need. Keeps nothing but where things are."""

    def __init__(
        self,
        *,
        engine: Engine,
        runtime_dir: Path,
        agent_dir: Path,
        agent_version: str,
        instance: str,
        identity: Identity,
        force: frozenset[Rung] = frozenset(),
    ) -> None:
        self._engine = engine
        self._rendezvous_dir = runtime_dir / "r"
        self._sockets_dir = runtime_dir / "a"
        self._agent_dir = agent_dir
        self.agent_version = agent_version
        self.instance = instance
        self._identity = identity
        self._force = force
        self._reached = False
        """Whether it is certain by now how agents are reached."""
        self._out_of_reach = ""

    @staticmethod
    def new_id() -> str:
        """A name for a container's sockets."""
        return secrets.token_hex(6)

    @staticmethod
    def is_id(text: str) -> bool:
        """Whether a label can be such a name; it becomes part of a path."""
        return _ID.fullmatch(text) is not None

    def socket_path(self, name: str) -> Path:
        """Where launchers find the agent."""
        return self._sockets_dir / f"{name}.sock"

    @property
    def out_of_reach(self) -> str:
        """Why agents can only be reached through the engine; empty where they can otherwise."""
        if Rung.PORTABLE in self._force:
            return ladder.FORCED
        address = self._engine.status().address or ""
        return f"the engine is at {address}" if address.startswith("tcp:") else self._out_of_reach

    @property
    def portable(self) -> bool:
        """Whether agents can only be reached through the engine."""
        return self.out_of_reach != ""

    @property
    def remote(self) -> str:
        """The engine's address where it may be another machine's; else empty."""
        address = self._engine.status().address or ""
        return address if address.startswith("tcp:") else ""

    async def connect(self, name: str, inner: asyncio.Protocol) -> None:
        """The run link of a run to be, through the engine. Raises `NotFound`, `EngineTrouble`."""
        await self._engine.execute(f"dx-{name}", (making.AGENT, "attach"), inner)

    async def start(self, name: str, key: Key, image: str, tool: str, listener: Listener) -> Started:
        """A new container for the key; on failure nothing of it is left.

        Raises `AgentFailed`, `EngineTrouble`, and `OutOfReach` where from now on it has to be `portable`.
        """
        if Rung.SINGLE_USE in self._force and key.has_kept_root:
            raise AgentFailed("a kept root needs an overlay, which DX_FORCE rules out", "set the tool's root to fresh")
        if self.portable:
            return await self._start_portable(name, key, image, tool, listener)
        try:
            started = await self._start_near(name, key, image, tool, listener)
        except (AgentFailed, EngineError) as error:
            if self._reached or not self._looks_out_of_reach(error):
                raise
            # An engine in a virtual machine has a socket here, and nothing else: neither our files nor our sockets.
            self._out_of_reach = f"the engine does not see the files of this machine: {error.message}"
            raise OutOfReach(error.message, error.hint) from None
        self._reached = True
        return started

    def _looks_out_of_reach(self, error: DxError) -> bool:
        return isinstance(error, _Silent) or any(
            str(place) in error.message for place in (self._agent_dir, self._rendezvous_dir)
        )

    async def _start_near(self, name: str, key: Key, image: str, tool: str, listener: Listener) -> Started:
        container: ContainerId | None = None
        meeting = self._rendezvous_dir / name
        try:
            with self._bind(meeting / "s") as rendezvous:
                container = await self._engine.create(await self._spec(name, key, image, tool, meeting))
                await self._engine.start(container)
                sock, pid = await self._accept(rendezvous, container)
            link = await self._hand_in(sock, name, key, listener)
            return Started(container, link, pid)
        except BaseException:
            await asyncio.shield(self.discard(name, container))
            raise
        finally:
            with suppress(OSError):
                (meeting / "s").unlink()
            with suppress(OSError):
                meeting.rmdir()

    async def find(self, name: str, listener: Listener) -> Link:
        """The link to an agent that is there already; `OSError` or the engine's error where none answers."""
        if self.portable or not self._control_path(name).exists():
            async with asyncio.timeout(SETUP_S):
                return await self._linked(name, listener, b"")
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.setblocking(False)  # noqa: FBT003 - the socket API
        try:
            async with asyncio.timeout(SETUP_S):
                await asyncio.get_running_loop().sock_connect(sock, str(self._control_path(name)))
                return await self._in_sync(sock, listener)
        except BaseException:
            sock.close()
            raise

    async def _start_portable(self, name: str, key: Key, image: str, tool: str, listener: Listener) -> Started:
        container: ContainerId | None = None
        try:
            spec = await self._spec(name, key, image, tool, None)
            container = await self._engine.create(replace(spec, entrypoint=(making.AGENT, "portable")))
            await self._engine.put(container, making.archive(self._agent_dir / "agent"))
            await self._engine.start(container)
            try:
                async with asyncio.timeout(CONNECT_S):
                    link = await self._linked(
                        name,
                        listener,
                        protocol.frame(protocol.SETUP, self._setup(key)),
                    )
            except (ConnectionError, TimeoutError, NotFound) as error:
                said = await self._engine.logs(container, 3) or str(error) or "its agent does not answer"
                raise AgentFailed(f"the container cannot be prepared: {said}", "see: dx doctor") from None
            self._reached = True
            return Started(container, link, None)
        except BaseException:
            if not self._reached:
                self._out_of_reach = ""  # the guess was wrong
            await asyncio.shield(self.discard(name, container))
            raise

    async def _linked(self, name: str, listener: Listener, first: bytes) -> Link:
        """A link by way of the engine, in sync; its agent's clock may be another machine's."""
        link = Link(replace(listener, started=lambda run, _: listener.started(run, time.monotonic())))
        await self._engine.execute(f"dx-{name}", (making.AGENT, "link"), link)
        try:
            if first:
                await link.send(first)
            await asyncio.shield(link.synced)
        except BaseException:
            link.close()
            raise
        return link

    async def discard(self, name: str, container: ContainerId | None) -> None:
        """Remove a container and its sockets; what is gone already is fine, and an engine that is down too."""
        for path in (self.socket_path(name), self._control_path(name)):
            path.unlink(missing_ok=True)
        if container is not None:
            with suppress(EngineTrouble):
                await self._engine.remove(container)

    def sweep(self, keep: Callable[[str], bool]) -> None:
        """Remove the sockets of containers that are not there any more."""
        for directory in (self._sockets_dir, self._rendezvous_dir):
            for path in directory.glob("*"):
                if keep(path.stem):
                    continue
                with suppress(OSError):
                    if path.is_dir():
                        (path / "s").unlink(missing_ok=True)
                        path.rmdir()
                    else:
                        path.unlink()

    def _control_path(self, name: str) -> Path:
        return self._sockets_dir / f"{name}.ctl"

    def _bind(self, path: Path) -> socket.socket:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.bind(str(path))
            path.chmod(0o600)
            sock.listen(BACKLOG)
            sock.setblocking(False)  # noqa: FBT003 - the socket API
        except BaseException:
            sock.close()
            raise
        return sock

    async def _spec(self, name: str, key: Key, image: str, tool: str, meeting: Path | None) -> ContainerSpec:
        labels = {
            INSTANCE_LABEL: self.instance,
            KEY_LABEL: key.to_label(),
            ID_LABEL: name,
            AGENT_LABEL: self.agent_version,
            NAME_LABEL: image,
            FOR_LABEL: tool,
        }
        binds = ((str(self._agent_dir), "/.dx/bin"), (str(meeting), "/.dx/run")) if meeting else ()
        info = await self._engine.info()
        return making.spec(
            f"dx-{name}", key, instance=self.instance, labels=labels, binds=binds, apparmor_unconfined=info.apparmor
        )

    def _setup(self, key: Key) -> bytes:
        return making.setup(key, self._identity, once=Rung.SINGLE_USE in self._force)

    async def _accept(self, rendezvous: socket.socket, container: ContainerId) -> tuple[socket.socket, int]:
        try:
            async with asyncio.timeout(CONNECT_S):
                while True:
                    sock = await self._accepted(rendezvous, container)
                    pid = _CREDENTIALS.unpack(
                        sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
                    )[0]
                    if is_init(pid):
                        return sock, pid
                    sock.close()
        except TimeoutError:
            said = await self._engine.logs(container, 3)
            raise _Silent(f"the container does not come up: {said or 'its agent says nothing'}") from None

    async def _accepted(self, rendezvous: socket.socket, container: ContainerId) -> socket.socket:
        """The next connection; `TimeoutError` as soon as the container does not run any more."""
        while True:
            try:
                async with asyncio.timeout(LOOK_S):
                    return (await asyncio.get_running_loop().sock_accept(rendezvous))[0]
            except TimeoutError:
                listed = await self._engine.containers({INSTANCE_LABEL: self.instance})
                if not any(each.id == container and each.running for each in listed):
                    raise

    async def _hand_in(self, sock: socket.socket, name: str, key: Key, listener: Listener) -> Link:
        """Give the agent its listening sockets; ours are closed, theirs live as long as the agent."""
        try:
            with self._bind(self.socket_path(name)) as runs, self._bind(self._control_path(name)) as control:
                payload = self._setup(key)
                head = protocol.frame(protocol.SETUP, payload, nfds=2)
                sent = socket.send_fds(sock, [head], [runs.fileno(), control.fileno()])
                if sent != len(head):
                    raise AgentFailed("the container's agent does not take its setup")
            async with asyncio.timeout(SETUP_S):
                return await self._in_sync(sock, listener)
        except (ConnectionError, TimeoutError) as error:
            sock.close()
            reason = str(error) or "its agent does not answer"
            raise AgentFailed(f"the container cannot be prepared: {reason}", "see: dx doctor") from None

    async def _in_sync(self, sock: socket.socket, listener: Listener) -> Link:
        _, link = await asyncio.get_running_loop().create_unix_connection(lambda: Link(listener), sock=sock)
        try:
            await asyncio.shield(link.synced)
        except BaseException:
            link.close()
            raise
        return link


def is_init(pid: int) -> bool:
    """Whether the process is PID 1 of a namespace below ours, as only a container's first process is."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return False
    for line in status.splitlines():
        if line.startswith("NSpid:"):
            numbers = line.split()[1:]
            return len(numbers) > 1 and numbers[-1] == "1"
    return False
