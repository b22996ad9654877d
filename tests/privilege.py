"""To be less than root for a moment."""

import ctypes
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager

_VERSION_3 = 0x20080522
_DAC = 1 << 1 | 1 << 2
"""CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH."""


@contextmanager
def as_files_say() -> Iterator[None]:
    """Let the modes of files hold for the calling thread, root's too, and for threads that it starts meanwhile."""
    libc = ctypes.CDLL(None, use_errno=True)
    head = struct.pack("=Ii", _VERSION_3, 0)
    had = ctypes.create_string_buffer(24)
    _check(libc.capget(head, had))
    sets = list(struct.unpack("=6I", had.raw))
    sets[0] &= ~_DAC
    _check(libc.capset(head, struct.pack("=6I", *sets)))
    try:
        yield
    finally:
        _check(libc.capset(head, had.raw))


def _check(answer: int) -> None:
    if answer != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
