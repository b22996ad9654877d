"""A small process that puts the terminal's modes back where the launcher was killed (client/launcher/guard.c).

It is a child in a process group of its own and holds nothing but the terminal and a socket from the launcher. What
comes by it is what the modes were and what they are now; a byte alone says that all is well; the end without it says
that the launcher was killed.
"""

from __future__ import annotations

import _socket
import os
import select
import termios

from dx.launcher import kernel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

_SHELLS_TURN_MS = 50
_MAX_MESSAGE = 4096


class Guard:
    """The launcher's end of it; nothing is started before there is something to guard."""

    def __init__(self, terminal: int) -> None:
        self._terminal = terminal
        self._pid = 0
        self._sock: _socket.socket | None = None

    def tell(self, before: bytes, during: bytes) -> None:
        """What to put back, and over what, each as `terminal.pack` has it."""
        if not self._pid:
            self._start()
        self._send(before + during)

    def dismiss(self) -> None:
        """All is well; call it when the modes are back."""
        if self._sock:
            self._send(b"\0")
            self._sock.close()
            os.waitpid(self._pid, 0)
        self._sock = None

    def _send(self, message: bytes) -> None:
        if self._sock:
            try:
                self._sock.send(message)
            except OSError:
                return  # without a guard only SIGKILL leaves a trace

    def _start(self) -> None:
        ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
        group = os.getpgrp()
        self._pid = os.fork()
        if self._pid == 0:
            try:
                _watch(self._terminal, theirs.fileno(), group)
            finally:
                os._exit(1)
        theirs.close()
        self._sock = ours


def _watch(terminal: int, from_launcher: int, group: int) -> NoReturn:
    kernel.block(list(range(1, 65)))  # SIGTTOU too: blocked, it stops nobody
    os.setpgid(0, 0)
    os.dup2(terminal, 0)
    os.dup2(from_launcher, 1)
    os.closerange(2, 1 << 20)
    os.chdir("/")
    known = b""
    while True:
        message = os.read(1, _MAX_MESSAGE)
        if len(message) == 1:
            os._exit(0)
        if not message:
            if known:
                half = len(known) // 2
                _put_back(known[:half], known[half:], group)
            os._exit(0)
        known = message


def _put_back(before: bytes, during: bytes, group: int) -> None:
    """A shell that has taken the terminal back sets it as it likes, and soon: that must not be undone."""
    from dx.launcher.terminal import pack, unpack

    if os.tcgetpgrp(0) != group:
        select.poll().poll(_SHELLS_TURN_MS)
    if pack(termios.tcgetattr(0)) == during:
        termios.tcsetattr(0, termios.TCSANOW, unpack(before))  # type: ignore[arg-type]  # a mixed list
