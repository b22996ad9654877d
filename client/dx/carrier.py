"""A run link in frames for a program's own run: a thread carries the run's bytes, since no descriptor can.

The thread has copies of the program's descriptors, and ends with the run or with the link. To the program the link is
as one to an agent: frames on a socket, whose end is the run's.
"""

import _socket
import select
import threading
from collections.abc import Callable
from contextlib import suppress
from fcntl import F_DUPFD_CLOEXEC, fcntl

from dx import protocol
from dx.launcher import framed
from dx.launcher.caller import State
from dx.launcher.lease import Lease
from dx.launcher.link import Link, exit_status
from dx.launcher.relay import EXIT_LOST

_MAX_FRAMES = 4096
_MOMENT_S = 1.0
"""For a thread that has nothing more to do; one that a daemon holds up is not waited for."""


class CarriedLink(Link):
    """As `Link`."""

    def __init__(self, lease: Lease, connect: Callable[[], _socket.socket]) -> None:
        """Connect; raises `RunFailed`."""
        self.lease = lease
        self._far = framed.FramedLink(lease, connect, owns=True)
        self.sock, self._near = _socket.socketpair()
        self._thread: threading.Thread | None = None

    def start(
        self,
        state: State,
        descriptors: list[tuple[int, int]],
        mounts: list[int],
        *,
        which: int = 0,
        terminal: bytes = b"",
    ) -> None:
        """As `Link.start`; raises `RunFailed` for descriptors that are doors."""
        framed.check([fd for fd, _ in descriptors])
        copies = [(fcntl(fd, F_DUPFD_CLOEXEC, 3), target) for fd, target in descriptors]
        self._far.start(state, copies, mounts, which=which, terminal=terminal)
        name = f"run {self.lease.run}"
        self._thread = threading.Thread(target=_carry, args=(self._far, self._near), name=name, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """As `Link.close`; the thread ends, too, and with it its copies of the descriptors."""
        super().close()
        if self._thread:
            self._thread.join(_MOMENT_S)
        else:
            self._far.close()
            self._near.close()


def _carry(far: framed.FramedLink, near: _socket.socket) -> None:
    """Until one side ends."""
    try:
        with suppress(OSError, EOFError):
            _relay(far, near)
    finally:
        far.close()
        near.close()


def _relay(far: framed.FramedLink, near: _socket.socket) -> None:
    started = False
    while True:
        poll = select.poll()
        for fd in (near.fileno(), far.fileno()):
            poll.register(fd, select.POLLIN)
        for fd, wanted in far.wants(started=started).items():
            poll.register(fd, wanted)
        events = dict(poll.poll())
        if near.fileno() in events:
            frames = near.recv(_MAX_FRAMES)  # small ones, each written at once
            if not frames:
                return
            far.sock.sendall(frames)
        far.pump(events)
        if far.fileno() not in events:
            continue
        kind, payload, _ = far.receive()
        started = started or kind == protocol.STARTED
        if kind == protocol.EXIT:
            payload = _end(far, near, payload)
        if kind:
            near.sendall(protocol.frame(kind, payload))
        if kind in {protocol.EXIT, protocol.FAILED}:
            return


def _end(far: framed.FramedLink, near: _socket.socket, payload: bytes) -> bytes:
    """Write what the run still wrote, unless the program lets go of it; the end as it is then."""
    while pending := far.wants(started=False):
        poll = select.poll()
        poll.register(near, select.POLLIN)
        for fd, wanted in pending.items():
            poll.register(fd, wanted)
        events = dict(poll.poll())
        far.pump(events)
        if near.fileno() in events and not near.recv(_MAX_FRAMES):
            raise EOFError
    for line in far.trouble:
        near.sendall(protocol.frame(protocol.NOTE, line.encode()))
    if far.trouble and exit_status(payload) == 0:
        return protocol.EXIT_BODY.pack(EXIT_LOST, *protocol.EXIT_BODY.unpack(payload)[1:])
    return payload
