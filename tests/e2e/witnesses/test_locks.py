"""Programs that take turns by locks on files: those in images and those of this machine exclude each other."""

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.house import DEADLINE_S, House

EACH = 20
COUNT = "".join("BEGIN IMMEDIATE; UPDATE counter SET n = n + 1; COMMIT;\n" for _ in range(EACH))


@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_sqlite_loses_no_update(home: House, mode: str) -> None:
    """Six processes in runs and three of this machine on one database; a write-ahead log has shared memory, too."""
    place = Path(os.fsdecode(home.place()))
    begin = f"PRAGMA journal_mode = {mode}; CREATE TABLE counter (n INTEGER); INSERT INTO counter VALUES (0);"
    assert home.run(["sqlite3", "x.db", begin], cwd=place).stdout == f"{mode}\n".encode()
    line = ["sqlite3", "-bail", "-cmd", ".timeout 60000", "x.db"]
    native = home.options({"cwd": place})
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    started = [home.popen(["run", *line], cwd=place, **pipes) for _ in range(6)]
    started += [subprocess.Popen(line, **native, **pipes) for _ in range(3)]
    for process in started:
        assert process.stdin is not None
        process.stdin.write(COUNT.encode())
        process.stdin.close()
        process.stdin = None
    for process in started:
        out, err = process.communicate(timeout=DEADLINE_S)
        assert (process.returncode, out, err) == (0, b"", b"")
    check = ["sqlite3", "x.db", "PRAGMA integrity_check; SELECT n FROM counter;"]
    assert subprocess.check_output(check, **native, timeout=DEADLINE_S) == f"ok\n{9 * EACH}\n".encode()
    assert home.run(check, cwd=place).stdout == f"ok\n{9 * EACH}\n".encode()


def test_flock_holds_on_both_sides(home: House) -> None:
    """A lock that a run holds is held for this machine, and the other way round, until its process has ended."""
    place = Path(os.fsdecode(home.place()))
    held = ["flock", "lock", "sh", "-c", "echo mine; read word"]
    wanted = ["flock", "--nonblock", "lock", "true"]
    dx: list[str] = [str(home.bin / "dx"), "run"]
    options = home.options({"cwd": place})
    for first, second in ((dx, []), ([], dx), (dx, dx)):
        with subprocess.Popen([*first, *held], **options, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"mine\n"
            assert subprocess.run([*second, *wanted], **options, timeout=DEADLINE_S).returncode == 1
            process.kill()
            process.communicate(timeout=DEADLINE_S)
        # A run whose launcher was killed ends a moment later, natively the shell below does at the end of its input.
        assert subprocess.run([*second, "flock", "lock", "true"], **options, timeout=DEADLINE_S).returncode == 0
