"""The daemon's socket: one daemon however many start, no socket stolen, none lost for long."""

import os
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dxd.errors import Refused
from dxd.lifecycle.listener import Listener, Superseded, bind
from dxd.lifecycle.lock import LOCK_NAME, AlreadyRunning, Lock

ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[Listener]:
    """A listener of this process."""
    opened = Listener.open(tmp_path / "dx", {})
    yield opened
    opened.close()


def greets(path: Path, sock: socket.socket) -> bool:
    """Whether a client that connects to `path` arrives at `sock`."""
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        if not select.select([sock], [], [], 0)[0]:
            return False
        sock.accept()[0].close()
        return True


def test_the_socket_is_private_and_listens(listener: Listener) -> None:
    """0600 in a 0700 directory, and nothing else is left beside it."""
    assert listener.path == listener.directory / "dxd.sock"
    assert listener.path.stat().st_mode & 0o777 == 0o600
    assert greets(listener.path, listener.socket)
    assert sorted(os.listdir(listener.directory)) == [LOCK_NAME, "dxd.sock"]
    assert not os.get_inheritable(listener.socket.fileno())


def test_of_a_hundred_racing_starts_one_is_the_daemon(tmp_path: Path) -> None:
    """Every other one names it. Each round finds the stale socket of a killed daemon."""
    for _ in range(10):
        done = subprocess.run(
            [sys.executable, Path(__file__).with_name("racers.py"), tmp_path / "dx", "100"],
            env=ENVIRONMENT,
            capture_output=True,
            text=True,
            check=True,
        )
        lines = [line.split() for line in done.stdout.splitlines()]
        winners = [words[1:] for words in lines if words[0] == "won"]
        assert len(lines) == 100
        assert len(winners) == 1
        assert winners[0][1] == "0o600"
        assert {words[1] for words in lines if words[0] == "lost"} == {winners[0][0]}


def test_the_socket_of_a_live_daemon_is_not_touched(listener: Listener) -> None:
    before = (listener.directory / "dxd.sock").stat()
    with pytest.raises(AlreadyRunning):
        Listener.open(listener.directory, {})
    assert os.path.samestat((listener.directory / "dxd.sock").stat(), before)
    assert greets(listener.directory / "dxd.sock", listener.socket)


@pytest.mark.parametrize("stale", ["socket", "file", "link", "dangling"])
def test_whatever_a_dead_daemon_left_is_replaced(tmp_path: Path, stale: str) -> None:
    """A link is replaced itself, not what it points to."""
    (tmp_path / "dx").mkdir(mode=0o700)
    path = tmp_path / "dx" / "dxd.sock"
    (tmp_path / "other").touch()
    match stale:
        case "socket":
            bind(path).close()
        case "file":
            path.touch()
        case "link":
            path.symlink_to(tmp_path / "other")
        case _:
            path.symlink_to(tmp_path / "nowhere")
    listener = Listener.open(tmp_path / "dx", {})
    assert greets(path, listener.socket)
    assert (tmp_path / "other").read_bytes() == b""
    listener.close()


def test_a_directory_in_its_place_is_refused_and_the_lock_given_back(tmp_path: Path) -> None:
    (tmp_path / "dx" / "dxd.sock").mkdir(parents=True)
    (tmp_path / "dx").chmod(0o700)
    with pytest.raises(Refused, match=r"cannot make the socket .*dxd.sock: Is a directory"):
        Listener.open(tmp_path / "dx", {})
    assert sorted(os.listdir(tmp_path / "dx")) == [LOCK_NAME, "dxd.sock"]
    Lock.take(tmp_path / "dx").release()


def test_a_path_that_is_too_long_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    directory = tmp_path / ("x" * 100)
    with pytest.raises(Refused, match="the path of the socket"):
        Listener.open(directory, {})
    assert not (directory / LOCK_NAME).exists()


def test_the_longest_path_that_the_kernel_takes_works(tmp_path: Path) -> None:
    directory = tmp_path / ("x" * (107 - len(str(tmp_path)) - len("//dxd.sock")))
    listener = Listener.open(directory, {})
    assert len(str(listener.path)) == 107
    assert greets(directory / "dxd.sock", listener.socket)
    listener.close()


def test_closing_removes_the_socket_and_keeps_the_lock_file(listener: Listener) -> None:
    listener.withdraw()
    assert os.listdir(listener.directory) == [LOCK_NAME]


def test_closing_leaves_the_socket_of_a_successor_alone(tmp_path: Path) -> None:
    """A dying daemon must not unlink what another has bound in the meantime."""
    listener = Listener.open(tmp_path / "dx", {})
    successor = bind(tmp_path / "dx" / "dxd.sock")
    listener.close()
    assert greets(tmp_path / "dx" / "dxd.sock", successor)
    successor.close()


class TestCheck:
    """The daemon's own look at its socket."""

    def test_an_untouched_socket_stays(self, listener: Listener) -> None:
        before = listener.socket
        assert not listener.check()
        assert listener.socket is before

    @pytest.mark.parametrize("replacement", ["nothing", "file", "link", "listener", "directory of nothing"])
    def test_a_lost_socket_is_bound_anew(self, listener: Listener, tmp_path: Path, replacement: str) -> None:
        """Removed, or replaced by anything else: the next client finds us again."""
        path = listener.directory / "dxd.sock"
        path.unlink()
        foreign = None
        match replacement:
            case "file":
                path.write_text("not a socket")
            case "link":
                path.symlink_to(tmp_path / "nowhere")
            case "listener":
                foreign = bind(path)
            case "directory of nothing":
                shutil.rmtree(listener.directory)
        assert listener.check()
        assert greets(path, listener.socket)
        assert path.stat().st_mode & 0o777 == 0o600
        assert not listener.check()
        assert listener.lock.holds()
        with pytest.raises(AlreadyRunning):
            Listener.open(listener.directory, {})
        if foreign is not None:
            foreign.close()

    def test_a_failure_is_told_and_the_next_check_tries_again(self, listener: Listener) -> None:
        path = listener.directory / "dxd.sock"
        path.unlink()
        path.mkdir()
        with pytest.raises(Refused):
            listener.check()
        path.rmdir()
        assert listener.check()
        assert greets(path, listener.socket)

    def test_a_removed_lock_is_taken_again(self, listener: Listener) -> None:
        """Otherwise a second daemon could start."""
        listener.lock.path.unlink()
        assert not listener.check()
        assert listener.lock.holds()

    def test_a_daemon_whose_lock_was_taken_over_gives_way(self, listener: Listener) -> None:
        """Two daemons must not take the socket from each other for ever."""
        listener.lock.path.unlink()
        other = Listener.open(listener.directory, {})
        with pytest.raises(Superseded) as caught:
            listener.check()
        assert caught.value.pid == os.getpid()
        listener.withdraw()
        assert greets(listener.directory / "dxd.sock", other.socket)
        other.close()


class TestInherited:
    """Sockets that systemd passes: the protocol of sd_listen_fds(3)."""

    def test_the_socket_of_systemd_is_served(self, tmp_path: Path) -> None:
        """Started by the real systemd-socket-activate, at the first connection."""
        path = tmp_path / "dx" / "dxd.sock"
        path.parent.mkdir(mode=0o700)
        program = (
            "import os, sys; from pathlib import Path; from dxd.lifecycle.listener import Listener\n"
            "listener = Listener.open(Path(sys.argv[1]), os.environ)\n"
            "listener.socket.settimeout(20)\n"
            "client = listener.socket.accept()[0]\n"
            "client.sendall(f'{listener.inherited} {listener.path}'.encode())\n"
            "listener.close(); client.close()\n"
        )
        with subprocess.Popen(
            [
                *("systemd-socket-activate", "--listen", path, f"--setenv=PYTHONPATH={ENVIRONMENT['PYTHONPATH']}"),
                *(sys.executable, "-c", program, path.parent),
            ],
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stderr is not None
            while "Listening on" not in process.stderr.readline():
                assert process.poll() is None
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(20)
                client.connect(str(path))
                assert client.recv(1000).decode() == f"True {path}"
                assert client.recv(1) == b""
            assert process.wait(20) == 0
        assert path.exists()  # systemd's, who made it

    def run(self, tmp_path: Path, passed: int | None, **variables: str) -> str:
        """Open a listener in a child whose descriptor 3 is `passed`, and say what came of it."""
        program = (
            "import os, sys; from pathlib import Path; from dxd.errors import Refused\n"
            "from dxd.lifecycle.listener import Listener\n"
            "os.dup2(0, 3) if sys.argv[2] == 'pass' else None\n"
            "variables = {k: v.replace('SELF', str(os.getpid())) for k, v in os.environ.items()}\n"
            "try:\n"
            "    listener = Listener.open(Path(sys.argv[1]), variables)\n"
            "    print(listener.inherited, listener.path, os.get_inheritable(listener.socket.fileno()))\n"
            "    listener.close()\n"
            "except Refused as error: print('refused:', error.line())\n"
        )
        return subprocess.run(
            [sys.executable, "-c", program, tmp_path / "dx", "pass" if passed is not None else "none"],
            env={**ENVIRONMENT, **variables},
            stdin=subprocess.DEVNULL if passed is None else passed,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        ).stdout

    def test_by_hand(self, tmp_path: Path) -> None:
        with bind(tmp_path / "s") as sock:
            said = self.run(tmp_path, sock.fileno(), LISTEN_PID="SELF", LISTEN_FDS="1", LISTEN_FDNAMES="whatever")
        assert said == f"True {tmp_path}/.{os.getpid()} False\n"
        assert (tmp_path / "s").exists()

    def test_variables_meant_for_another_process_are_ignored(self, tmp_path: Path) -> None:
        with bind(tmp_path / "s") as sock:
            said = self.run(tmp_path, sock.fileno(), LISTEN_PID="1", LISTEN_FDS="1")
        assert said == f"False {tmp_path / 'dx' / 'dxd.sock'} False\n"

    @pytest.mark.parametrize("count", ["0", "2", "", "x", "-1"])
    def test_any_count_but_one_is_refused(self, tmp_path: Path, count: str) -> None:
        with bind(tmp_path / "s") as sock:
            said = self.run(tmp_path, sock.fileno(), LISTEN_PID="SELF", LISTEN_FDS=count)
        assert said.startswith(f"refused: LISTEN_FDS is '{count}'")

    def test_a_closed_descriptor_is_refused(self, tmp_path: Path) -> None:
        said = self.run(tmp_path, None, LISTEN_PID="SELF", LISTEN_FDS="1")
        assert said.startswith("refused: LISTEN_FDS is 1, but descriptor 3 is closed")

    def test_anything_but_a_listening_stream_is_refused(self, tmp_path: Path) -> None:
        """A file, a connected socket, a socket of datagrams, and one of the network."""
        left, right = socket.socketpair()
        datagrams = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        network = socket.create_server(("127.0.0.1", 0))
        with left, right, datagrams, network, (tmp_path / "file").open("w") as file:
            for sock in (left, datagrams, network):
                said = self.run(tmp_path, sock.fileno(), LISTEN_PID="SELF", LISTEN_FDS="1")
                assert "is not a listening Unix stream socket" in said
            said = self.run(tmp_path, file.fileno(), LISTEN_PID="SELF", LISTEN_FDS="1")
            assert "descriptor 3 from LISTEN_FDS is not a socket" in said

    def test_when_its_file_is_lost_one_of_our_own_takes_its_place(self, tmp_path: Path) -> None:
        """Systemd would not make it again before its socket unit is restarted."""
        path = tmp_path / "dx" / "dxd.sock"
        path.parent.mkdir(mode=0o700)
        sock = socket.socket(socket.AF_UNIX)
        sock.bind(str(path))
        sock.listen()
        listener = Listener(directory=path.parent, lock=Lock.take(path.parent), sock=sock, inherited=True)
        assert not listener.check()
        path.unlink()
        assert listener.check()
        assert not listener.inherited
        assert greets(path, listener.socket)
        listener.close()
        assert not path.exists()

    def test_an_abstract_socket_has_no_file_to_lose(self, tmp_path: Path) -> None:
        sock = socket.socket(socket.AF_UNIX)
        sock.bind(b"\0dx-test-%d" % os.getpid())
        sock.listen()
        listener = Listener(directory=tmp_path, lock=Lock.take(tmp_path), sock=sock, inherited=True)
        assert not listener.check()
        listener.close()


def test_a_killed_daemon_is_replaced_within_a_tenth_of_a_second(tmp_path: Path) -> None:
    """From the kill to the next daemon's socket, without the interpreter's own start."""
    program = "import sys, os, signal; from pathlib import Path; from dxd.lifecycle.listener import Listener\n"
    program += "listener = Listener.open(Path(sys.argv[1]), {}); print(flush=True); signal.pause()"
    with subprocess.Popen(
        [sys.executable, "-c", program, tmp_path / "dx"], env=ENVIRONMENT, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        process.wait()
    listener = Listener.open(tmp_path / "dx", {})
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(tmp_path / "dx" / "dxd.sock"))
        credentials = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    assert struct.unpack("iII", credentials)[0] == os.getpid()
    listener.close()
