"""The runtime directory is 0700 and ours, or refused with the reason."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dxd.errors import Refused
from dxd.lifecycle.runtime_dir import SOCKET_PATH_BYTES, claim, socket_path


def test_a_missing_directory_is_made_private_with_its_parents(tmp_path: Path) -> None:
    """Whatever the umask, it is 0700, and so are the parents that had to be made."""
    before = os.umask(0o777)
    try:
        claim(tmp_path / "run")
    finally:
        os.umask(before)
    assert (tmp_path / "run").stat().st_mode & 0o7777 == 0o700
    claim(tmp_path / "state" / "dx" / "run")
    assert (tmp_path / "state" / "dx" / "run").stat().st_mode & 0o7777 == 0o700


def test_a_directory_of_ours_is_taken_as_it_is(tmp_path: Path) -> None:
    """A second start finds what the first has made."""
    claim(tmp_path / "run")
    (tmp_path / "run" / "kept").touch()
    claim(tmp_path / "run")
    assert (tmp_path / "run" / "kept").exists()


@pytest.mark.parametrize("mode", [0o755, 0o777, 0o770, 0o1700, 0o500])
def test_another_mode_is_refused_and_not_repaired(tmp_path: Path, mode: int) -> None:
    """Who could open it may already have put something in it."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run").chmod(mode)
    with pytest.raises(Refused) as caught:
        claim(tmp_path / "run")
    assert f"has mode {mode:04o}, not 0700" in caught.value.message
    assert caught.value.hint == f"chmod 700 {tmp_path / 'run'}"
    assert (tmp_path / "run").stat().st_mode & 0o7777 == mode


def test_a_symbolic_link_is_refused(tmp_path: Path) -> None:
    """Even one to a directory that would do."""
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "run").symlink_to("real")
    with pytest.raises(Refused, match="is a symbolic link"):
        claim(tmp_path / "run")


def test_a_dangling_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").symlink_to("nowhere")
    with pytest.raises(Refused, match="is a symbolic link"):
        claim(tmp_path / "run")


def test_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").touch()
    with pytest.raises(Refused, match="is not a directory"):
        claim(tmp_path / "run")


def test_a_file_on_the_way_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Refused, match=r"cannot make the runtime directory .*: (File exists|Not a directory)"):
        claim(tmp_path / "file" / "run")


def test_a_directory_of_somebody_else_is_refused(tmp_path: Path) -> None:
    """With both uids in the message."""
    directory = Path("/usr/share")
    if os.getuid() == 0:
        directory = tmp_path / "run"
        directory.mkdir(mode=0o700)
        os.chown(directory, 65534, 65534)
    with pytest.raises(Refused, match=rf"belongs to uid {directory.stat().st_uid}, and you are uid {os.getuid()}"):
        claim(directory)


def test_a_parent_that_everybody_may_write_is_refused_unless_sticky(tmp_path: Path) -> None:
    """Everybody could put another directory in place of ours; /tmp itself is sticky."""
    tmp_path.chmod(0o777)
    with pytest.raises(Refused, match="is writable by everybody"):
        claim(tmp_path / "run")
    tmp_path.chmod(0o1777)
    claim(tmp_path / "run")


def test_a_parent_that_cannot_be_made_is_refused_with_the_cure() -> None:
    """XDG_RUNTIME_DIR names a directory that is not there, and there is no fall-back to another place."""
    with pytest.raises(Refused) as caught:
        claim(Path("/proc/no/such/dx"))
    assert "cannot make the runtime directory /proc/no/such/dx" in caught.value.message
    assert "XDG_RUNTIME_DIR" in caught.value.hint


@pytest.mark.parametrize(("options", "step"), [("nr_inodes=1", "runtime directory"), ("nr_inodes=2", "dxd.lock")])
def test_a_full_file_system_is_refused_with_the_reason(tmp_path: Path, options: str, step: str) -> None:
    """No room for the directory, or none for the lock in it."""
    program = (
        "import os, sys; from pathlib import Path; from dxd.errors import Refused\n"
        "from dxd.lifecycle.listener import Listener\n"
        "try: Listener.open(Path(sys.argv[1]), {})\n"
        "except Refused as error: print(error.line())"
    )
    script = 'mount -t tmpfs -o mode=700,"$1" none "$2" && exec "$3" -c "$4" "$2/dx"'
    done = subprocess.run(
        ["unshare", "--map-root-user", "--mount", "sh", "-c", script, "sh", options, tmp_path, sys.executable, program],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "No space left on device" in done.stdout
    assert step in done.stdout


def test_a_socket_path_may_be_as_long_as_the_kernel_takes_it(tmp_path: Path) -> None:
    """One byte more is refused, and names are counted in bytes."""
    room = SOCKET_PATH_BYTES - len(os.fsencode(tmp_path)) - 1
    assert socket_path(tmp_path, "x" * room).name == "x" * room
    with pytest.raises(Refused, match=f"has {SOCKET_PATH_BYTES + 1} bytes"):
        socket_path(tmp_path, "x" * (room + 1))
    with pytest.raises(Refused):
        socket_path(tmp_path, "x" * (room - 1) + "é")
