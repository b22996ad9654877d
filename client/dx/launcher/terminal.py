"""The caller's terminal, and the run's pty whose master the agent has sent (client/launcher/terminal.c).

Bytes go both ways, size and modes are kept. While this launcher is in the foreground its terminal is raw, and what is
typed goes to the run's pty, which makes of it what a terminal makes. In the background nothing is read and no mode is
touched, for then the terminal is somebody else's. Imported only where there is a terminal.
"""

from __future__ import annotations

import errno
import os
import select
import struct
import termios
from fcntl import F_DUPFD_CLOEXEC, F_SETFL, fcntl, ioctl

from dx import protocol
from dx.errors import RunFailed
from dx.launcher.guard import Guard

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from dx.launcher.link import Link

PIECE = 16384
_TIOCGDEV = 0x80045432
_OWN_NAMES = ("/dev/tty", "/proc/self/fd/0", "/proc/self/fd/1")
_KEYS = ((termios.VINTR, 2), (termios.VQUIT, 3), (termios.VSUSP, 20))
_DISABLED = b"\0"
_MODES = struct.Struct("=IIIIII32s")
_READ, _WRITE = select.POLLIN, select.POLLOUT
_STUCK_MS = 1000
"""That a terminal takes nothing, before a killed run's output is given up."""


def pack(modes: list[object]) -> bytes:
    """What `termios.tcgetattr` gave, as bytes that can be compared."""
    *numbers, characters = modes
    assert isinstance(characters, list)
    each = (one if isinstance(one, bytes) else bytes([one]) for one in characters)
    return _MODES.pack(*numbers, b"".join(each))


def unpack(modes: bytes) -> list[object]:
    """The inverse, for `termios.tcsetattr`."""
    *numbers, characters = _MODES.unpack(modes)
    return [*numbers, [bytes([one]) for one in characters]]


def raw(modes: bytes) -> bytes:
    """As cfmakeraw(3) makes them; a read waits for one byte."""
    iflag, oflag, cflag, lflag, ispeed, ospeed, characters = _MODES.unpack(modes)
    iflag &= ~(
        termios.IGNBRK
        | termios.BRKINT
        | termios.PARMRK
        | termios.ISTRIP
        | termios.INLCR
        | termios.IGNCR
        | termios.ICRNL
        | termios.IXON
    )
    oflag &= ~termios.OPOST
    lflag &= ~(termios.ECHO | termios.ECHONL | termios.ICANON | termios.ISIG | termios.IEXTEN)
    cflag = cflag & ~(termios.CSIZE | termios.PARENB) | termios.CS8
    characters = bytearray(characters)
    characters[termios.VMIN], characters[termios.VTIME] = 1, 0
    return _MODES.pack(iflag, oflag, cflag, lflag, ispeed, ospeed, bytes(characters))


def find() -> Terminal | None:
    """The terminal that the run gets one like: there is none unless stdin and stdout both are it."""
    if not (os.isatty(0) and os.isatty(1) and is_same(0, 1)):
        return None
    try:
        return Terminal(_open_own())
    except (OSError, termios.error) as error:
        raise RunFailed(f"cannot use the terminal: {os.strerror(error.args[0])}") from error


def is_same(a: int, b: int) -> bool:
    """Whether both are the same terminal. /dev/tty is another file than the terminal that it stands for."""
    try:
        if ioctl(a, _TIOCGDEV, bytes(4)) != ioctl(b, _TIOCGDEV, bytes(4)):
            return False
        one, other = os.fstat(a), os.fstat(b)
    except OSError:
        return False
    return one.st_rdev != other.st_rdev or one.st_dev == other.st_dev


def _open_own() -> int:
    """By a description of our own, so that O_NONBLOCK is nobody else's; at worst the caller's, which blocks."""
    for name in _OWN_NAMES:
        try:
            fd = os.open(name, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        except OSError:
            continue
        if is_same(fd, 0):
            return fd
        os.close(fd)
    return fcntl(0, F_DUPFD_CLOEXEC, 3)


class Terminal:
    """The caller's, before and while a run has one like it."""

    def __init__(self, fd: int) -> None:
        self._terminal = fd
        self._master = -1
        self._raw = False
        """The terminal is in our modes."""
        self.has_gone = False
        """It has hung up."""
        self._told = False
        """What the agent knows of `_is_foreground`."""
        self._held_back = b""
        """A carriage return of the run's, until what follows is seen."""
        self._typed: set[int] = set()
        """Signals whose keys went to the run."""
        self._saved = self._given = pack(termios.tcgetattr(fd))
        """What the modes were, and what the run's terminal was given."""
        self._ours = b""
        self._in = self._out = b""
        self._guard = Guard(fd)
        self.tell_size: Callable[[bytes], None] | None = None
        """Where the master is none, and only stands for one out of reach."""

    @property
    def is_on(self) -> bool:
        """Whether there is a master."""
        return self._master >= 0

    @property
    def which(self) -> int:
        """A bit for each of 0-2 that is this terminal."""
        return sum(is_same(0, fd) << fd for fd in range(3))

    def describe(self) -> bytes:
        """For START."""
        rows, columns, width, height = struct.unpack("=HHHH", self._size())
        iflag, oflag, cflag, lflag, _, _, characters = _MODES.unpack(self._saved)
        self._told = self._is_foreground()
        return protocol.TERMINAL_BODY.pack(
            rows, columns, width, height, iflag, oflag, cflag, lflag, characters, self._told
        )

    def begin(self, agent: Link, master: int) -> None:
        """The run has begun, and this is its pty's master: relay from now on, where this is the foreground."""
        self._master = master
        fcntl(master, F_SETFL, os.O_NONBLOCK)
        self.look(agent)

    def look(self, agent: Link) -> None:
        """After a stop: is this the foreground? Raw or not accordingly; the agent is told of a change."""
        if not self.is_on:
            return
        foreground = self._is_foreground()
        if self._master < 0:
            return
        self._raw = False
        if foreground:
            self._make_raw()
        self.resize()
        if foreground != self._told:
            agent.foreground(foreground)
        self._told = foreground

    def resize(self) -> None:
        """The run's terminal gets the size of this one."""
        if self.is_on and self.tell_size:
            self.tell_size(self._size())
        elif self.is_on:
            try:
                ioctl(self._master, termios.TIOCSWINSZ, self._size())
            except OSError:
                return  # its end is about to be told

    def restore(self) -> None:
        """Put the modes back, if this is the foreground. Harmless at any time."""
        if self._raw and self._is_foreground():
            self._set(self._saved)
        self._raw = False

    def leave(self) -> None:
        """Restore for good."""
        self.restore()
        self._guard.dismiss()

    def was_typed(self, number: int) -> bool:
        """Whether the key for that signal was typed to the run, in the foreground."""
        return number in self._typed

    def wants(self) -> list[tuple[int, int]]:
        """What to poll for."""
        if not self.is_on:
            return []
        terminal = (_READ if self._raw and not self._in else 0) | (_WRITE if self._out else 0)
        master = (_WRITE if self._in else 0) | (0 if self._out else _READ)
        return [(fd, events) for fd, events in ((self._terminal, terminal), (self._master, master)) if events]

    def pump(self, events: dict[int, int]) -> None:
        """Do what can be done."""
        at_terminal, at_master = events.get(self._terminal, 0), events.get(self._master, 0)
        if self.is_on and at_terminal & ~_WRITE and self._raw and not self._in:
            data = _read(self._terminal)
            if data is None:
                self._hang_up()
                return
            if data:
                self._note_keys(data)
            self._in = data
        if self.is_on:
            self._in = _write(self._master, self._in) or b""
        if self.is_on and (at_master or at_terminal & _WRITE):
            self._bring_out()

    def drain(self, signals: int, *, killed: bool) -> bool:
        """The run has ended: show what it still wrote, unless a signal comes meanwhile, or nobody takes it of a run
        that was killed; whether all was shown.
        """
        while self.is_on:
            more = self._bring_out()
            if not self._out and not more:
                break
            if self._out:
                poll = select.poll()
                poll.register(self._terminal, _WRITE)
                poll.register(signals, _READ)
                events = dict(poll.poll(_STUCK_MS if killed else None))
                if not events or signals in events:
                    return False  # nobody looks at the terminal, and somebody wanted this to end
        if self._held_back and self.is_on:
            _write(self._terminal, self._held_back)
        self._held_back = b""
        return self.is_on

    def _size(self) -> bytes:
        try:
            return ioctl(self._terminal, termios.TIOCGWINSZ, bytes(8))
        except OSError:
            return bytes(8)

    def _is_foreground(self) -> bool:
        """A terminal that is not our controlling one knows no foreground: there is nobody to share it with."""
        try:
            return os.tcgetpgrp(self._terminal) == os.getpgrp()
        except OSError as error:
            if error.errno == errno.EIO:
                self._hang_up()
            return error.errno == errno.ENOTTY

    def _make_raw(self) -> None:
        try:
            now = pack(termios.tcgetattr(self._terminal))
        except termios.error:
            return
        # After a stop they may be ours already, for some shells keep a job's modes.
        if now != self._ours:
            self._saved = now
        self._give_modes()
        self._ours = raw(self._saved)
        self._guard.tell(self._saved, self._ours)
        self._raw = self._set(self._ours)

    def _give_modes(self) -> None:
        """A command that began in the background was given the modes of the shell that edits a line there. As long as
        it has set none itself, it has those that are the terminal's now.
        """
        if self._saved == self._given:  # always so at the start, when the command may just be setting its own
            return
        try:
            if pack(termios.tcgetattr(self._master)) == self._given:
                termios.tcsetattr(self._master, termios.TCSANOW, unpack(self._saved))  # type: ignore[arg-type]  # a mixed list
                self._given = self._saved
        except termios.error:
            return  # its end is about to be told

    def _set(self, modes: bytes) -> bool:
        try:
            termios.tcsetattr(self._terminal, termios.TCSANOW, unpack(modes))  # type: ignore[arg-type]  # a mixed list
        except termios.error:
            return False
        return True

    def _hang_up(self) -> None:
        """The terminal is gone: to the run it is as if its own were."""
        if self.is_on:
            os.close(self._master)
        self._master, self._raw, self.has_gone = -1, False, True
        self._in = self._out = b""

    def _note_keys(self, data: bytes) -> None:
        """Which signals will the run's terminal make of what goes there now?"""
        try:
            theirs: list[Any] = unpack(self._saved) if self.tell_size else termios.tcgetattr(self._master)
        except termios.error:
            return
        if theirs[3] & termios.ISIG:
            for key, number in _KEYS:
                character = theirs[6][key]
                if character != _DISABLED and character in data:
                    self._typed.add(number)

    def _bring_out(self) -> bool:
        """From the run to the terminal; whether some came, and neither has ended."""
        if not self._out:
            data = _read(self._master)
            if not data:
                return False
            self._out = self._without_returns(data)
        left = _write(self._terminal, self._out)
        if left is None:
            self._hang_up()
            return False
        self._out = left
        return True

    def _without_returns(self, data: bytes) -> bytes:
        """A terminal that is not raw puts a carriage return before each line feed, as the run's has done already."""
        both = termios.OPOST | termios.ONLCR
        if (self._raw or _MODES.unpack(self._saved)[1] & both != both) and not self._held_back:
            return data
        data = (self._held_back + data).replace(b"\r\n", b"\n")
        self._held_back = b"\r" if data.endswith(b"\r") else b""
        return data.removesuffix(b"\r")


def _read(fd: int) -> bytes | None:
    """What is there, nothing yet, or None at the end."""
    try:
        return os.read(fd, PIECE) or None
    except BlockingIOError:
        return b""
    except OSError:
        return None


def _write(fd: int, data: bytes) -> bytes | None:
    """What is left of it, or None at the end."""
    try:
        while data:
            data = data[os.write(fd, data) :]
    except BlockingIOError:
        return data
    except OSError:
        return None
    return data
