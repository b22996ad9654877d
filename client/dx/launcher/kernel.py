"""The system calls that the standard library has no names for, or has them in modules that take long to import.

Every function raises `OSError` with the kernel's reason, as those of `os` do.
"""

from __future__ import annotations

import ctypes
import os
import struct

_libc = ctypes.CDLL(None, use_errno=True)
_libc.signal.argtypes = (ctypes.c_int, ctypes.c_void_p)
_libc.signal.restype = ctypes.c_void_p

_SIG_BLOCK, _SIG_UNBLOCK, _SIG_SETMASK = 0, 1, 2
_SIGSET_BYTES = 128
SIGNAL_INFO = struct.Struct("=Iii116x")
"""struct signalfd_siginfo, signalfd(2): ssi_signo, ssi_errno, ssi_code."""
SI_KERNEL = 128
IGNORE = 1


def signal_set(numbers: list[int]) -> bytes:
    """A sigset_t."""
    return struct.pack("=Q", sum(1 << number - 1 for number in numbers)).ljust(_SIGSET_BYTES, b"\0")


def hold_signals(numbers: list[int]) -> int:
    """Block these, and have them wait in a descriptor instead, which does not block."""
    block(numbers)
    return _checked(_libc.signalfd(-1, signal_set(numbers), os.O_CLOEXEC | os.O_NONBLOCK))


def block(numbers: list[int]) -> None:
    """Let these wait."""
    _checked(_libc.sigprocmask(_SIG_BLOCK, signal_set(numbers), None))


def unblock(numbers: list[int]) -> None:
    """Let these come."""
    _checked(_libc.sigprocmask(_SIG_UNBLOCK, signal_set(numbers), None))


def pending() -> int:
    """Signals that wait to come: bit n-1 for signal n."""
    waiting = ctypes.create_string_buffer(_SIGSET_BYTES)
    _checked(_libc.sigpending(waiting))
    number: int = struct.unpack_from("=Q", waiting)[0]
    return number


def set_action(number: int, action: int | None) -> int | None:
    """Give a signal its default action (None), have it ignored (`IGNORE`), or what this function gave back: what was.

    Python's own handlers are such actions too; it does not hear of the change.
    """
    before: int | None = _libc.signal(number, action)
    return before


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
