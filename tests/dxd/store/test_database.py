"""The file under the history: real files, really broken."""

import asyncio
import sqlite3
import stat
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from dxd.store.database import Database

FIRST = "CREATE TABLE words (word TEXT NOT NULL)"
SECOND = "ALTER TABLE words ADD COLUMN length INTEGER; UPDATE words SET length = length(word)"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "state" / "history.db"


@pytest.fixture
async def database(file: Path) -> AsyncIterator[Database]:
    database = Database(file, [FIRST])
    yield database
    await database.close()


@pytest.fixture
def logged(capsys: pytest.CaptureFixture[str]) -> Callable[[], list[str]]:
    """The lines of the log since it was asked last, which is not configured and goes to standard output."""

    def lines() -> list[str]:
        return [line for line in capsys.readouterr().out.splitlines() if line]

    return lines


async def add(database: Database, word: str) -> None:
    await database.write(lambda connection: connection.execute("INSERT INTO words (word) VALUES (?)", (word,)))


async def words(database: Database) -> list[str]:
    def look(connection: sqlite3.Connection) -> list[str]:
        return [row[0] for row in connection.execute("SELECT word FROM words ORDER BY rowid")]

    return await database.read(look)


async def reopened(file: Path, *migrations: str) -> list[str]:
    """What somebody finds who comes later."""
    database = Database(file, migrations or [FIRST])
    try:
        return await words(database)
    finally:
        await database.close()


async def test_what_was_written_is_there_for_the_next(database: Database, file: Path) -> None:
    await add(database, "one")
    assert await words(database) == ["one"]
    await add(database, "two")
    assert await reopened(file) == ["one", "two"]


async def test_its_files_are_private(database: Database, file: Path) -> None:
    """What was built, and why, is nobody else's business."""
    await add(database, "one")
    modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in file.parent.iterdir()}
    assert modes == {"history.db": 0o600, "history.db-wal": 0o600, "history.db-shm": 0o600}
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


async def test_a_change_that_fails_changes_nothing(database: Database) -> None:
    def half(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO words (word) VALUES ('half')")
        connection.execute("INSERT INTO words (word) VALUES (NULL)")

    with pytest.raises(sqlite3.IntegrityError):
        await database.write(half)
    assert await words(database) == []
    assert not database.in_memory()


async def test_a_change_is_made_though_its_caller_is_cancelled(database: Database) -> None:
    """Also where it had to wait."""
    started = asyncio.Event()

    async def change() -> None:
        started.set()
        await add(database, "late")

    task = asyncio.create_task(change())
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await words(database) == ["late"]


async def test_the_loop_turns_meanwhile(database: Database) -> None:
    """SQLite waits in its own thread."""
    turned = asyncio.Event()
    loop = asyncio.get_running_loop()

    def wait(connection: sqlite3.Connection) -> bool:
        return asyncio.run_coroutine_threadsafe(turned.wait(), loop).result(20)

    task = asyncio.create_task(database.read(wait))
    await asyncio.sleep(0)
    turned.set()
    assert await task


async def test_a_file_of_an_older_version_is_brought_up(database: Database, file: Path) -> None:
    await add(database, "three")
    newer = Database(file, [FIRST, SECOND])
    rows = await newer.read(lambda connection: connection.execute("SELECT word, length FROM words").fetchall())
    assert rows == [("three", 5)]
    await newer.close()
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (2,)


async def test_a_migration_that_fails_leaves_the_file_as_it_was(database: Database, file: Path) -> None:
    await add(database, "one")
    newer = Database(file, [FIRST, "ALTER TABLE words ADD COLUMN more; INSERT INTO nowhere VALUES (1)"])
    with pytest.raises(sqlite3.Error):
        await words(newer)
    await newer.close()
    assert await reopened(file) == ["one"]


@pytest.mark.parametrize("spoil", ["text", "newer", "page"])
async def test_a_file_that_is_of_no_use_is_set_aside(
    file: Path, spoil: str, logged: Callable[[], list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    """With one line in the log; the next start finds the new one in order."""
    database = Database(file, [FIRST])
    for number in range(200):
        await add(database, f"{number}" * 50)
    await database.close()
    if spoil == "text":
        file.write_bytes(b"this is no database" * 100)
    elif spoil == "newer":
        with closing(sqlite3.connect(file)) as connection:
            connection.execute("PRAGMA user_version = 99")
    else:
        content = bytearray(file.read_bytes())
        content[4096 : 4096 + 200] = b"\xff" * 200
        file.write_bytes(content)
    spoilt = file.read_bytes()
    logged()
    database = Database(file, [FIRST])
    assert await words(database) == []
    await add(database, "new")
    await database.close()
    (line,) = logged()
    assert "history begins anew" in line
    assert file.with_name("history.db.old").read_bytes() == spoilt
    assert await reopened(file) == ["new"]


async def test_no_single_byte_of_it_matters(file: Path) -> None:
    """Whichever is another one, and with none at all: it is used or set aside, and takes what comes."""
    database = Database(file, [FIRST])
    await add(database, "one")
    await database.close()
    whole = file.read_bytes()
    for at in [*range(100), *range(100, len(whole), 97), None]:  # the header is a hundred bytes
        content = bytearray(whole if at is not None else b"")
        if at is not None:
            content[at] ^= 0xFF
        file.write_bytes(content)
        for suffix in ("-wal", "-shm"):
            file.with_name(f"{file.name}{suffix}").unlink(missing_ok=True)
        database = Database(file, [FIRST])
        assert len(await words(database)) < 2
        await add(database, "new")
        assert (await words(database))[-1] == "new"
        await database.close()
        assert (await reopened(file))[-1] == "new"


async def test_a_file_that_breaks_while_it_is_used_is_set_aside(database: Database, file: Path) -> None:
    """The question is asked again, of the new one."""
    for number in range(20):
        await add(database, f"{number}" * 1000)

    def put_all_on_disk() -> None:
        assert database._connection is not None
        for each in ("wal_checkpoint(TRUNCATE)", "cache_size = 0", "shrink_memory"):
            database._connection.execute(f"PRAGMA {each}").fetchall()

    await database.run(put_all_on_disk)
    content = bytearray(file.read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)  # all but the first page, which has the schema
    file.write_bytes(content)
    assert await words(database) == []
    assert file.with_name("history.db.old").read_bytes() == content
    await add(database, "new")
    assert await reopened(file) == ["new"]


def limit(pages: int) -> Callable[[sqlite3.Connection], Any]:
    """Makes the database full: SQLite answers as it does where the disk is."""
    return lambda connection: connection.execute(f"PRAGMA max_page_count = {pages}").fetchall()


async def test_a_full_disk_costs_nothing_but_one_warning(
    database: Database, file: Path, logged: Callable[[], list[str]]
) -> None:
    """What was known and what is new goes on in memory, and is in the file as soon as that is possible again."""
    await add(database, "before")
    await database.read(limit(1))
    logged()
    # The file cannot even be opened again meanwhile.
    aside = file.rename(file.with_name("aside"))
    file.mkdir()
    await add(database, "x" * 10_000)
    await add(database, "meanwhile")
    assert [each[:8] for each in await words(database)] == ["before", "xxxxxxxx", "meanwhile"[:8]]
    assert database.in_memory()
    (line,) = logged()
    assert "history is not kept for now" in line
    assert "full" in line
    file.rmdir()
    aside.rename(file)
    await add(database, "after")
    assert not database.in_memory()
    assert [each[:8] for each in await reopened(file)] == ["before", "xxxxxxxx", "meanwhil", "after"]
    (line,) = logged()
    assert "history is kept again" in line


async def test_where_there_can_be_no_file_it_is_in_memory(tmp_path: Path, logged: Callable[[], list[str]]) -> None:
    """A state directory that is a file, for example."""
    (tmp_path / "state").write_text("")
    database = Database(tmp_path / "state" / "history.db", [FIRST])
    await add(database, "one")
    assert await words(database) == ["one"]
    assert database.in_memory()
    await database.close()
    (line,) = logged()
    assert "history is not kept for now" in line


async def test_what_is_in_a_file_that_cannot_be_changed_is_known(file: Path) -> None:
    """And is not overwritten by less once it can."""
    before = Database(file, [FIRST])
    await add(before, "one")
    await before.close()
    wal = file.with_name("history.db-wal")
    wal.mkdir()  # which keeps SQLite from opening it as usual
    database = Database(file, [FIRST])
    assert await words(database) == ["one"]
    assert database.in_memory()
    wal.rmdir()
    await add(database, "two")
    assert not database.in_memory()
    await database.close()
    assert await reopened(file) == ["one", "two"]
