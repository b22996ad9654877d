"""The run link where the agent is out of reach: frames alone, over a connection of the daemon's.

No descriptor can be passed, so what the run reads and writes goes through this process, stream by stream. Neither side
sends more than the other has room for, so both can read whatever comes at once; a run that writes faster than its
reader takes waits, as it would natively. Imported only where it is needed.
"""

from __future__ import annotations

import _socket
import errno
import os
import select
import stat

from dx import protocol
from dx.errors import RunFailed
from dx.launcher.link import Link

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from dx.launcher.caller import State
    from dx.launcher.lease import Lease

_PIECE = protocol.MAX_RUN_FRAME - protocol.U32.size
_PIPE_BUF = 4096
"""What poll(2) promises that a pipe has room for."""
_READ, _WRITE = select.POLLIN, select.POLLOUT
_MAX_HEAD = 16384


class _Input:
    """What the run reads, from a descriptor of ours."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.credit = protocol.WINDOW
        self.sent = 0
        self.is_file = stat.S_ISREG(os.fstat(fd).st_mode)


class _Output:
    """What the run writes, to a descriptor of ours, which must not be made to wait for its reader."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.pending = b""
        self.owed = 0
        """Written, and the other side was not told of the room."""
        mode = os.fstat(fd).st_mode
        self._piece = len if stat.S_ISREG(mode) else lambda _: _PIPE_BUF
        self._sock: _socket.socket | None = None
        if stat.S_ISSOCK(mode):
            self._sock = _socket.socket(fileno=os.dup(fd))
        elif os.isatty(fd):
            try:  # an open file of our own, so that not waiting is nobody else's
                self.fd = os.open(f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
            except OSError:
                self.fd = fd

    def write(self) -> int:
        """How much could be written of what is pending. Raises `OSError`."""
        piece = self.pending[: self._piece(self.pending)]
        try:
            done = self._sock.send(piece, _socket.MSG_DONTWAIT) if self._sock else os.write(self.fd, piece)
        except BlockingIOError:
            return 0
        self.pending = self.pending[done:]
        self.owed += done
        return done


class FramedLink(Link):
    """As `Link`, with the streams of the run."""

    def __init__(self, lease: Lease, connect: Callable[[], _socket.socket], *, owns: bool = False) -> None:
        """Connect; raises `RunFailed`, with the daemon's words where it refuses. With `owns` the descriptors that
        `start` gets are this link's, which closes them when it has no use for them any more.
        """
        self.lease = lease
        self._owned: set[int] = set()
        self._owns = owns
        self.sock = connect()
        self._inputs: dict[int, _Input] = {}
        self._all_inputs: dict[int, _Input] = {}
        """Those that are over, too."""
        self._outputs: dict[int, _Output] = {}
        self._has_terminal = False
        self.trouble: list[str] = []
        """Lines for the end: what could not be written."""
        try:
            self._upgrade()
        except BaseException:
            self.sock.close()
            raise

    def start(
        self,
        state: State,
        descriptors: list[tuple[int, int]],
        mounts: list[int],
        *,
        which: int = 0,
        terminal: bytes = b"",
    ) -> None:
        """As `Link.start`; only 0-2 can be among the descriptors, and no grants."""
        assert not mounts
        self._owned = {fd for fd, _ in descriptors} if self._owns else set()
        self._has_terminal = which != 0
        known: dict[tuple[int, ...], int] = {}
        streams = b""
        for fd, target in descriptors:
            is_input = _is_input(fd)
            number = known.setdefault((*_file(fd), is_input), target)
            streams += protocol.STREAM_BODY.pack(number, is_input)
            if number == target and is_input:
                self._inputs[number] = self._all_inputs[number] = _Input(fd)
            elif number == target:
                self._outputs[number] = _Output(fd)
        self._say(protocol.STREAMS, streams)
        inputs, outputs = self._inputs.values(), self._outputs.values()
        self._drop(*self._owned - {each.fd for each in inputs} - {out.fd for out in outputs})
        targets = [target for _, target in descriptors]
        self._say(protocol.START, self._start_body(state, targets, 0, which, terminal))

    def wants(self, *, started: bool) -> dict[int, int]:
        """What to poll for. Nothing is read before the run has begun: where it does not, it is the caller's."""
        wanted = {}
        for each in self._inputs.values() if started else ():
            if each.credit:
                wanted[each.fd] = _READ
        for out in self._outputs.values():
            if out.pending:
                wanted[out.fd] = wanted.get(out.fd, 0) | _WRITE
        return wanted

    def pump(self, events: dict[int, int]) -> None:
        """Do what can be done."""
        for number, each in list(self._inputs.items()):
            if events.get(each.fd, 0) & ~_WRITE and each.credit:
                self._bring_in(number, each)
        for number, out in list(self._outputs.items()):
            if events.get(out.fd, 0) & ~_READ and out.pending:
                self._bring_out(number, out)

    def close(self) -> None:
        """As `Link.close`; and let go of the descriptors that are its own."""
        super().close()
        self._drop(*self._owned)

    def _drop(self, *descriptors: int) -> None:
        """Of pipes the other end has to see it at once."""
        for fd in descriptors:
            if fd in self._owned:
                self._owned.discard(fd)
                os.close(fd)

    def resize(self, size: bytes) -> None:
        """Tell the size of the caller's terminal, as ioctl_tty(2) has it."""
        self._say(protocol.RESIZE, size)

    def flush(self, signals: int) -> bool:
        """The run has ended: write the rest, unless a signal comes meanwhile; whether some is left for a terminal."""
        while pending := {out.fd for out in self._outputs.values() if out.pending}:
            poll = select.poll()
            poll.register(signals, _READ)
            for fd in pending:
                poll.register(fd, _WRITE)
            events = dict(poll.poll(0 if self._has_terminal else None))
            self.pump(events)
            if signals in events or not events:
                return self._has_terminal and signals not in events
        return False

    def receive(self) -> tuple[int, bytes, list[int]]:
        """As `Link.receive`; of what only the streams are about it gives a frame of type 0."""
        length, kind, flags, nfds = protocol.HEAD.unpack(self._exactly(protocol.HEAD.size))
        if length > protocol.MAX_RUN_FRAME or flags or nfds:
            raise EOFError
        payload = self._exactly(length)
        if not protocol.STREAMS <= kind <= protocol.TAKEN:
            return kind, payload, [self._terminal()] if kind == protocol.STARTED and self._has_terminal else []
        if length < protocol.U32.size:
            raise EOFError
        (number,) = protocol.U32.unpack_from(payload)
        out, each = self._outputs.get(number), self._inputs.get(number)
        if kind == protocol.DATA and out:
            out.pending += payload[protocol.U32.size :]
        elif kind == protocol.CREDIT and each and length == protocol.STREAM_BODY.size:
            each.credit += protocol.STREAM_BODY.unpack(payload)[1]
        elif kind == protocol.CLOSED:
            if (over := self._inputs.pop(number, None)) and not over.is_file:
                self._drop(over.fd)
        elif kind == protocol.TAKEN and number in self._all_inputs and length == protocol.TAKEN_BODY.size:
            self._give_back(self._all_inputs[number], protocol.TAKEN_BODY.unpack(payload)[2])
        return 0, b"", []

    @staticmethod
    def _give_back(each: _Input, taken: int) -> None:
        """What the run has not read of a file is there for whoever reads it next."""
        if taken < each.sent and each.is_file:
            os.lseek(each.fd, taken - each.sent, os.SEEK_CUR)

    def _bring_in(self, number: int, each: _Input) -> None:
        try:
            data = os.read(each.fd, min(each.credit, _PIECE))
        except BlockingIOError:
            return
        except OSError:  # a terminal that is gone
            data = b""
        mark = protocol.U32.pack(number)
        if not data:
            del self._inputs[number]
            self._say(protocol.EOF, mark)
            return
        each.credit -= len(data)
        each.sent += len(data)
        self._say(protocol.DATA, mark + data)

    def _bring_out(self, number: int, out: _Output) -> None:
        try:
            out.write()
        except OSError as error:
            del self._outputs[number]
            self._drop(out.fd)
            if error.errno != errno.EPIPE:
                self.trouble.append(f"cannot write to descriptor {number}: {error.strerror}")
            self._say(protocol.CLOSED, protocol.U32.pack(number))
            return
        if out.owed >= protocol.WINDOW // 4:
            self._say(protocol.CREDIT, protocol.STREAM_BODY.pack(number, out.owed))
            out.owed = 0

    def _terminal(self) -> int:
        """What the caller takes for the master of the run's pty."""
        ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_STREAM)
        ours.setblocking(False)  # noqa: FBT003 - the socket API
        fd = ours.detach()
        self._inputs[0], self._outputs[1] = _Input(fd), _Output(fd)
        return theirs.detach()

    def _upgrade(self) -> None:
        head = f"GET /v1/runs/{self.lease.run}/link HTTP/1.1\r\nHost: dx\r\nConnection: Upgrade\r\nUpgrade: dx-run\r\n"
        self.sock.sendall(f"{head}Content-Type: {protocol.MEDIA_TYPE}\r\n\r\n".encode())
        answer = b""
        while b"\r\n\r\n" not in answer:
            # The first frame is for us to send, so nothing follows the head of an answer that is a yes.
            part = self.sock.recv(_MAX_HEAD - len(answer))
            answer += part
            if not part:
                raise RunFailed("the daemon ended before it had answered; try again, or see: dx daemon logs")
        head_bytes, _, body = answer.partition(b"\r\n\r\n")
        if b" 101 " in head_bytes.partition(b"\r\n")[0]:
            return
        for line in head_bytes.lower().split(b"\r\n"):
            name, _, value = line.partition(b":")
            if name == b"content-length":
                body += self._exactly(max(0, int(value) - len(body)))
        for kind, payload in protocol.records(body):
            if kind == protocol.A_ERROR and len(payload) >= protocol.U32.size:
                (code,) = protocol.U32.unpack_from(payload)
                raise RunFailed(payload[protocol.U32.size :].decode(errors="surrogateescape"), code)
        raise RunFailed("the daemon of another version answers; run: dx daemon restart")

    def _exactly(self, size: int) -> bytes:
        data = self.sock.recv(size, _socket.MSG_WAITALL) if size else b""
        while len(data) < size:
            part = self.sock.recv(size - len(data), _socket.MSG_WAITALL)
            if not part:
                raise EOFError
            data += part
        return data


def check(descriptors: list[int]) -> None:
    """See that none is a door out of the root, as the agent does where it gets them; raises `RunFailed`."""
    import fcntl

    for fd in descriptors:
        mode = os.fstat(fd).st_mode
        what = "a directory" if stat.S_ISDIR(mode) else "a block device" if stat.S_ISBLK(mode) else ""
        if fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_PATH:
            what = "a path without access (O_PATH)"
        if what:
            raise RunFailed(
                f"descriptor {fd} is {what}, which a tool may not be handed; name it as an argument instead"
            )


def split(descriptors: list[int]) -> tuple[list[int], list[int]]:
    """Those that can be had through frames, and those that cannot: what others read or write as well."""
    return [fd for fd in descriptors if fd < 3], [fd for fd in descriptors if fd > 2]


def lost(descriptors: list[int], others: list[int]) -> list[str]:
    """What is not the same for the run, as lines for its caller."""
    lines = []
    if others:
        names = ", ".join(map(str, others))
        lines.append(f"descriptors that this engine is out of reach for, and the run does not get: {names}")
    if 1 in descriptors and os.isatty(1):
        lines.append("stdout is a terminal and stdin is none: on this engine the run gets a pipe in its place")
    return lines


def _is_input(fd: int) -> bool:
    import fcntl

    access = fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE
    return fd == 0 if access == os.O_RDWR else access == os.O_RDONLY


def _file(fd: int) -> tuple[int, ...]:
    """What two descriptors of the same open file have in common."""
    import fcntl

    status = os.fstat(fd)
    return status.st_dev, status.st_ino, status.st_rdev, fcntl.fcntl(fd, fcntl.F_GETFL)
