"""inotify(7), as bare as the kernel has it: names are file system strings (PEP 383), nothing is waited for.

Written here because what libraries add is what is not wanted: docs/decisions/0017-watching.md. `add` and `remove` may
be called from any thread, `read` from the owner's only.
"""

import ctypes
import fcntl
import os
import struct
import sys
import termios
from typing import Final

MODIFY: Final = 0x2
ATTRIB: Final = 0x4
CLOSE_WRITE: Final = 0x8
MOVED_FROM: Final = 0x40
MOVED_TO: Final = 0x80
CREATE: Final = 0x100
DELETE: Final = 0x200
DELETE_SELF: Final = 0x400
MOVE_SELF: Final = 0x800
UNMOUNT: Final = 0x2000
OVERFLOW: Final = 0x4000
IGNORED: Final = 0x8000
"""The kernel has removed the watch, because the directory is gone or because it was asked to."""
ONLYDIR: Final = 0x1000000
DONT_FOLLOW: Final = 0x2000000
EXCL_UNLINK: Final = 0x4000000
MASK_ADD: Final = 0x20000000
ISDIR: Final = 0x40000000

READ_BYTES: Final = 64 << 10
"""Read in one go: some 1,500 events, which take a few milliseconds to act on."""

Event = tuple[int, int, str]
"""Watch descriptor (-1 with `OVERFLOW`), mask, and the name in the watched directory or an empty string for itself."""

_LONGEST = 16 + 256
"""An event with the longest name; one that does not fit is left for the next read."""
_HEAD = struct.Struct("iIII")
_SIZE = struct.Struct("i")
_NO_SIZE = bytes(_SIZE.size)
_ENCODING = sys.getfilesystemencoding()
_libc = ctypes.CDLL(None, use_errno=True)
_libc.inotify_add_watch.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_uint32)


def _check(answer: int, path: str | None = None) -> int:
    if answer < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), path)
    return answer


class Inotify:
    """One instance, which whoever made it closes."""

    def __init__(self) -> None:
        """Raises `OSError`, with EMFILE where the user may have no more instances."""
        self.fd: Final[int] = _check(_libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))

    def add(self, directory: str, mask: int) -> int:
        """Watch a directory, which is no symlink, for `mask` and for what it is watched for already.

        Returns the watch descriptor: the same for the same directory, by whatever path. Raises `OSError`: ENOSPC where
        the user may have no more watches, ENOTDIR for what is no directory, EACCES where it may not be read.
        """
        flags = mask | ONLYDIR | DONT_FOLLOW | EXCL_UNLINK | MASK_ADD
        return _check(_libc.inotify_add_watch(self.fd, os.fsencode(directory), flags), directory)

    def remove(self, watch: int) -> None:
        """End a watch; one that the kernel has ended already is no error."""
        _libc.inotify_rm_watch(self.fd, watch)

    def reads(self) -> int:
        """How many times `read` has to be called for all that happened up to now; takes a microsecond."""
        size: int = _SIZE.unpack(fcntl.ioctl(self.fd, termios.FIONREAD, _NO_SIZE))[0]
        return -(-size // (READ_BYTES - _LONGEST))

    def read(self) -> list[Event]:
        """What happened and was not read yet, up to `READ_BYTES` of it; an empty list if nothing did."""
        try:
            data = os.read(self.fd, READ_BYTES)
        except BlockingIOError:
            return []
        events: list[Event] = []
        at = 0
        while at < len(data):
            watch, mask, _, size = _HEAD.unpack_from(data, at)
            at += _HEAD.size
            events.append((watch, mask, data[at : at + size].rstrip(b"\0").decode(_ENCODING, "surrogateescape")))
            at += size
        return events

    def close(self) -> None:
        """End every watch."""
        os.close(self.fd)
