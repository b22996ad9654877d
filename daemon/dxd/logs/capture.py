"""Following one container: what the engine has of its output, and what comes, into the service's file.

A loop of our own over connections that may break, to an engine that may be away. The place to go on from is what is
kept, never what was read: so nothing is lost or doubled by a cut, by an engine that starts again, or by the daemon's
own death. Ends when the container is gone, or when it has stopped and all is kept.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from dxd.engine.docker import Engine
from dxd.engine.model import ContainerId, Printing
from dxd.engine.output import HEAD, STAMP, Output
from dxd.errors import EngineTimeout, EngineTrouble, NotFound
from dxd.logs.cursor import MARGIN_NS, Sieve, new_in_tail, since_ns
from dxd.logs.model import Instance, Mark, MarkKind, Progress, ns_of, stamp_of
from dxd.telemetry import get_logger

GATHER_S = 0.02
"""After each write, so that a program which prints line by line costs fifty writes a second at most."""
QUIET_S = 20.0
"""After so long without output the engine is asked whether it is there, and the clock is looked at."""
TAIL = 500
"""Entries in which the end of what was followed is looked for; an engine 20.10 leaves out some ten at most."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 5.0

log = get_logger("logs")


@dataclass(frozen=True, slots=True)
class Into:
    """Where it goes: coroutines, since the file is touched in a thread. They wait out a full disk."""

    append: Callable[[Instance, list[bytes], Progress], Awaitable[bool]]
    """Whether it was kept at once; after False the disk was full in between."""
    mark: Callable[[Mark], Awaitable[None]]
    progress: Callable[[ContainerId], Progress | None]


class Capture:
    """The follower of one container; `run` it in a task."""

    def __init__(self, engine: Engine, instance: Instance, into: Into) -> None:
        self._engine = engine
        self._instance = instance
        self._into = into
        self._poked = False
        self._pause_s = FIRST_PAUSE_S
        self._fresh = False
        """Whether something came since the last mark of an end."""
        self._broken = False
        """Whether the last connection ended in the middle."""
        self._behind = False
        """Whether the disk was full, so that the engine may have thrown away what was not read."""
        self._whole = False
        """Whether all that it printed is kept, which is only known of one that has stopped."""

    def poke(self) -> None:
        """It may have been started again: look once more before this ends."""
        self._poked = True

    async def run(self) -> bool:
        """Follow it to its end; whether the container is still there, stopped, and could be started again."""
        told, followed = "", False
        while True:
            self._poked = False
            try:
                printing = await self._engine.printing(self._instance.container)
                if printing is None:
                    return await self._is_gone()
                fresh = self._whole = False
                if printing.running or not (followed and await self._complete(printing)):
                    fresh = await self._connect(printing)
                followed, told = not self._behind, ""
                if not printing.running and followed:
                    if self._fresh:
                        await self._mark(MarkKind.ENDED, "the container has stopped")
                    self._fresh, self._whole = False, True
                    if not self._poked:
                        return True
                elif not fresh:  # as of one that waits for being started again by the engine
                    await self._pause()
            except NotFound:
                return await self._is_gone()
            except EngineTrouble as error:
                self._broken, followed = True, False
                if error.line() != told:
                    told = error.line()
                    log.warning("output is not read for now", container=self._instance.name, reason=told)
                await self._pause()

    async def _complete(self, printing: Printing) -> bool:
        """Keep what came after that which was followed to its end; whether that could be told from the last entries.

        To ask for all since then would let the engine go through its whole file, which takes a minute for 300 MB.
        """
        container = self._instance.container
        frames: list[bytes] = []
        async with self._engine.output(container, tail=TAIL, follow=False, tty=printing.tty) as output:
            while some := await self._read(output, 0):
                frames += some
        kept = self._into.progress(container) or Progress()
        new = new_in_tail(frames, kept, whole=len(frames) < TAIL)
        if new:
            sieve = Sieve.after(kept)
            self._fresh = True
            await self._into.append(self._instance, sieve.pass_new(new), sieve.progress())
        return new is not None

    async def _pause(self) -> None:
        """Longer each time, until something comes again."""
        await asyncio.sleep(self._pause_s)
        self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)

    async def _connect(self, printing: Printing) -> bool:
        """One connection, to its end; where the container does not run, all that there is. Whether any was new."""
        container = self._instance.container
        kept = self._into.progress(container) or Progress()
        since = since_ns(kept, time.time_ns())
        sieve = Sieve(kept, since, kept_bytes=printing.kept_bytes)
        lag = Lag(printing.kept_bytes)
        fresh = False
        async with self._engine.output(container, since_ns=since, follow=printing.running, tty=printing.tty) as output:
            while frames := await self._read(output, since):
                if not (new := sieve.pass_new(frames)):
                    continue
                if sieve.lost:
                    sieve.found()
                    await self._mark(MarkKind.GAP, self._why_lost())
                self._broken = False
                self._fresh = fresh = True
                self._pause_s = FIRST_PAUSE_S
                if not await self._into.append(self._instance, new, sieve.progress()):
                    # What came meanwhile waits at the engine, if its files are large enough: look from where we were.
                    self._behind = True
                    return True
                self._behind = False
                if reason := lag.seen(new, time.time_ns()):
                    await self._mark(MarkKind.GAP, reason)
                await asyncio.sleep(GATHER_S)
        return fresh

    async def _read(self, output: Output, since: int) -> list[bytes]:
        """The next entries. In a long silence the engine is asked; a clock that was set back ends the connection."""
        reading = asyncio.ensure_future(output.read())
        try:
            while not (await asyncio.wait({reading}, timeout=QUIET_S))[0]:
                await self._engine.ping()
                if time.time_ns() + MARGIN_NS < since:
                    raise EngineTimeout("the clock was set back", "output is asked for again")
            return reading.result()
        finally:
            if not reading.done():
                reading.cancel()
                await asyncio.wait({reading})

    async def _is_gone(self) -> bool:
        if self._broken or self._behind:
            await self._mark(MarkKind.GAP, "the container was removed before all that it printed was read")
        elif not self._whole:  # an engine does not always tell all of one that is removed while it runs
            await self._mark(MarkKind.GAP, "the container was removed while it ran: its last lines may be missing")
        else:
            await self._mark(MarkKind.ENDED, "the container was removed")
        return False

    def _why_lost(self) -> str:
        if self._behind:
            return "the disk was full, and the engine has thrown away what was printed meanwhile"
        return "the engine has thrown away what was printed before this was read"

    async def _mark(self, kind: MarkKind, reason: str) -> None:
        await self._into.mark(Mark(kind, reason, stamp_of(time.time_ns()), self._instance))


class Lag:
    """Guesses whether an engine that rotates its files is faster than we are.

    It does not say when it skips a file that it has removed. But where what is read was printed some time ago, and a
    container that prints as fast has filled all its files since, something may be missing; that is told once each time.
    """

    def __init__(self, kept_bytes: int | None) -> None:
        self._kept_bytes = kept_bytes
        self._since_ns = 0
        self._bytes = 0
        self._told = False

    def seen(self, frames: list[bytes], now_ns: int) -> str:
        """Entries came by; why some may be missing, or nothing."""
        if self._kept_bytes is None:
            return ""
        at_ns = ns_of(frames[-1][HEAD.size : HEAD.size + STAMP])
        self._bytes += sum(map(len, frames))
        if not self._since_ns or at_ns - self._since_ns > 10**9:
            self._since_ns, self._bytes = at_ns, 0
            return ""
        printed_ns = max(at_ns - self._since_ns, 10**6)
        behind_bytes = self._bytes * max(0, now_ns - at_ns) // printed_ns
        if behind_bytes < self._kept_bytes:
            self._told = self._told and behind_bytes > self._kept_bytes // 2
            return ""
        if self._told:
            return ""
        self._told = True
        return "it prints faster than it is read, and the engine keeps little: output may be missing here"
