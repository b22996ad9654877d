"""The lock: one daemon for each runtime directory, for as long as its process lives."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dxd.errors import Refused
from dxd.lifecycle.lock import LOCK_NAME, AlreadyRunning, Lock

HOLD = "import sys; from pathlib import Path; from dxd.lifecycle.lock import Lock; import signal\n"
HOLD += "lock = Lock.take(Path(sys.argv[1])); print('held', flush=True); signal.pause()"


@contextmanager
def holder(directory: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, directory],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


def test_the_lock_names_its_holder(tmp_path: Path) -> None:
    """For people, and for starts that lose."""
    lock = Lock.take(tmp_path)
    assert (tmp_path / LOCK_NAME).read_text() == f"{os.getpid()}\n"
    assert (tmp_path / LOCK_NAME).stat().st_mode & 0o777 == 0o600
    lock.release()
    assert (tmp_path / LOCK_NAME).read_text() == ""


def test_a_second_start_is_told_who_runs(tmp_path: Path) -> None:
    """At once, without waiting."""
    with holder(tmp_path) as process, pytest.raises(AlreadyRunning) as caught:
        Lock.take(tmp_path)
    assert caught.value.pid == process.pid
    assert str(caught.value) == f"dxd is already running, pid {process.pid}"


def test_a_killed_holder_leaves_no_lock_behind(tmp_path: Path) -> None:
    """The kernel takes it back; what the file says does not matter."""
    with holder(tmp_path) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
        lock = Lock.take(tmp_path)
        assert (tmp_path / LOCK_NAME).read_text() == f"{os.getpid()}\n"
        lock.release()


def test_a_start_waits_for_a_holder_that_is_stopping(tmp_path: Path) -> None:
    """So a restart needs no retry by whoever asks for it."""
    first = Lock.take(tmp_path)
    first.mark_stopping()
    taken: list[Lock] = []
    waiting = threading.Thread(target=lambda: taken.append(Lock.take(tmp_path)))
    waiting.start()
    first.release()
    waiting.join(10)
    assert taken
    taken[0].release()


def test_a_start_waits_for_no_longer_than_its_patience(tmp_path: Path) -> None:
    first = Lock.take(tmp_path)
    first.mark_stopping()
    with pytest.raises(AlreadyRunning):
        Lock.take(tmp_path, patience_s=0.05)
    first.release()


@pytest.mark.parametrize("content", [b"", b"\xff-1\n"])
def test_a_holder_that_does_not_say_its_pid_is_a_holder_all_the_same(tmp_path: Path, content: bytes) -> None:
    """Garbage in the file is no reason to start a second daemon."""
    lock = Lock.take(tmp_path)
    (tmp_path / LOCK_NAME).write_bytes(content)
    with pytest.raises(AlreadyRunning) as caught:
        Lock.take(tmp_path)
    assert caught.value.pid is None
    lock.release()


def test_a_removed_lock_file_is_noticed(tmp_path: Path) -> None:
    lock = Lock.take(tmp_path)
    assert lock.holds()
    lock.path.unlink()
    assert not lock.holds()
    lock.path.touch()
    assert not lock.holds()
    lock.release()


def test_a_symbolic_link_in_its_place_is_refused(tmp_path: Path) -> None:
    """It would be written through."""
    (tmp_path / LOCK_NAME).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Refused, match=r"cannot make .*dxd\.lock"):
        Lock.take(tmp_path)
    assert not (tmp_path / "elsewhere").exists()
