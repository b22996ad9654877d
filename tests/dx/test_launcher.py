"""`python -m dx run` starts in the time of a few imports, and reads its caller from the kernel."""

import os
import subprocess
import sys

import pytest

from dx.errors import RunFailed
from dx.launcher import caller, main
from dx.launcher.caller import State

DEAR = {"typing", "socket", "signal", "enum", "pathlib", "subprocess", "re", "inspect", "dataclasses", "http.client"}
"""Modules that take milliseconds to import."""


def test_the_imports_are_few() -> None:
    """All that a run needs, and nothing dear."""
    script = "import sys, dx.launcher.main; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    imported = set(done.stdout.split())
    assert "dx.launcher.relay" in imported
    assert not imported & DEAR


@pytest.mark.parametrize(
    ("line", "options", "command"),
    [
        ([b"x"], [], [b"x"]),
        ([b"x", b"--env", b"A=1"], [], [b"x", b"--env", b"A=1"]),
        ([b"--env", b"A=1", b"--env=B", b"x"], [b"env=A=1", b"env=B"], [b"x"]),
        ([b"--mount=a b", b"--network", b"none", b"--", b"-x", b"--"], [b"mount=a b", b"network=none"], [b"-x", b"--"]),
        ([b"--env=", b"--env", b"--help", b"x"], [b"env=", b"env=--help"], [b"x"]),
        ([b"--help"], [], None),
    ],
)
def test_options_stand_before_the_command(line: list[bytes], options: list[bytes], command: list[bytes] | None) -> None:
    """All that follows is the command's."""
    assert main.read(line) == (options, command)


def test_the_depth_is_counted_in_the_environment() -> None:
    """In place of what was there, and to an end."""
    assert caller.deeper([b"A=1"]) == [b"A=1", b"DX_DEPTH=1"]
    assert caller.deeper([b"DX_DEPTH=7", b"A=1"]) == [b"A=1", b"DX_DEPTH=8"]
    assert caller.deeper([b"DX_DEPTH=x"]) == [b"DX_DEPTH=1"]
    with pytest.raises(RunFailed):
        caller.deeper([b"DX_DEPTH=20"])


def test_the_state_of_the_caller_is_read_and_not_changed() -> None:
    """The umask too, which other ways to read would have to change."""
    before = os.umask(0o137)
    try:
        state = State()
        assert state.umask == 0o137
        assert os.umask(0o137) == 0o137
    finally:
        os.umask(before)
    assert state.nice == os.getpriority(os.PRIO_PROCESS, 0)
    assert state.ignored & (1 << 12 | 1 << 24) == 0
    assert len(state.limits) == 32
