"""Asking for a lease, of a daemon that answers in every way that one could."""

import socket
import threading
from contextlib import suppress

import pytest

from dx import protocol
from dx.errors import RunFailed
from dx.launcher import lease
from dx.protocol import record

HEAD = b"HTTP/1.0 200 OK\r\nContent-Type: application/vnd.dx.lease\r\nConnection: close\r\n\r\n"
TOKEN = b"0123456789abcdef"
GO = record(protocol.A_GO)
LEASE = [
    record(protocol.A_RUN, protocol.U64.pack(7)),
    record(protocol.A_TOKEN, TOKEN),
    record(protocol.A_AGENT, b"/run/\xff.sock"),
    record(protocol.A_GRANT, protocol.U32.pack(1) + b"/a"),
    record(protocol.A_GRANT, protocol.U32.pack(2) + b"/b\n"),
    GO,
]
REQUEST = lease.Request(b"jq", [b"", b"a b", b"\xff"], [b"A=1", b"odd"], b"/here", [b"env=B=2"])


class Daemon:
    """Answers each connection with the next of its answers, then ends; a callable decides how it is sent."""

    def __init__(self, *answers: bytes, piecewise: bool = False) -> None:
        self.answers = list(answers)
        self.asked: list[bytes] = []
        self.told: list[tuple[bytes, bool]] = []
        self._piecewise = piecewise
        self._threads: list[threading.Thread] = []

    def connect(self) -> socket.socket:
        """As a launcher does."""
        ours, theirs = socket.socketpair()
        thread = threading.Thread(target=self._serve, args=(theirs, self.answers.pop(0)))
        thread.start()
        self._threads.append(thread)
        return ours

    def _serve(self, sock: socket.socket, answer: bytes) -> None:
        with sock:
            asked = b""
            while b"\r\n\r\n" not in asked or len(asked.partition(b"\r\n\r\n")[2]) < self._length(asked):
                asked += sock.recv(65536)
            self.asked.append(asked.partition(b"\r\n\r\n")[2])
            step = 1 if self._piecewise else len(answer) or 1
            with suppress(BrokenPipeError):  # who has seen enough goes
                for at in range(0, len(answer), step):
                    sock.sendall(answer[at : at + step])

    @staticmethod
    def _length(asked: bytes) -> int:
        return int(asked.partition(b"Content-Length: ")[2].partition(b"\r\n")[0])

    def ask(self, late: int | None = None) -> lease.Lease:
        """Ask it."""
        try:
            return lease.ask(REQUEST, self.connect, lambda text, passing: self.told.append((text, passing)), late)
        finally:
            for thread in self._threads:
                thread.join()


@pytest.mark.parametrize("piecewise", [False, True])
def test_a_lease(piecewise: bool) -> None:
    """With what was told before it, however it is cut into pieces."""
    notes = record(protocol.A_NOTE, b"a note") + record(protocol.A_PROGRESS, b"50 %")
    daemon = Daemon(HEAD + notes + b"".join(LEASE), piecewise=piecewise)
    got = daemon.ask()
    assert (got.run, got.token, got.agent, got.grants) == (7, TOKEN, b"/run/\xff.sock", [b"/a", b"/b\n"])
    assert not got.still_alive
    assert daemon.told == [(b"a note", False), (b"50 %", True)]
    assert dict(protocol.records(daemon.asked[0])) == {
        protocol.Q_VERSION: protocol.U32.pack(protocol.WIRE_VERSION),
        protocol.Q_COMMAND: b"jq",
        protocol.Q_CWD: b"/here",
        protocol.Q_OPTION: b"env=B=2",
        protocol.Q_ARGV: b"\0a b\0\xff\0",
        protocol.Q_ENV: b"A=1\0odd\0",
    }


def test_a_late_run() -> None:
    """Its number goes along; the daemon may say that it is to be waited for."""
    daemon = Daemon(HEAD + record(protocol.A_WAIT))
    assert daemon.ask(late=9).still_alive
    assert dict(protocol.records(daemon.asked[0]))[protocol.Q_LATE] == protocol.U64.pack(9)


def test_a_daemon_that_ends_is_asked_again() -> None:
    """Nothing has begun by then; three times it is tried."""
    cut = HEAD + b"".join(LEASE[:3])
    daemon = Daemon(b"", cut, HEAD + b"".join(LEASE))
    assert daemon.ask().grants == [b"/a", b"/b\n"]
    assert len(set(daemon.asked)) == 1
    with pytest.raises(RunFailed, match="ended before it had answered"):
        Daemon(b"", cut, HEAD[:20]).ask()


def test_a_refusal() -> None:
    """Has a line and a status."""
    refusal = record(protocol.A_ERROR, protocol.U32.pack(127) + b"jq: not here \xff")
    with pytest.raises(RunFailed) as caught:
        Daemon(HEAD + refusal).ask()
    assert (caught.value.exit_code, caught.value.message) == (127, "jq: not here \udcff")


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"HTTP/1.0 200 OK\r\nContent-Type: text/html\r\n\r\n<html>", "another version"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "another version"),
        (b"x" * 20000, "malformed"),
        (HEAD + record(999), "another version"),
        (HEAD + record(protocol.A_RUN, b"abc"), "malformed"),
        (HEAD + record(protocol.A_TOKEN, b"abc"), "malformed"),
        (HEAD + record(protocol.A_GRANT, b"ab"), "grants"),
        (HEAD + record(protocol.A_GRANT, protocol.U32.pack(1) + b"/a") * 129, "grants"),
        (HEAD + record(protocol.A_ERROR, b"a"), "refused"),
        (HEAD + protocol.RECORD.pack(protocol.A_NOTE, 1 << 31) + bytes(9 << 20), "malformed"),
    ],
    ids=range(10),
)
def test_an_answer_that_is_none(answer: bytes, words: str) -> None:
    """Is said to be none, in a line."""
    with pytest.raises(RunFailed, match=words):
        Daemon(answer).ask()


def test_too_much_to_ask() -> None:
    """Before anything is sent."""
    huge = lease.Request(b"x", [bytes(1)] * 10, [b"A=" + b"x" * (8 << 20)], b"/")

    def refuse() -> socket.socket:
        pytest.fail("it was connected")

    with pytest.raises(RunFailed, match="8 MiB"):
        lease.ask(huge, refuse, lambda text, passing: None)
