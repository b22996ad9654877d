"""The run link: from the lease to the run's end, for whoever sees it through (client/launcher/relay.c)."""

from __future__ import annotations

import _socket
import errno
import os

from dx import protocol
from dx.errors import RunFailed
from dx.launcher import unix
from dx.launcher.caller import State
from dx.launcher.grants import NotGranted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from dx.launcher.lease import Lease

PATIENCE_S = 2.0
"""How long an agent may be silent before the daemon is asked whether it still vouches for it."""
MAX_LATE = 30
"""How often the daemon may vouch for it."""
MAX_RECEIVED = 4
"""Descriptors that an agent may send with a frame: one, the master of a run's terminal."""


class Link:
    """A connection to the agent that a lease names. Whoever has it closes it; a run that still goes on then ends."""

    def __init__(self, lease: Lease) -> None:
        """Connect; raises `OSError`."""
        self.lease = lease
        self.sock = unix.connect(lease.agent, "agent")

    def fileno(self) -> int:
        """For `select`: it can be read when the agent has something to say."""
        return self.sock.fileno()

    def close(self) -> None:
        """A run that still goes on gets HUP, then TERM, then KILL."""
        self.sock.close()

    def start(
        self,
        state: State,
        descriptors: list[tuple[int, int]],
        mounts: list[int],
        *,
        which: int = 0,
        terminal: bytes = b"",
    ) -> None:
        """Hand over everything the run needs: pairs of a descriptor and its number in the run, and the grants.

        `which` of 0-2, as bits, are to be a terminal of its own; `terminal` describes the caller's.
        All of them stay the caller's, who can close them after this. Raises `OSError`, and `RunFailed` where the agent
        has refused already, before it read anything.
        """
        body = self._start_body(state, [target for _, target in descriptors], len(mounts), which, terminal)
        fds = [*(fd for fd, _ in descriptors), *mounts]
        data = protocol.frame(protocol.START, body, len(fds))
        rights = b"".join(protocol.I32.pack(fd) for fd in fds)
        try:
            sent = self.sock.sendmsg([data], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, rights)] if fds else [])
            # The descriptors went with the first byte. To a run that is over even sending nothing would be EPIPE.
            if sent < len(data):
                self.sock.sendall(data[sent:])
        except (BrokenPipeError, ConnectionResetError):
            self._hear_refusal()
            raise

    def wants(self, *, started: bool) -> dict[int, int]:  # noqa: ARG002 - a framed one has a use for it
        """What to poll for besides the link itself: nothing, for the run has the caller's own descriptors."""
        return {}

    def pump(self, events: dict[int, int]) -> None:
        """Do what can be done with those."""

    def flush(self, signals: int) -> bool:  # noqa: ARG002 - a framed one has a use for it
        """The run has ended: bring the rest of its output out; whether there is more for a terminal."""
        return False

    def signal(self, number: int, *, group: bool = False) -> None:
        """Send a signal to the command, or to its process group; one that is over does not mind."""
        self._say(protocol.SIGNAL, protocol.SIGNAL_BODY.pack(number, group))

    def foreground(self, is_it: bool) -> None:
        """Tell whether the caller is in its terminal's foreground."""
        self._say(protocol.FOREGROUND, protocol.U32.pack(is_it))

    def receive(self) -> tuple[int, bytes, list[int]]:
        """The next frame: its type, its payload, and descriptors, which are the caller's.

        Raises `OSError`, or `EOFError` where the agent has gone or breaks the rules.
        """
        head, fds = self._first(protocol.HEAD.size)
        try:
            length, kind, flags, nfds = protocol.HEAD.unpack(head + self._exactly(protocol.HEAD.size - len(head)))
            if length > protocol.MAX_RUN_FRAME or flags or nfds != len(fds):
                raise EOFError
            return kind, self._exactly(length), fds
        except BaseException:
            for fd in fds:
                os.close(fd)
            raise

    def _start_body(self, state: State, targets: list[int], ngrants: int, which: int, terminal: bytes) -> bytes:
        head = protocol.START_HEAD.pack(
            protocol.WIRE_VERSION,
            state.umask,
            state.nice,
            state.ignored,
            self.lease.run,
            self.lease.token,
            len(targets),
            ngrants,
            which,
            *state.limits,
        )
        return head + b"".join(map(protocol.I32.pack, targets)) + terminal

    def _hear_refusal(self) -> None:
        """Raise what it said before it closed the connection, if it did."""
        try:
            kind, payload, _ = self.receive()
        except (OSError, EOFError):
            return
        if kind == protocol.FAILED:
            raise failed(payload)

    def _say(self, kind: int, payload: bytes) -> None:
        try:
            self.sock.sendall(protocol.frame(kind, payload))
        except (BrokenPipeError, ConnectionResetError):
            return  # what it has said is still to be read

    def _first(self, size: int) -> tuple[bytes, list[int]]:
        """The beginning of a frame, with the descriptors on its first byte."""
        space = _socket.CMSG_SPACE(MAX_RECEIVED * protocol.I32.size)
        data, ancillary, flags, _ = self.sock.recvmsg(size, space, _socket.MSG_CMSG_CLOEXEC)
        fds = [
            fd
            for level, kind, rights in ancillary
            if (level, kind) == (_socket.SOL_SOCKET, _socket.SCM_RIGHTS)
            for (fd,) in protocol.I32.iter_unpack(rights)
        ]
        if not data or flags & _socket.MSG_CTRUNC:
            for fd in fds:
                os.close(fd)
            raise EOFError
        return data, fds

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            part = self.sock.recv(size - len(data))
            if not part:
                raise EOFError
            data += part
        return data


def failed(payload: bytes) -> RunFailed:
    """What a FAILED frame says."""
    if len(payload) < protocol.U32.size:
        return RunFailed("the agent failed and does not say why")
    (code,) = protocol.U32.unpack_from(payload)
    return RunFailed(payload[protocol.U32.size :].decode(errors="surrogateescape"), code)


def exit_status(payload: bytes) -> int:
    """The status of an EXIT frame, as wait(2) gives it."""
    if len(payload) != protocol.EXIT_BODY.size:
        raise RunFailed("the agent's report is malformed; run: dx stop --all")
    status: int = protocol.EXIT_BODY.unpack(payload)[0]
    return status


def stopping_signal(payload: bytes) -> int:
    """The signal of a STOPPED frame, or 0."""
    number: int = protocol.U32.unpack(payload)[0] if len(payload) == protocol.U32.size else 0
    return number if 0 < number <= 64 else 0


def gone(*, started: bool) -> RunFailed:
    """The agent has gone without a word."""
    if started:
        return RunFailed("the container of this run was stopped, and the run with it; see: dx ps")
    return RunFailed("the container went away before the run began; try again; see: dx ps")


def not_granted(error: NotGranted) -> RunFailed:
    """Why there is no mount for a path."""
    path = os.fsdecode(error.filename)
    if error.errno == errno.ELOOP:
        return RunFailed(f"{path} changed while it was granted: there is a link on the way to it now; try again")
    return RunFailed(f"{path} cannot be granted: {error.strerror}")
