"""The daemon's log, on real descriptors in a process of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

from dxd import telemetry

START = """
import logging, os, sys
from pathlib import Path
from dxd import telemetry
telemetry.configure(Path(sys.argv[1]))
log = telemetry.get_logger("tests")
"""


def run(
    program: str, log_file: Path, *, stderr: int | None = None, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run a program that logs."""
    return subprocess.run(
        [sys.executable, "-c", START + program, log_file],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **variables},
        stdout=subprocess.PIPE if stderr is None else stderr,
        stderr=subprocess.PIPE if stderr is None else stderr,
        text=True,
        check=True,
    )


def test_a_line_is_json_where_no_terminal_is(tmp_path: Path) -> None:
    """With time, level, room and the fields as they were given; what JSON has no word for is text."""
    done = run('log.info("run", id=7, path=Path("/x"), raw=b"\\xff")', tmp_path / "log")
    line = json.loads(done.stderr)
    assert line.pop("time").endswith("Z")
    assert line == {"event": "run", "level": "info", "room": "tests", "id": 7, "path": "/x", "raw": "b'\\xff'"}


def test_a_terminal_gets_text(tmp_path: Path) -> None:
    master, slave = os.openpty()
    run('log.info("hello", answer=42)', tmp_path / "log", stderr=slave, NO_COLOR="1")
    os.close(slave)
    text = os.read(master, 4096).decode()
    os.close(master)
    assert "hello" in text
    assert "answer=42" in text
    assert "\x1b" not in text


def test_environment_and_arguments_are_never_logged(tmp_path: Path) -> None:
    """Nor the local variables of a traceback."""
    program = """
def fail(env):
    secret = env["PASSWORD"]
    raise RuntimeError("broken")
try:
    fail({"PASSWORD": "can" + "ary"})
except RuntimeError:
    log.exception("failed", env={"PASSWORD": "canary"}, argv=["canary"], token=b"canary", args=("canary",))
"""
    done = run(program, tmp_path / "log")
    assert "canary" not in done.stderr
    assert "RuntimeError: broken" in json.loads(done.stderr)["exception"]
    master, slave = os.openpty()
    run(program, tmp_path / "log", stderr=slave)
    os.close(slave)
    text = os.read(master, 65536).decode()
    os.close(master)
    assert "broken" in text
    assert "canary" not in text


def test_what_libraries_log_comes_too_from_warnings_up(tmp_path: Path) -> None:
    done = run('logging.getLogger("aiohttp.server").info("no"); logging.getLogger("asyncio").error("%d", 5)', tmp_path)
    line = json.loads(done.stderr)
    assert (line["room"], line["event"], line["level"]) == ("asyncio", "5", "error")


def test_debug_lines_are_left_out(tmp_path: Path) -> None:
    assert run('log.debug("no")', tmp_path / "log").stderr == ""


def test_the_log_file_is_rotated_with_everything_that_writes_to_it(tmp_path: Path) -> None:
    """At most one old file is kept, and no line is lost or split."""
    log_file = tmp_path / "dxd.log"
    program = """
telemetry.MAX_LOG_BYTES = 1000
for number in range(40):
    log.info("line", number=number)
os.write(1, b'{"number": "stdout"}\\n')
"""
    with log_file.open("a") as file:
        run(program, log_file, stderr=file.fileno())
    assert sorted(os.listdir(tmp_path)) == ["dxd.log", "dxd.log.1"]
    assert log_file.stat().st_size <= 1100
    assert (tmp_path / "dxd.log.1").stat().st_size <= 1000
    lines = ((tmp_path / "dxd.log.1").read_text() + log_file.read_text()).splitlines()
    numbers = [json.loads(line)["number"] for line in lines]
    assert numbers[-1] == "stdout"
    assert numbers[:-1] == list(range(numbers[0], 40))
    assert log_file.stat().st_mode & 0o777 in (0o600, 0o644)


def test_a_file_that_is_not_the_daemons_own_is_never_rotated(tmp_path: Path) -> None:
    """`dxd 2>mine` writes into a file of the user's."""
    with (tmp_path / "mine").open("a") as file:
        run('telemetry.MAX_LOG_BYTES = 10\nlog.info("a")\nlog.info("b")', tmp_path / "dxd.log", stderr=file.fileno())
    assert os.listdir(tmp_path) == ["mine"]


def test_a_log_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = run('log.info("lost")', tmp_path / "log", stderr=full.fileno())
    assert done.returncode == 0


def test_rich_is_never_imported(tmp_path: Path) -> None:
    """It costs 50 ms at each start, where it happens to be installed."""
    done = run("sys.stdout.write(str([name for name in sys.modules if name.split('.')[0] == 'rich']))", tmp_path)
    assert done.stdout == "[]"


def test_hide_leaves_other_keys_alone() -> None:
    assert telemetry.hide(None, "info", {"event": "e", "env": 1, "environs": 2}) == {
        "event": "e",
        "env": "(hidden)",
        "environs": 2,
    }
