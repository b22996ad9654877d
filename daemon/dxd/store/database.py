"""The SQLite file: opened, migrated, used and given up here, all in one thread of its own.

Nobody depends on it being there. A file that is no database, or that a newer dx wrote, is set aside as `FILE.old` and
a new one begun. Where the disk takes nothing more, what is known goes on in memory, with one warning, and back to the
file with the first write that works again.
"""

import asyncio
import os
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from typing import TypeVar

from dxd.telemetry import get_logger

T = TypeVar("T")

Work = Callable[[sqlite3.Connection], T]
"""What is done in the thread, as one transaction. It may be done twice: it must change nothing but the database."""

BUSY_S = 2.0
"""How long somebody else who looks at the file, with `sqlite3` for example, may keep it."""

_BROKEN = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_UNWRITABLE = frozenset(
    {
        *(sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN),
        *(sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PERM),
    }
)

log = get_logger("store")


class Unusable(Exception):
    """The file is there and cannot be used by this dx; says why."""


class Database:
    """One file, which is opened at the first call. Made by `app`, who closes it."""

    def __init__(self, file: Path, migrations: Sequence[str]) -> None:
        """`migrations` are SQL scripts: the first makes the tables, each later one leads from the version before it."""
        self._file = file
        self._migrations = migrations
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="store")
        self._connection: sqlite3.Connection | None = None
        self._in_memory = False
        self._returns = True
        """Whether what is in memory may take the place of what is in the file."""

    def in_memory(self) -> bool:
        """Whether the file has to do without what is known now."""
        return self._in_memory

    async def read(self, work: Work[T]) -> T:
        """The result of a look at it; cancelling does not end the look."""
        return await self.run(lambda: self._attempt(work))

    async def write(self, work: Work[T]) -> T:
        """The result of a change, which is in the file then; it happens even where the caller is cancelled."""
        return await self.run(lambda: self._attempt(work, changes=True))

    def submit(self, job: Callable[[], T]) -> "Future[T]":
        """Do something else in the thread, after all that was asked of it so far; what it raises is in the future."""
        return self._worker.submit(job)

    async def run(self, job: Callable[[], T]) -> T:
        """The same, and wait for it; it is done even where the caller is cancelled."""
        return await asyncio.shield(asyncio.wrap_future(self._worker.submit(job)))

    async def close(self) -> None:
        """Do what was asked for, and close the file; nothing may be asked of it after."""
        await self.run(self._close)
        self._worker.shutdown()

    def _attempt(self, work: Work[T], *, changes: bool = False) -> T:
        """In the thread: with a file that breaks or fills up under it, once more with what takes its place."""
        if self._connection is None:
            self._connection = self._open()
        if changes and self._in_memory and self._returns:
            self._return_to_file()
        try:
            return self._transact(self._connection, work)
        except sqlite3.Error as error:
            code = _code(error)
            if self._in_memory or code not in _BROKEN | _UNWRITABLE:
                raise
            if code in _BROKEN:
                self._close()
                self._set_aside(str(error))
                self._connection = self._open()
            else:
                self._leave_file(error)
        return self._transact(self._connection, work)

    def _transact(self, connection: sqlite3.Connection, work: Work[T]) -> T:
        connection.execute("BEGIN")
        try:
            result = work(connection)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:  # a full disk ends it by itself
                connection.execute("ROLLBACK")
            raise
        return result

    def _open(self) -> sqlite3.Connection:
        """The file, or memory where there can be none."""
        for attempt in ("as it is", "anew"):
            try:
                return self._open_file()
            except (sqlite3.Error, OSError, Unusable) as error:
                broken = isinstance(error, Unusable) or _code(error) in _BROKEN
                if not broken or attempt == "anew" or not self._set_aside(str(error)):
                    log.warning("history is not kept for now", file=str(self._file), reason=str(error))
                    break
        self._in_memory = True
        memory = sqlite3.connect(":memory:", isolation_level=None)
        self._returns = not self._file.exists()
        if not broken:
            with (
                suppress(sqlite3.Error),
                closing(sqlite3.connect(f"{self._file.as_uri()}?immutable=1", uri=True)) as old,
            ):
                old.backup(memory)
                self._returns = True
        return self._migrate(memory)

    def _open_file(self) -> sqlite3.Connection:
        self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # SQLite gives its other files the mode of this one.
        fd = os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            versions = os.pread(fd, 2, 18)
        finally:
            os.close(fd)
        # SQLite takes a file that says otherwise for one to be read only, and each copy of it, in memory too:
        # https://sqlite.org/fileformat.html, 1.3.3
        if not set(versions) <= {1, 2}:
            raise Unusable("its header is spoilt")
        connection = sqlite3.connect(self._file, timeout=BUSY_S, isolation_level=None)
        try:
            try:
                connection.execute("PRAGMA journal_mode = WAL").fetchone()
                connection.execute("PRAGMA synchronous = NORMAL")  # in WAL mode a power cut costs the last rows at most
                said = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
            except sqlite3.Error as error:
                if _code(error) == sqlite3.SQLITE_ERROR:  # nothing is wrong with the questions
                    raise Unusable(str(error)) from None
                raise
            if said != "ok":
                raise Unusable(said)
            migrated = self._migrate(connection)
            if _columns(migrated) != self._expected():
                raise Unusable("its tables are others than those of its version")
            return migrated
        except BaseException:
            connection.close()
            raise

    def _expected(self) -> set[tuple[bytes, bytes]]:
        with closing(sqlite3.connect(":memory:", isolation_level=None)) as memory:
            return _columns(self._migrate(memory))

    def _migrate(self, connection: sqlite3.Connection) -> sqlite3.Connection:
        version: int = connection.execute("PRAGMA user_version").fetchone()[0]
        if not 0 <= version <= len(self._migrations):
            raise Unusable(f"it is of version {version}, this dx knows {len(self._migrations)}")
        for number, script in enumerate(self._migrations[version:], version + 1):
            connection.executescript(f"BEGIN; {script}; PRAGMA user_version = {number}; COMMIT")
        return connection

    def _set_aside(self, reason: str) -> bool:
        """Make place for a new file; False where that cannot be."""
        old = self._file.with_name(f"{self._file.name}.old")
        try:
            for suffix in ("", "-wal"):
                with suppress(FileNotFoundError):
                    Path(f"{old}{suffix}").unlink()
                with suppress(FileNotFoundError):
                    Path(f"{self._file}{suffix}").rename(f"{old}{suffix}")
            Path(f"{self._file}-shm").unlink(missing_ok=True)
        except OSError:
            return False
        log.warning("history begins anew", file=str(self._file), old=str(old), reason=reason)
        return True

    def _leave_file(self, error: sqlite3.Error) -> None:
        """Go on in memory, with all that can still be read."""
        log.warning("history is not kept for now", file=str(self._file), reason=str(error))
        file, memory = self._connection, sqlite3.connect(":memory:", isolation_level=None)
        assert file is not None
        with closing(file), suppress(sqlite3.Error):
            file.backup(memory)
        self._connection, self._in_memory = self._migrate(memory), True

    def _return_to_file(self) -> None:
        """Put everything back where it belongs, if that is possible again."""
        memory = self._connection
        assert memory is not None
        try:
            file = self._open_file()
        except (sqlite3.Error, OSError, Unusable):
            return
        try:
            memory.backup(file)
        except sqlite3.Error:
            file.close()
            return
        memory.close()
        self._connection, self._in_memory = file, False
        log.info("history is kept again", file=str(self._file))

    def _close(self) -> None:
        if self._connection is not None:
            with suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None


def _columns(connection: sqlite3.Connection) -> set[tuple[bytes, bytes]]:
    """Each with its table; as bytes, because a spoilt name may be no text."""
    names = "CAST(m.name AS BLOB), CAST(c.name AS BLOB)"
    return set(connection.execute(f"SELECT {names} FROM sqlite_master m, pragma_table_info(m.name) c"))  # noqa: S608


def _code(error: Exception) -> int:
    """SQLite's primary result code, without what extends it: https://sqlite.org/rescode.html."""
    return (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
