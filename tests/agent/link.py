"""The run link by hand: a lease asked for over the API, and a START that can be wrong in every way."""

import array
import ctypes
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from dx import protocol
from tests.e2e.rig import ask, init_of, processes
from tests.house import House
from tests.waiting import until

RUN_BYTES = 65536
NO_LIMIT = 2**64 - 1
SYS_OPEN_TREE = 428
OPEN_TREE_CLONE, AT_FDCWD = 1, -100
REFUSED_S = 8.0
"""The agent gives a launcher five seconds for its START."""


@dataclass(frozen=True, slots=True)
class Start:
    """The fixed part of START, and the targets."""

    run: int
    token: bytes
    targets: tuple[int, ...] = (0, 1, 2)
    grants: int = 0
    version: int = protocol.WIRE_VERSION
    nstd: int | None = None

    def payload(self) -> bytes:
        limits = (NO_LIMIT, NO_LIMIT) * protocol.RLIMITS
        nstd = len(self.targets) if self.nstd is None else self.nstd
        head = protocol.START_HEAD.pack(
            self.version, 0o22, 0, 0, self.run, self.token, nstd & 0xFFFF, self.grants, 0, *limits
        )
        return head + b"".join(target.to_bytes(4, "little", signed=True) for target in self.targets)


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back until the agent closed the connection: frames, each a type and a payload."""

    frames: tuple[tuple[int, bytes], ...]

    @property
    def refused(self) -> bool:
        """Nothing at all, or FAILED with 125 and nothing else."""
        return not self.frames or (len(self.frames) == 1 and self.failed is not None)

    @property
    def failed(self) -> str | None:
        """The message of FAILED."""
        kind, payload = self.frames[-1] if self.frames else (0, b"")
        if kind != protocol.FAILED or payload[:4] != protocol.U32.pack(125):
            return None
        return payload[4:].decode()

    @property
    def status(self) -> int | None:
        """As wait(2) has it, of a run that went well."""
        if [kind for kind, _ in self.frames] != [protocol.STARTED, protocol.EXIT]:
            return None
        status: int = protocol.EXIT_BODY.unpack(self.frames[1][1])[0]
        return status


class Agent:
    """One warm container, and the socket of its agent."""

    def __init__(self, house: House, image: str) -> None:
        self.house = house
        self.image = image
        assert house.run([image, "true"]).returncode == 0
        (self.container,) = house.containers()
        self.pid = init_of(self.container)
        self.socket = next(house.runtime.glob("a/*.sock"))
        self._descriptors = self.descriptors()

    def descriptors(self) -> int:
        """How many PID 1 has open."""
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def lease(self, *command: str, cwd: str = "/") -> Start:
        """A START for a lease that the daemon has just given."""
        body = {"command": self.image, "args": list(command or ("true",)), "env": [], "cwd": cwd, "options": {}}
        given = ask(self.house, "/v1/runs", "POST", body)
        assert given["agent"] == str(self.socket), given
        return Start(given["run"], bytes.fromhex(given["token"]), grants=len(given["grants"]))

    def connect(self) -> socket.socket:
        """A connection to the agent."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.settimeout(REFUSED_S)
        sock.connect(str(self.socket))
        return sock

    def say(self, data: bytes, fds: Sequence[int] = (), *, more: Sequence[bytes] = (), hang_up: bool = True) -> Reply:
        """Send bytes with descriptors, then more bytes, and take what comes until the end."""
        with self.connect() as sock:
            send(sock, data, fds)
            for each in more:
                send(sock, each)
            if hang_up:
                sock.shutdown(socket.SHUT_WR)
            return receive(sock)

    def start(self, start: Start, fds: Sequence[int], *, nfds: int | None = None) -> Reply:
        """Send a START with these descriptors, and stay until the end."""
        data = protocol.frame(protocol.START, start.payload(), nfds=len(fds) if nfds is None else nfds)
        return self.say(data, fds, hang_up=False)

    def check(self) -> None:
        """It serves a run, and nothing is left of what was before."""
        done = self.house.run([self.image, "sh", "-c", "echo well; exit 7"])
        assert (done.returncode, done.stdout, done.stderr) == (7, b"well\n", b"")
        until(lambda: not processes(self.container), "no process is left in the container", deadline_s=10)
        until(lambda: self.descriptors() == self._descriptors, "no descriptor is left open")
        assert self.house.containers() == [self.container]


def send(sock: socket.socket, data: bytes, fds: Sequence[int] = ()) -> None:
    """All of the data, the descriptors with its first byte; or as much as the other side lets in."""
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    with suppress(BrokenPipeError, ConnectionResetError):
        sent = sock.sendmsg([data], rights) if data else 0
        sock.sendall(data[sent:])


def receive(sock: socket.socket) -> Reply:
    """Frames until the end; the agent has to end it, and what it says has to be whole."""
    data = b""
    try:
        while piece := sock.recv(65536):
            data += piece
    except ConnectionResetError:
        pass  # it closed with bytes of ours unread
    frames = []
    while data:
        length, kind, flags, nfds = protocol.HEAD.unpack_from(data)
        assert (flags, nfds) == (0, 0)
        end = protocol.HEAD.size + length
        assert length <= RUN_BYTES
        assert len(data) >= end
        frames.append((kind, data[protocol.HEAD.size : end]))
        data = data[end:]
    return Reply(tuple(frames))


@contextmanager
def stdio(count: int = 3) -> Iterator[list[int]]:
    """So many descriptors of /dev/null."""
    fds = [os.open("/dev/null", os.O_RDWR) for _ in range(count)]
    try:
        yield fds
    finally:
        for fd in fds:
            os.close(fd)


@contextmanager
def opened(path: str | Path, flags: int) -> Iterator[int]:
    """A descriptor."""
    fd = os.open(path, flags)
    try:
        yield fd
    finally:
        os.close(fd)


@contextmanager
def mount_of(path: bytes) -> Iterator[int]:
    """A detached mount, as the launcher opens for a grant."""
    libc = ctypes.CDLL(None, use_errno=True)
    fd = libc.syscall(SYS_OPEN_TREE, AT_FDCWD, path, OPEN_TREE_CLONE | os.O_CLOEXEC)
    assert fd >= 0, os.strerror(ctypes.get_errno())
    try:
        yield fd
    finally:
        os.close(fd)
