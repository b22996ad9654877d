"""A proxy with a real process, and services on real sockets behind it."""

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from dxd.errors import DxError
from dxd.proxy.model import Place
from dxd.proxy.proxy import Proxy
from tests.fakes.real_engine import engine, make_engine, workshop
from tests.waiting import until_turned

__all__ = ["engine", "make_engine", "workshop"]

HOST = "127.0.0.1"

Client = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Service:
    """Something that is woken: an echo by default, which ends its side when the client has."""

    def __init__(self) -> None:
        self.woken = 0
        self.ready = asyncio.Event()
        self.ready.set()
        """A wake returns when it is set."""
        self.failure: DxError | None = None
        self.place = Place(HOST, 1)
        self.serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]] = echo
        self._server: asyncio.Server | None = None
        self._writers: list[asyncio.StreamWriter] = []

    async def start(self) -> None:
        """Listen, at the same port as before."""
        port = 0 if self.place.port == 1 else self.place.port
        self._server = await asyncio.start_server(self._serve, HOST, port, backlog=1024)
        self.place = Place(HOST, self._server.sockets[0].getsockname()[1])

    def kill(self) -> None:
        """End as a process does that is killed."""
        assert self._server is not None
        self._server.close()
        for each in self._writers:
            each.transport.abort()
        self._writers.clear()

    async def wake(self) -> Place:
        """What the proxy calls."""
        self.woken += 1
        await self.ready.wait()
        if self.failure:
            raise self.failure
        return self.place

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        with suppress(ConnectionError):
            await self.serve(reader, writer)


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send back what comes, to the end."""
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    service = Service()
    await service.start()
    yield service
    service.kill()


def process_of(directory: Path) -> int | None:
    """The pid of the process that has the directory's socket."""
    for each in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if (each / "cmdline").read_bytes().split(b"\0")[1:4] == [
                b"-m",
                b"dxd.proxy",
                os.fsencode(directory / "proxy.sock"),
            ]:
                return int(each.name)
    return None


@asynccontextmanager
async def running(directory: Path) -> AsyncIterator[Proxy]:
    """A daemon's side of the proxy, going."""
    proxy = Proxy(directory)
    job = asyncio.create_task(proxy.run())
    try:
        yield proxy
    finally:
        job.cancel()
        with suppress(asyncio.CancelledError):
            await job
        await proxy.close()


@pytest.fixture
async def directory(tmp_path: Path) -> AsyncIterator[Path]:
    """A runtime directory; no process is left behind."""
    yield tmp_path
    if pid := process_of(tmp_path):
        os.kill(pid, signal.SIGKILL)
        await until_turned(lambda: process_of(tmp_path) is None)


@pytest.fixture
async def proxy(directory: Path) -> AsyncIterator[Proxy]:
    async with running(directory) as proxy:
        yield proxy


_writers: list[asyncio.StreamWriter] = []


async def connect(port: int) -> Client:
    """A connection, cut at the end of the test if it is still there then."""
    reader, writer = await asyncio.open_connection(HOST, port, limit=65536)
    _writers.append(writer)
    return reader, writer


@pytest.fixture(autouse=True)
async def cut() -> AsyncIterator[None]:
    yield
    for each in _writers:
        each.transport.abort()
    _writers.clear()
    await asyncio.sleep(0)


def plain(port: int) -> socket.socket:
    """A connection without a loop; each operation may last ten seconds."""
    return socket.create_connection((HOST, port), 10)
