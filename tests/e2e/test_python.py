"""`python -m dx`: in place of the launcher in everything that is not a run's own, which tests/contract sees to."""

import os
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.house import DEADLINE_S, House


@pytest.fixture
def house() -> Iterator[House]:
    """Without a daemon."""
    with House() as house:
        yield house


def python(house: House, *arguments: str, **options: Any) -> "subprocess.CompletedProcess[bytes]":
    """`python -m dx ARGUMENTS` to its end."""
    options = {"stdin": subprocess.DEVNULL, "capture_output": True, "timeout": DEADLINE_S, **options}
    return subprocess.run([*house.python, *arguments], **house.options(options))


LINES = [
    ["run", "--help"],
    ["run", "-h", "x"],
    ["run", "--env", "A=1", "--help"],
    ["run"],
    ["run", "--"],
    ["run", "--env"],
    ["run", "--env", "A=1"],
    ["run", "--environment", "x"],
    ["run", "--no-such-option=1", "x"],
    ["run", "-x", "y"],
    ["run", "-"],
    ["run", "--mount=", "--network"],
]


@pytest.mark.parametrize("line", LINES, ids=" ".join)
def test_the_same_words_without_a_daemon(house: House, line: list[str]) -> None:
    """Help and usage errors are the launcher's, to the byte, and start nothing."""
    launcher, other = house.dx(line), python(house, *line)
    assert (other.returncode, other.stdout, other.stderr) == (launcher.returncode, launcher.stdout, launcher.stderr)
    assert house.daemon is None


ENVIRONMENTS: dict[str, dict[str, str]] = {
    "no start": {"DX_NO_START": "1"},
    "no home": {"HOME": "", "DX_RUNTIME_DIR": "", "DX_STATE_DIR": ""},
    "a long path": {"DX_RUNTIME_DIR": "/tmp/" + "x" * 120},
    "too deep": {"DX_DEPTH": "20"},
    "a place that is none": {"DX_STATE_DIR": "/dev/null"},
    "a place of everybody": {"DX_RUNTIME_DIR": "/tmp"},
}


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_the_same_refusals(house: House, name: str) -> None:
    """What cannot work is said in the same words."""
    env = {**house.env, **ENVIRONMENTS[name]}
    line = ["run", "x"]
    launcher, other = house.dx(line, env=env), python(house, *line, env=env)
    assert launcher.returncode == 125
    assert (other.returncode, other.stdout, other.stderr) == (launcher.returncode, launcher.stdout, launcher.stderr)
    assert house.daemon is None


def test_it_starts_the_daemon(house: House, image: str) -> None:
    """Once for many that come together, and the launcher finds the same."""
    with ThreadPoolExecutor(8) as pool:
        done = list(pool.map(lambda number: python(house, "run", image, "echo", str(number)), range(8)))
    assert [each.stdout for each in done] == [b"%d\n" % number for number in range(8)], done[0].stderr
    pid = house.daemon
    assert pid is not None
    assert os.getsid(pid) == pid
    assert house.run([image, "true"]).returncode == 0
    assert house.daemon == pid


def test_a_daemon_that_does_not_start(house: House) -> None:
    """Its last words, as the launcher has them."""
    (house.runtime / "dxd.lock").mkdir()
    launcher, other = house.run(["x"]), python(house, "run", "x")
    assert b"dxd.lock: Is a directory" in launcher.stderr
    assert (other.returncode, other.stdout, other.stderr) == (125, b"", launcher.stderr)


def test_other_verbs(house: House) -> None:
    """Are those of the command line."""
    house.start()
    assert python(house, "ls", "--json").stdout == house.dx(["ls", "--json"]).stdout
    assert python(house, "no-such-verb").returncode == 125


def test_options(house: House, image: str) -> None:
    """Reach the daemon as the launcher's do."""
    options = ["--env", "A=b c", "--env=B_*", "--network", "none"]
    line = [*options, image, "sh", "-c", 'echo "$A$B_1"; ls /sys/class/net']
    done = python(house, "run", *line, env={**house.env, "B_1": "!"})
    assert (done.returncode, done.stdout, done.stderr) == (0, b"b c!\nlo\n", b"")
