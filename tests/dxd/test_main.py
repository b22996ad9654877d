"""`dxd` from outside, up to where the daemon would be put together."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dx import __version__
from dxd.lifecycle.lock import Lock


def dxd(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run dxd to its end."""
    return subprocess.run(
        [sys.executable, "-m", "dxd", *arguments],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path), **variables},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_version_and_help() -> None:
    assert dxd("--version").stdout == f"dxd {__version__}\n"
    assert dxd("--help").stdout.startswith("usage: dxd")


def test_an_unknown_argument_is_refused() -> None:
    done = dxd("--port", "80")
    assert done.returncode == 2
    assert done.stderr == "dxd: unknown argument '--port'; see dxd --help\n"


def test_a_second_daemon_says_who_runs_and_ends_well(tmp_path: Path) -> None:
    """Before it has imported anything large."""
    lock = Lock.take(tmp_path)
    tmp_path.chmod(0o700)
    done = dxd(HOME="/", DX_RUNTIME_DIR=str(tmp_path))
    lock.release()
    assert (done.returncode, done.stderr) == (0, f"dxd: already running, pid {os.getpid()}\n")


@pytest.mark.parametrize(
    ("variables", "line"),
    [
        ({}, "dxd: HOME is not set; set it, or"),
        ({"HOME": "/", "XDG_RUNTIME_DIR": "/proc/none"}, "dxd: cannot make the runtime directory /proc/none/dx: "),
        ({"HOME": "/", "DX_RUNTIME_DIR": "/" + "x" * 200}, "dxd: the path of the socket"),
    ],
)
def test_a_start_that_cannot_be_is_one_line(variables: dict[str, str], line: str) -> None:
    """With what to do, and without a traceback."""
    if os.getuid() == 0 and "DX_RUNTIME_DIR" in variables:
        variables = {**variables, "DX_RUNTIME_DIR": "/tmp/" + "x" * 200}
    done = dxd(**variables)
    assert done.returncode == 1
    assert done.stderr.startswith(line)
    assert done.stderr.count("\n") == 1


def test_closed_standard_descriptors_are_made_up_for(tmp_path: Path) -> None:
    """Otherwise a socket would become standard error, and be written to."""
    done = subprocess.run(
        ["sh", "-c", f'exec "{sys.executable}" -m dxd --version <&- >&- 2>&-'],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path)},
        timeout=60,
    )
    assert done.returncode == 0
