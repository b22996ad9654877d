"""What the proxy process has: doors, and connections on their way through them. Owned by `serving`."""

import errno
import socket
from contextlib import suppress
from enum import Enum

from dxd.proxy.flow import End, Flow
from dxd.proxy.loop import Timer

BACKLOG = 1024
KEEPALIVE_IDLE_S = 120
"""After which the kernel asks whether a silent peer is still there: one that is not must not keep a service awake."""
SCARCE = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
"""No descriptor or no memory is left: worth another try."""

Place = tuple[str, int]
"""Host, as a number, and port."""


class Stage(Enum):
    """How far a connection is."""

    HEAD = "its first request says where to"
    HELD = "its service is not ready"
    CONNECTING = "to its service"
    OPEN = "bytes pass"
    FAREWELL = "it was told why not"


class Door:
    """A listening socket, or a name, and where it leads."""

    __slots__ = (
        "deadline_s", "delay_s", "full", "key", "max_held", "names", "not_before", "paused", "place", "service",
        "sock", "target", "timer", "waiting", "waking",
    )  # fmt: skip

    def __init__(self, key: str, service: str, *, deadline_s: float, max_held: int, names: bool) -> None:
        self.key = key
        self.service = service
        self.deadline_s = deadline_s
        self.max_held = max_held
        self.names = names
        """It leads on to the door that a request's head names."""
        self.place: Place | None = None
        self.sock: socket.socket | None = None
        self.target: Place | None = None
        self.waiting: dict[Pair, None] = {}
        """In the order in which they came."""
        self.waking = False
        """The daemon has been told."""
        self.delay_s = 0.0
        self.not_before = 0.0
        """When the daemon may be asked again, after a target that did not answer."""
        self.timer: Timer | None = None
        self.paused = False
        """Nothing is accepted for want of descriptors."""
        self.full = False
        """It was said that no more can wait."""


class Pair:
    """One connection, from its accept to its end."""

    __slots__ = ("client", "door", "down", "far", "head", "http", "queued", "stage", "timer", "tried", "up")

    def __init__(self, door: Door, client: End) -> None:
        self.door = door
        self.client = client
        self.stage = Stage.HELD
        self.far: End | None = None
        self.up: Flow | None = None
        self.down: Flow | None = None
        self.head = b""
        """What was read of it before it was known where to."""
        self.http = False
        self.timer: Timer | None = None
        self.tried: Timer | None = None
        """Of the attempt to connect."""
        self.queued = False

    def over(self) -> bool:
        """Whether there is nothing left to move: both ways ended, or one broke and the other has nothing on its way."""
        assert self.up is not None
        assert self.down is not None
        if self.up.done and self.down.done:
            return True
        broken = (self.up.reset and self.up.done) or (self.down.reset and self.down.done)
        return broken and not any(each.left or each.in_pipe for each in (self.up, self.down))

    def broken(self) -> bool:
        """Whether it ended in a reset."""
        return any(each is not None and each.reset for each in (self.up, self.down))


def listen(place: Place) -> socket.socket:
    """A listening socket, whose connections have its options, tcp(7); raises `OSError`."""
    sock = socket.socket(_family(place), socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        _options(sock)
        if sock.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.setblocking(False)  # noqa: FBT003 - the socket API
        sock.bind(place)
        sock.listen(BACKLOG)
    except BaseException:
        sock.close()
        raise
    return sock


def connect(place: Place) -> socket.socket:
    """A socket that connects; raises `OSError` where that fails at once."""
    sock = socket.socket(_family(place), socket.SOCK_STREAM)
    try:
        _options(sock)
        sock.setblocking(False)  # noqa: FBT003 - the socket API
        with suppress(BlockingIOError):
            sock.connect(place)
    except BaseException:
        sock.close()
        raise
    return sock


def _family(place: Place) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in place[0] else socket.AF_INET


def _options(sock: socket.socket) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_IDLE_S)
