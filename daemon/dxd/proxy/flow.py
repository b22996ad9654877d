"""The bytes of one connection, both ways: from socket to socket, as cheaply as the kernel can.

A message that is small is received and sent; where more comes than that holds, it is spliced by way of a pipe and
never copied into this process. Nothing is read that could not be written before, so a slow reader slows its own
writer and nobody else. The end of one direction is passed on as such; a reset is passed on as a reset, after all the
bytes that came before it.
"""

import fcntl
import os
import select
import socket
import struct
from contextlib import suppress

from dxd.proxy.loop import BROKEN

SMALL_BYTES = 1 << 14
"""What is copied rather than spliced: up to here the copy costs less than the detour by a pipe."""
PIPE_BYTES = 1 << 18
"""Of a pipe: what one system call moves at most."""
MAX_SPARE = 32
"""Pipes that are kept for the next who needs one. The kernel counts their bytes, 64 MiB for one user as a rule."""
BUDGET_BYTES = 1 << 21
"""What one direction may move before others have their turn."""

_SPLICE = os.SPLICE_F_MOVE | os.SPLICE_F_NONBLOCK
_RESET = struct.pack("ii", 1, 0)
"""For SO_LINGER: closing sends a reset, socket(7)."""


class Pipe:
    """A pipe of the kernel's, empty when it is handed on."""

    __slots__ = ("read", "write")

    def __init__(self) -> None:
        self.read, self.write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        with suppress(OSError):  # beyond the user's share of pages it stays as it is, pipe(7)
            fcntl.fcntl(self.write, fcntl.F_SETPIPE_SZ, PIPE_BYTES)

    def close(self) -> None:
        """End it, with what is in it."""
        os.close(self.read)
        os.close(self.write)


class Pipes:
    """Lends pipes: a connection has one only while more than a little is on its way."""

    def __init__(self) -> None:
        self._spare: list[Pipe] = []
        self.buffer = memoryview(bytearray(SMALL_BYTES))
        """For whoever moves something small: nothing is in it from one call to the next."""

    def take(self) -> Pipe | None:
        """One that is empty; None where there are no descriptors left."""
        if self._spare:
            return self._spare.pop()
        try:
            return Pipe()
        except OSError:
            return None

    def give(self, pipe: Pipe, *, empty: bool) -> None:
        """Take one back."""
        if empty and len(self._spare) < MAX_SPARE:
            self._spare.append(pipe)
        else:
            pipe.close()

    def drop(self) -> None:
        """Close all that nobody has; descriptors have become scarce."""
        while self._spare:
            self._spare.pop().close()


class End:
    """One of the two sockets of a connection, and what epoll said of it last."""

    __slots__ = ("fin", "readable", "sock", "writable")

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.readable = False
        self.writable = False
        self.fin = False
        """The peer will send no more: read on to the end, for no other edge will come."""

    def note(self, events: int) -> None:
        """What epoll says of it now."""
        self.readable |= bool(events & (select.EPOLLIN | select.EPOLLRDHUP | BROKEN))
        self.fin |= bool(events & (select.EPOLLRDHUP | BROKEN))
        self.writable |= bool(events & (select.EPOLLOUT | BROKEN))


class Flow:
    """One direction."""

    __slots__ = ("bulk", "done", "ended", "in_pipe", "left", "moved", "pipe", "pipes", "reset", "sink", "source")

    def __init__(self, source: End, sink: End, pipes: Pipes, left: bytes = b"") -> None:
        """`left` is what was read of the source already."""
        self.source = source
        self.sink = sink
        self.pipes = pipes
        self.left = left
        self.pipe: Pipe | None = None
        self.in_pipe = 0
        self.bulk = False
        self.ended = False
        """All that the source ever sends was read."""
        self.reset = False
        """It ended in a reset, or the sink takes no more."""
        self.done = False
        """And was written, with its end."""
        self.moved = 0

    def pump(self) -> bool:
        """Move what can be moved now; True where there may be more, after the others' turn."""
        budget = self.moved + BUDGET_BYTES
        while not self.done:
            if self.left or self.in_pipe:
                if not self._write():
                    return False
            elif self.ended:
                self._end()
            elif not self.source.readable:
                self._return_pipe()
                return False
            elif self.moved >= budget:
                return True
            else:
                self._read()
        return False

    def close(self) -> None:
        """Give back what it has, whatever is on its way."""
        self._return_pipe()
        self.left = b""
        self.ended = self.done = True

    def _read(self) -> None:
        try:
            if self.bulk and (self.pipe or self._take_pipe()):
                assert self.pipe is not None
                got = os.splice(self.source.sock.fileno(), self.pipe.write, PIPE_BYTES, flags=_SPLICE)
                self.in_pipe = got
                self.bulk = got >= SMALL_BYTES  # the next will be like this one
            else:
                got = self.source.sock.recv_into(self.pipes.buffer)
                self.bulk = got == SMALL_BYTES
                if 0 < got < SMALL_BYTES and not self.source.fin:
                    self.source.readable = False  # that was all; more is a new edge, epoll(7)
                self._send(self.pipes.buffer[:got])
        except BlockingIOError:
            self.source.readable = False  # the pipe was empty, so it is the socket that has nothing
            return
        except OSError:
            self.ended = self.reset = True
            return
        self.moved += got
        self.ended |= not got

    def _send(self, data: memoryview) -> None:
        """Send what is not this flow's to keep, and keep what the sink does not take."""
        sent = 0
        if self.sink.writable:
            try:
                sent = self.sink.sock.send(data)
            except BlockingIOError:
                self.sink.writable = False
            except OSError:
                self._broken()
                return
        if sent < len(data):
            self.left = bytes(data[sent:])

    def _write(self) -> bool:
        if not self.sink.writable:
            return False
        try:
            if self.left:
                self.left = self.left[self.sink.sock.send(self.left) :]
            else:
                assert self.pipe is not None
                self.in_pipe -= os.splice(self.pipe.read, self.sink.sock.fileno(), self.in_pipe, flags=_SPLICE)
        except BlockingIOError:
            self.sink.writable = False
            return False
        except OSError:
            self._broken()
        return True

    def _broken(self) -> None:
        """The sink takes no more; what was for it is lost, as it would be without us."""
        self.close()
        self.reset = True

    def _end(self) -> None:
        self.done = True
        self._return_pipe()
        if not self.reset:
            with suppress(OSError):  # it may have gone meanwhile
                self.sink.sock.shutdown(socket.SHUT_WR)

    def _take_pipe(self) -> bool:
        self.pipe = self.pipes.take()
        return self.pipe is not None

    def _return_pipe(self) -> None:
        if self.pipe is not None:
            self.pipes.give(self.pipe, empty=not self.in_pipe)
            self.pipe, self.in_pipe = None, 0


def reset(sock: socket.socket) -> None:
    """Have its close tell the peer that the connection broke."""
    with suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
