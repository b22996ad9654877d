"""A proxy of our own before a Unix socket, the engine's as a rule, that can hang, cut, delay, split and spoil.

    async with Proxy(directory / "engine.sock") as proxy:
        engine = Engine(proxy.address)

Faults hold for connections that exist and for those to come, until they are taken back.
"""

import asyncio
import os
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from dxd.engine.address import find_address

ENGINE = next(
    (
        path
        for path in (each.removeprefix("unix://") for each in find_address(os.environ, Path.home()))
        if os.path.exists(path)
    ),
    "/var/run/docker.sock",
)
"""The machine's real engine."""

_REQUEST = re.compile(rb"^(?:GET|HEAD|POST|PUT|DELETE) (\S+) HTTP/1\.[01]\r?$", re.MULTILINE)


@dataclass(slots=True)
class _Trap:
    text: str
    caught: Callable[[], object]
    answered: bool
    """It is the answer that is held."""
    go: asyncio.Event | None = None
    """Set when a request that is held may go on; None is never."""


class Proxy:
    """Forwards connections until it is told to do otherwise."""

    def __init__(self, path: Path, upstream: str = ENGINE) -> None:
        self.path = path
        self.requests: list[str] = []
        """The request lines that came by, like `GET /v1.41/events?since=1`."""
        self.delay_s = 0.0
        """Before each piece of an answer."""
        self.piece_bytes = 65536
        """Of an answer, at most so many at a time."""
        self.spoil: Callable[[bytes], bytes] = lambda data: data
        """Done to each piece of an answer."""
        self.waiting = 0
        """Pieces of requests and answers that are held back."""
        self._upstream = upstream
        self._open = asyncio.Event()
        self._open.set()
        self._canned: list[tuple[bytes, bytes]] = []
        self._traps: list[_Trap] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._news = asyncio.Condition()
        self._server: asyncio.Server | None = None

    @property
    def address(self) -> str:
        """As DOCKER_HOST has it."""
        return f"unix://{self.path}"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listen."""
        self._server = await asyncio.start_unix_server(self._accept, self.path)

    async def stop(self) -> None:
        """Take the socket away and cut all connections, like an engine that ends."""
        if self._server:
            self._server.close()
            self._server = None
            self.path.unlink(missing_ok=True)
        await self.cut()

    async def cut(self) -> None:
        """Cut the connections that there are."""
        tasks = set(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def hang(self) -> None:
        """Accept, but let nothing pass any more."""
        self._open.clear()

    def resume(self) -> None:
        """Let everything pass that waits, and what comes."""
        self._open.set()

    def answer(self, request: bytes, response: bytes) -> None:
        """Answer the next request that has these bytes in its head, and end its connection."""
        self._canned.append((request, response))

    def catch(self, text: str, caught: Callable[[], object], answered: bool = False) -> None:
        """Hold the next request whose line has that text, or its answer, for good; `caught` is called then."""
        self._traps.append(_Trap(text, caught, answered))

    def hold(self, text: str, caught: Callable[[], object]) -> Callable[[], None]:
        """Hold the next request whose line has that text until what this returns is called; `caught` once it has come.

        Of its body no more has been read than what came with its head.
        """
        go = asyncio.Event()
        self._traps.append(_Trap(text, caught, answered=False, go=go))
        return go.set

    async def seen(self, text: str, count: int = 1, deadline_s: float = 10.0) -> None:
        """Wait until so many request lines with that text have come by."""
        async with asyncio.timeout(deadline_s), self._news:
            await self._news.wait_for(lambda: sum(text in request for request in self.requests) >= count)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        with suppress(OSError, asyncio.CancelledError):
            try:
                await self._serve(reader, writer)
            finally:
                writer.transport.abort()
        self._tasks.discard(task)

    async def _pass(self) -> None:
        self.waiting += 1
        try:
            await self._open.wait()
        finally:
            self.waiting -= 1

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._pass()
        there_reader, there_writer = await asyncio.open_unix_connection(self._upstream)
        try:
            # Whichever side ends first ends the other: enough for HTTP, which knows no half-open connections.
            held: list[_Trap] = []
            ways = [
                asyncio.ensure_future(self._requests(reader, there_writer, writer, held)),
                asyncio.ensure_future(self._answers(there_reader, writer, held)),
            ]
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)
        finally:
            there_writer.transport.abort()

    async def _requests(
        self, reader: asyncio.StreamReader, there: asyncio.StreamWriter, back: asyncio.StreamWriter, held: list[_Trap]
    ) -> None:
        while data := await reader.read(65536):
            await self._pass()
            for match in _REQUEST.finditer(data):
                line = match[0].rpartition(b" ")[0].decode()
                async with self._news:
                    self.requests.append(line)
                    self._news.notify_all()
                for trap in [each for each in self._traps if each.text in line][:1]:
                    self._traps.remove(trap)
                    if not trap.answered:
                        trap.caught()
                        if trap.go is not None:
                            await trap.go.wait()
                            continue
                        await reader.read()  # until whoever asks has gone
                        return
                    held.append(trap)
            for canned in self._canned:
                if canned[0] in data:
                    self._canned.remove(canned)
                    back.write(canned[1])
                    await back.drain()
                    return
            there.write(data)
            await there.drain()

    async def _answers(self, there: asyncio.StreamReader, writer: asyncio.StreamWriter, held: list[_Trap]) -> None:
        while data := await there.read(self.piece_bytes):
            await self._pass()
            if held and b" 100 Continue" not in data[:30]:
                held[0].caught()
                await asyncio.Event().wait()
            if self.delay_s:
                await asyncio.sleep(self.delay_s)
            writer.write(self.spoil(data))
            await writer.drain()
