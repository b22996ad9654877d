"""Files read and replaced whole."""

import os
import stat
from pathlib import Path

import pytest

from dxd.kit import atomic


def test_a_new_file_has_the_mode_asked_for_and_its_parents_are_private(tmp_path: Path) -> None:
    """What is in it may be secret, so nobody else may look."""
    file = tmp_path / "a" / "b" / "dx.toml"
    atomic.write(file, b"one")
    assert file.read_bytes() == b"one"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


def test_the_mode_of_an_old_file_stays(tmp_path: Path) -> None:
    """People who share their file go on sharing it."""
    file = tmp_path / "dx.toml"
    file.write_bytes(b"old")
    file.chmod(0o664)
    atomic.write(file, b"new")
    assert (file.read_bytes(), stat.S_IMODE(file.stat().st_mode)) == (b"new", 0o664)


def test_the_owner_of_an_old_file_stays(tmp_path: Path) -> None:
    """Root who edits a user's file does not take it away."""
    file = tmp_path / "dx.toml"
    file.write_bytes(b"old")
    if os.geteuid() == 0:
        os.chown(file, 1234, 1235)
    owner = (file.stat().st_uid, file.stat().st_gid)
    atomic.write(file, b"new")
    assert (file.stat().st_uid, file.stat().st_gid) == owner


def test_a_symlink_is_followed(tmp_path: Path) -> None:
    """A dx.toml kept in a repository of dot files stays a symlink."""
    target = tmp_path / "dotfiles" / "dx.toml"
    link = tmp_path / "dx.toml"
    link.symlink_to(target)
    atomic.write(link, b"new")
    assert link.is_symlink()
    assert target.read_bytes() == b"new"


def test_a_loop_of_symlinks_is_an_error(tmp_path: Path) -> None:
    """It is not replaced by a file."""
    link = tmp_path / "dx.toml"
    link.symlink_to(link)
    with pytest.raises(OSError, match="symbolic links"):
        atomic.write(link, b"new")
    assert link.is_symlink()


def test_a_check_that_raises_calls_the_write_off(tmp_path: Path) -> None:
    """The file is as before and nothing is left beside it."""
    file = tmp_path / "dx.toml"
    file.write_bytes(b"old")

    def refuse() -> None:
        raise LookupError

    with pytest.raises(LookupError):
        atomic.write(file, b"new", check=refuse)
    assert file.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["dx.toml"]


def test_a_directory_is_not_replaced(tmp_path: Path) -> None:
    """Neither by write nor read as if it were a file."""
    (tmp_path / "dx.toml").mkdir()
    with pytest.raises(IsADirectoryError):
        atomic.write(tmp_path / "dx.toml", b"")
    with pytest.raises(IsADirectoryError):
        atomic.read(tmp_path / "dx.toml", limit_bytes=10)


def test_a_full_disk_leaves_the_old_file(tmp_path: Path) -> None:
    """RLIMIT_FSIZE stands in for the disk: the write fails in the same place."""
    file = tmp_path / "dx.toml"
    file.write_bytes(b"old")
    pid = os.fork()
    if pid == 0:
        import resource
        import signal

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))
        try:
            atomic.write(file, b"x" * 100)
        except OSError:
            os._exit(7)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    assert file.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["dx.toml"]


def test_a_fifo_is_refused_at_once(tmp_path: Path) -> None:
    """Opening one for reading would wait for a writer."""
    os.mkfifo(tmp_path / "dx.toml")
    with pytest.raises(OSError, match="regular"):
        atomic.read(tmp_path / "dx.toml", limit_bytes=10)


def test_a_file_that_is_too_large_is_refused(tmp_path: Path) -> None:
    """The limit itself is fine."""
    (tmp_path / "f").write_bytes(b"x" * 10)
    assert atomic.read(tmp_path / "f", limit_bytes=10)[0] == b"x" * 10
    with pytest.raises(OSError, match="Larger"):
        atomic.read(tmp_path / "f", limit_bytes=9)


def test_the_stamp_tells_files_apart(tmp_path: Path) -> None:
    """It changes with each replacement, and is None where nothing is."""
    file = tmp_path / "f"
    assert atomic.stamp(file) is None
    atomic.write(file, b"x")
    first = atomic.stamp(file)
    assert first == atomic.read(file, limit_bytes=10)[1]
    atomic.write(file, b"y")
    assert atomic.stamp(file) != first
