"""A run that a Python program has begun, in the manner of `subprocess.Popen`.

There is no process of this machine's for it: the program itself holds the link to the agent, hands its descriptors
over, and hears of the end. Where the agent is out of reach, a thread carries the bytes (`dx.carrier`). What ends the
link ends the run: `close`, or the end of the program.
"""

import io
import os
import select
import selectors
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from typing import IO, TYPE_CHECKING, Self

from dx import protocol
from dx.errors import RunFailed
from dx.launcher import caller, grants, link, opener
from dx.launcher.lease import Lease
from dx.launcher.link import Link

if TYPE_CHECKING:
    from _socket import socket

Stream = int | IO[bytes] | IO[str] | None
"""None for the program's own, a descriptor, a file with one, or `subprocess.PIPE`, `DEVNULL`, `STDOUT`."""
_CHUNK = 65536
_MAX_LOST = 3


class Process:
    """A run; made by `Client.popen`. Use it in a `with` block, which waits for its end, or ends it if it is left early.

    Stopping does not concern it: a run that stops and goes on is one that takes longer.
    """

    def __init__(
        self,
        args: list[bytes],
        ask: Callable[[int | None, int | None], Lease],
        connect: Callable[[], "socket"],
        *,
        stdin: Stream,
        stdout: Stream,
        stderr: Stream,
        pass_fds: Iterable[int],
    ) -> None:
        """Begin it; `ask` gets a lease, for a run that is late another one or `still_alive`, `connect` a connection to
        the daemon. Raises `RunFailed`.
        """
        self.args = args
        self.stdin: IO[bytes] | None = None
        self.stdout: IO[bytes] | None = None
        self.stderr: IO[bytes] | None = None
        self.returncode: int | None = None
        """None until its end was seen; the status, or the negative number of the signal that ended it."""
        self.notes: list[str] = []
        """Known at the end: why it failed, where only its container knows (no memory, a full scratch layer)."""
        self._reading = threading.Lock()
        with _Ends() as ends:
            self.stdin, descriptors = ends.of(stdin, 0)
            self.stdout, more = ends.of(stdout, 1)
            descriptors += more
            if stderr == subprocess.STDOUT:
                descriptors += [(fd, 2) for fd, target in more if target == 1]
            else:
                self.stderr, more = ends.of(stderr, 2)
                descriptors += more
            descriptors += [(fd, fd) for fd in sorted(set(pass_fds)) if fd > 2]
            try:
                self._link = _begin(ask, connect, descriptors)
            except BaseException:
                self._close_pipes()
                raise
        self.run = self._link.lease.run
        """Its number, as `dx ps` shows it."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        """Close the pipes and wait for the end; after an exception, have it end."""
        self._close_pipes()
        if kind is None:
            self.wait()
        self.close()

    def __repr__(self) -> str:
        return f"<dx.Process run={self.run} returncode={self.returncode} args={self.args!r}>"

    def poll(self) -> int | None:
        """The return code if it has ended, else None; never waits. Raises `RunFailed` if its container has gone."""
        if self._reading.acquire(blocking=False):  # else another thread is about to see the end
            try:
                while self.returncode is None and select.select([self._link], [], [], 0)[0]:
                    self._take()
            finally:
                self._reading.release()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """The return code, once it has ended.

        Raises `subprocess.TimeoutExpired` after `timeout` seconds, and `RunFailed` if its container has gone.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._reading:
            while self.returncode is None:
                left = None if deadline is None else max(0.0, deadline - time.monotonic())
                if not select.select([self._link], [], [], left)[0]:
                    raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
                self._take()
        return self.returncode

    def communicate(self, data: bytes | None = None, timeout: float | None = None) -> tuple[bytes | None, bytes | None]:
        """Write `data` to its stdin, read stdout and stderr to their ends, and wait; both are None unless piped.

        Raises `subprocess.TimeoutExpired` after `timeout` seconds, with what came so far; that is then lost to another
        call, and the run goes on.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        chunks: dict[int, list[bytes]] = {fd: [] for fd in (1, 2) if (self.stdout, self.stderr)[fd - 1]}

        def so_far(fd: int) -> bytes | None:
            return b"".join(chunks[fd]) if fd in chunks else None

        with selectors.DefaultSelector() as selector:
            self._register(selector, data)
            rest = memoryview(data or b"")
            while selector.get_map():
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    raise subprocess.TimeoutExpired(self.args, timeout or 0.0, so_far(1), so_far(2))
                for key, _ in selector.select(left):
                    file: IO[bytes] = key.fileobj  # type: ignore[assignment]  # those of _register
                    if key.data:
                        part = file.read1(_CHUNK)  # type: ignore[attr-defined]  # a BufferedReader has it
                        chunks[key.data].append(part)
                        over = not part
                    else:
                        rest = rest[_write(key.fd, rest) :]
                        over = not rest
                    if over:
                        selector.unregister(file)
                        with suppress(BrokenPipeError):
                            file.close()
        try:
            self.wait(None if deadline is None else max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise subprocess.TimeoutExpired(self.args, timeout or 0.0, so_far(1), so_far(2)) from None
        return so_far(1), so_far(2)

    def send_signal(self, number: int, *, group: bool = False) -> None:
        """Send a signal to the command, or to its process group as a terminal does; nothing if it has ended."""
        if self.poll() is None:
            self._link.signal(number, group=group)

    def terminate(self) -> None:
        """Send TERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send KILL; what the command has started ends with it."""
        self.send_signal(signal.SIGKILL)

    def close(self) -> None:
        """Let go of it: a run that still goes on gets HUP, TERM after two seconds and KILL after five."""
        self._link.close()

    def _register(self, selector: selectors.BaseSelector, data: bytes | None) -> None:
        if self.stdin and not self.stdin.closed:
            with suppress(BrokenPipeError):
                self.stdin.flush()
            if data:
                os.set_blocking(self.stdin.fileno(), False)
                selector.register(self.stdin, selectors.EVENT_WRITE, 0)
            else:
                with suppress(BrokenPipeError):
                    self.stdin.close()
        for number, file in ((1, self.stdout), (2, self.stderr)):
            if file and not file.closed:
                selector.register(file, selectors.EVENT_READ, number)

    def _close_pipes(self) -> None:
        for file in (self.stdin, self.stdout, self.stderr):
            if file:
                with suppress(BrokenPipeError):
                    file.close()

    def _take(self) -> None:
        """One frame, for which the caller has waited."""
        try:
            kind, payload, _ = self._link.receive()
        except (OSError, EOFError):
            raise link.gone(started=True) from None
        if kind == protocol.EXIT:
            status = link.exit_status(payload)
            self.returncode = -(status & 0x7F) or status >> 8 & 0xFF
        elif kind == protocol.FAILED:
            raise link.failed(payload)
        elif kind == protocol.NOTE:
            self.notes.append(payload.decode(errors="replace"))
        elif kind != protocol.STOPPED:
            raise RunFailed("the agent speaks another version; run: dx stop --all")


def _begin(
    ask: Callable[[int | None, int | None], Lease],
    connect: Callable[[], "socket"],
    descriptors: list[tuple[int, int]],
) -> Link:
    """A link to a run that has begun; raises `RunFailed`."""
    state = caller.State()
    lease = ask(None, None)
    lost = 0
    while True:
        try:
            agent = _link(lease, connect)
        except OSError as error:
            lost += 1
            if lost > _MAX_LOST:
                raise RunFailed(f"cannot reach the container: {error.strerror}; run: dx stop --all") from error
            again = ask(lease.run, None)
            lease = lease if again.still_alive else again
            continue
        try:
            _hand_over(agent, state, descriptors)
            if not (other := _await_start(agent, partial(ask, lease.run, None))):
                return agent
        except grants.NoNamespace:
            other = ask(None, lease.run)
        except BaseException:
            agent.close()
            raise
        agent.close()
        lease = other


def _link(lease: Lease, connect: Callable[[], "socket"]) -> Link:
    if not lease.framed:
        return Link(lease)
    from dx.carrier import CarriedLink

    return CarriedLink(lease, connect)


def _hand_over(agent: Link, state: caller.State, descriptors: list[tuple[int, int]]) -> None:
    mounts = opener.open_grants(agent.lease.grants)
    try:
        agent.start(state, descriptors, mounts)
    except OSError as error:
        raise RunFailed(f"cannot reach the container: {error.strerror}; run: dx stop --all") from error
    finally:
        for fd in mounts:
            os.close(fd)


def _await_start(agent: Link, ask: Callable[[], Lease]) -> Lease | None:
    """None when the run has begun; another lease where the daemon gave the agent up. Raises `RunFailed`."""
    for _ in range(link.MAX_LATE):
        if select.select([agent], [], [], link.PATIENCE_S)[0]:
            try:
                kind, payload, _ = agent.receive()
            except (OSError, EOFError):
                raise link.gone(started=False) from None
            if kind == protocol.STARTED:
                return None
            raise (
                link.failed(payload)
                if kind == protocol.FAILED
                else RunFailed("the agent speaks another version; run: dx stop --all")
            )
        other = ask()
        if not other.still_alive:
            return other
    raise RunFailed("the container does not start the run; run: dx stop --all")


class _Ends:
    """The run's ends of its streams; closed when it has them."""

    def __init__(self) -> None:
        self._ours: list[int] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for fd in self._ours:
            os.close(fd)

    def of(self, stream: Stream, target: int) -> tuple[IO[bytes] | None, list[tuple[int, int]]]:
        """The program's end, if there is a pipe; and the run's with its number, if it is not closed."""
        if stream is None:
            return None, [(target, target)] if caller.is_open(target) else []
        if stream == subprocess.PIPE:
            reader, writer = os.pipe()
            if target == 0:
                self._ours.append(reader)
                return io.BufferedWriter(io.FileIO(writer, "wb")), [(reader, target)]
            self._ours.append(writer)
            return io.BufferedReader(io.FileIO(reader, "rb")), [(writer, target)]
        if stream == subprocess.DEVNULL:
            self._ours.append(os.open(os.devnull, os.O_RDWR))
            return None, [(self._ours[-1], target)]
        if stream == subprocess.STDOUT:
            raise ValueError("STDOUT can only be used for stderr")
        return None, [(stream if isinstance(stream, int) else stream.fileno(), target)]


def _write(fd: int, data: memoryview) -> int:
    """How much was written; all, to a reader that has gone."""
    try:
        return os.write(fd, data[:_CHUNK])
    except BlockingIOError:
        return 0
    except BrokenPipeError:
        return len(data)
