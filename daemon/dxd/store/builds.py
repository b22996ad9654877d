"""The table of builds, and the logs beside it.

Made by `app`, written by whoever builds, read by whoever shows. `start` comes first: what went on when the daemon
before this one ended is over.
"""

import asyncio
import sqlite3
import time
import zlib
from collections.abc import AsyncGenerator, Collection, Generator, Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dxd.errors import NotFound
from dxd.store import policy
from dxd.store.database import Database
from dxd.store.logfile import LogFile, chunks
from dxd.store.model import Build, BuildId, Result

LINE_CHARACTERS = 1000
"""Of a cause and of an error, which are shown in tables."""

LEFT = "the daemon ended before it"

_COLUMNS = "id, tool, digest, image_id, began, seconds, result, cause, asked_by, error, served"


class Builds:
    """Every build that is remembered."""

    def __init__(self, database: Database, directory: Path) -> None:
        """`directory` is for the logs, made when there is one."""
        self._database = database
        self._directory = directory
        self._live: dict[BuildId, tuple[float, LogFile]] = {}
        """Of those that go on: when they began, by the monotonic clock, and their logs."""

    async def start(self) -> None:
        """Call those cancelled that no daemon has ended, and remove logs that belong to no build."""
        ids = await self._database.write(_end_all)
        if not self._database.in_memory():
            await self._database.run(lambda: self._sweep(ids))

    async def begin(self, tool: str, digest: str, *, cause: str, asked_by: str, parts: bytes = b"") -> BuildId:
        """A build begins. `parts` is whatever helps to name the cause of the next one, and comes back as it is.

        Where this is cancelled the build is, too.
        """
        packed = zlib.compress(parts)
        row = (tool, digest, time.time(), _line(cause), asked_by, packed)
        begun: list[BuildId] = []
        try:
            build = await self._database.write(lambda connection: _begin(connection, row, begun))
        except asyncio.CancelledError:
            # The thread does one thing after the other, so the build has begun by then.
            await self._database.write(lambda connection: _end(connection, begun, Result.CANCELLED))
            raise
        self._live[build] = time.monotonic(), LogFile(self._path(build), self._database.submit)
        return build

    def tell(self, build: BuildId, text: str) -> None:
        """Add lines to the log of a build that goes on; neither blocks nor raises."""
        if build in self._live:
            self._live[build][1].tell(text)

    async def pulled(
        self, tool: str, digest: str, image_id: str, *, cause: str, asked_by: str, seconds: float | None, fetched: str
    ) -> None:  # fmt: skip
        """An image was pulled for a tool, or was there; one that is known of the tool changes nothing.

        `fetched` is the name by which it was pulled and nobody else had it, or empty; `parts` gives it back.
        """
        row = (tool, digest, image_id, time.time() - (seconds or 0.0), seconds, _line(cause), asked_by)
        packed = zlib.compress(fetched.encode())
        await self._database.write(
            lambda connection: connection.execute(
                "INSERT INTO builds (tool, digest, image_id, began, seconds, cause, asked_by, parts, result)"
                " SELECT ?, ?, ?, ?, ?, ?, ?, ?, 'good' WHERE NOT EXISTS"
                " (SELECT 1 FROM builds WHERE tool = ? AND digest = ? AND result = 'good')",
                (*row, packed, tool, digest),
            )
        )

    async def made(self, build: BuildId, image_id: str) -> None:
        """The image of a build that goes on is there; known from before it gets a name, whatever becomes of it."""
        await self._database.write(
            lambda connection: connection.execute(
                "UPDATE builds SET image_id = ? WHERE id = ? AND result IS NULL", (image_id, build)
            )
        )

    async def end(self, build: BuildId, result: Result, *, image_id: str | None = None, error: str = "") -> Build:
        """A build has ended; a good one has an image, of which `made` may have told. A second end changes nothing.

        Raises `NotFound`.
        """
        began, file = self._live.pop(build, (None, None))
        if file is not None:
            file.close()
        seconds = None if began is None else time.monotonic() - began
        await self._database.write(lambda connection: _end(connection, [build], result, seconds, image_id, error))
        return await self.get(build)

    async def adopt(
        self, tool: str, digest: str, image_id: str, *, cause: str, asked_by: str, parts: bytes = b""
    ) -> Build:
        """The build of that image; one that is not known, because another dx has made it, is from now on."""
        row = (tool, digest, image_id, time.time(), _line(cause), asked_by, zlib.compress(parts))
        return await self.get(await self._database.write(lambda connection: _adopt(connection, row)))

    async def serves(self, build: BuildId) -> None:
        """Runs take it from now on."""
        await self._database.write(lambda connection: _serve(connection, build))

    async def all(self, tool: str | None = None) -> Sequence[Build]:
        """Every one, or those of a tool, the latest first."""
        if tool is None:
            return await self._select("1", ())
        return await self._select("tool = ?", (tool,))

    async def get(self, build: BuildId) -> Build:
        """One of them; raises `NotFound`."""
        for each in await self._select("id = ?", (build,)):
            return each
        raise _not_found(build)

    async def last_parts(self, tool: str) -> bytes | None:
        """What `begin` was given of the latest of a tool that was built and has an image, if one has."""
        where = "tool = ? AND result = 'good' AND digest NOT LIKE 'sha256:%'"
        query = f"SELECT parts FROM builds WHERE {where} ORDER BY id DESC LIMIT 1"  # noqa: S608 - ours
        row = await self._database.read(lambda connection: connection.execute(query, (tool,)).fetchone())
        return None if row is None else zlib.decompress(row[0])

    async def parts(self, build: BuildId) -> bytes:
        """What `begin` was given of it; raises `NotFound`."""
        row = await self._database.read(
            lambda connection: connection.execute("SELECT parts FROM builds WHERE id = ?", (build,)).fetchone()
        )
        if row is None:
            raise _not_found(build)
        return zlib.decompress(row[0])

    async def log(self, build: BuildId) -> AsyncGenerator[bytes, None]:
        """The log bit by bit, of one that goes on as far as it got. Raises `NotFound` before the first bit."""
        await self.get(build)
        tail = self._live[build][1].tail() if build in self._live else b""
        bits = chunks(self._path(build))
        try:
            first = await self._database.run(lambda: next(bits, b""))
        except OSError:
            raise NotFound(f"build {build} has no log", "see: dx builds") from None
        return self._rest(first, bits, tail)

    async def prune(
        self, *, keep: int, keep_days: float, held: Collection[BuildId], now: datetime | None = None
    ) -> Sequence[Build]:
        """Forget the builds that `policy.plan` drops; those that they were."""
        builds = await self.all()
        drops, _ = policy.plan(builds, keep=keep, keep_days=keep_days, held=held, now=now or datetime.now(UTC))
        gone = {each.id for each in drops}
        await self.remove(gone)
        return [each for each in builds if each.id in gone]

    async def remove(self, builds: Iterable[BuildId]) -> None:
        """Forget builds, and remove their logs; those that are not known or go on are left out."""
        ids = [each for each in builds if each not in self._live]
        await self._database.write(lambda connection: _delete(connection, ids))
        await self._database.run(lambda: self._unlink(ids))

    async def _select(self, where: str, values: tuple[object, ...], limit: int = -1) -> Sequence[Build]:
        query = f"SELECT {_COLUMNS} FROM builds WHERE {where} ORDER BY id DESC LIMIT ?"  # noqa: S608 - all ours
        return await self._database.read(
            lambda connection: [_build(row) for row in connection.execute(query, (*values, limit))]
        )

    async def _rest(self, first: bytes, bits: Generator[bytes, None, None], tail: bytes) -> AsyncGenerator[bytes, None]:
        try:
            bit = first
            while bit:
                yield bit
                bit = await self._database.run(lambda: next(bits, b""))
            if tail:
                yield tail
        finally:
            self._database.submit(bits.close)

    def _sweep(self, known: Collection[BuildId]) -> None:
        names = {self._path(each).name for each in known}
        with suppress(OSError):
            for each in self._directory.glob("*.log"):
                if each.name not in names:
                    each.unlink()

    def _unlink(self, builds: Iterable[BuildId]) -> None:
        for each in builds:
            with suppress(OSError):
                self._path(each).unlink()

    def _path(self, build: BuildId) -> Path:
        return self._directory / f"{build}.log"


def _end_all(connection: sqlite3.Connection) -> list[BuildId]:
    connection.execute("UPDATE builds SET result = 'cancelled', error = ? WHERE result IS NULL", (LEFT,))
    return [row[0] for row in connection.execute("SELECT id FROM builds")]


def _begin(connection: sqlite3.Connection, row: tuple[object, ...], begun: list[BuildId]) -> BuildId:
    columns = "tool, digest, began, cause, asked_by, parts"
    cursor = connection.execute(f"INSERT INTO builds ({columns}) VALUES (?, ?, ?, ?, ?, ?)", row)  # noqa: S608 - ours
    begun[:] = [BuildId(cursor.lastrowid or 0)]
    return begun[0]


def _end(
    connection: sqlite3.Connection,
    builds: Iterable[BuildId],
    result: Result,
    seconds: float | None = None,
    image_id: str | None = None,
    error: str = "",
) -> None:
    connection.executemany(
        "UPDATE builds SET result = ?, seconds = ?, image_id = COALESCE(?, image_id), error = ?"
        " WHERE id = ? AND result IS NULL",
        [(result, seconds, image_id, _line(error), each) for each in builds],
    )


def _adopt(connection: sqlite3.Connection, row: tuple[object, ...]) -> BuildId:
    tool, _, image, *_ = row
    query = "SELECT id FROM builds WHERE tool = ? AND image_id = ? ORDER BY id DESC LIMIT 1"
    if (there := connection.execute(query, (tool, image)).fetchone()) is not None:
        return BuildId(there[0])
    columns = "tool, digest, image_id, began, cause, asked_by, parts, result"
    cursor = connection.execute(f"INSERT INTO builds ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, 'good')", row)  # noqa: S608 - ours
    return BuildId(cursor.lastrowid or 0)


def _serve(connection: sqlite3.Connection, build: BuildId) -> None:
    latest = "SELECT COALESCE(MAX(served), 0) FROM builds"
    connection.execute(f"UPDATE builds SET served = ({latest}) + 1 WHERE id = ?", (build,))  # noqa: S608 - ours


def _delete(connection: sqlite3.Connection, builds: Iterable[BuildId]) -> None:
    connection.executemany("DELETE FROM builds WHERE id = ?", [(each,) for each in builds])


def _build(row: tuple[Any, ...]) -> Build:
    number, tool, digest, image_id, began, seconds, result, cause, asked_by, error, served = row
    return Build(
        id=BuildId(number),
        tool=tool,
        digest=digest,
        image_id=image_id,
        began=datetime.fromtimestamp(began, UTC),
        seconds=seconds,
        result=None if result is None else Result(result),
        cause=cause,
        asked_by=asked_by,
        error=error,
        served=served,
    )


def _line(text: str) -> str:
    """Fit for a table, and for SQLite, which takes no halves of characters."""
    return " ".join(text.split())[:LINE_CHARACTERS].encode(errors="backslashreplace").decode()


def _not_found(build: BuildId) -> NotFound:
    return NotFound(f"there is no build {build}", "see: dx builds")
