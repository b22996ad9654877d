"""What the file system itself has to say: whether inotify tells of all changes, and paths longer than PATH_MAX."""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

REMOTE: Final = {
    0x01021997: "9p",
    0x01161970: "gfs2",
    0x0BD00BD0: "lustre",
    0x00C36400: "ceph",
    0x20030528: "orangefs",
    0x47504653: "gpfs",
    0x517B: "smb",
    0x5346414F: "afs",
    0x564C: "ncp",
    0x65735546: "fuse",
    0x6969: "nfs",
    0x6B414653: "afs",
    0x73757245: "coda",
    0x7461636F: "ocfs2",
    0x786F4256: "vboxsf",
    0x7C7C6673: "prl_fs",
    0xBACBACBC: "vmhgfs",
    0xFE534D42: "smb",
    0xFF534D42: "cifs",
}
"""By statfs(2)'s `f_type`: others change files there (a server, a host, a process behind FUSE) without this kernel
noticing. The numbers are those of linux/magic.h and of the modules' sources."""

_libc = ctypes.CDLL(None, use_errno=True)
_PLAIN_CHARACTERS = 1000
"""A path of so many characters is shorter than PATH_MAX, 4096 bytes, in any encoding."""
_PIECE_BYTES = 3000


def remote(path: str) -> str | None:
    """The name of the file system, where changes on it can come from elsewhere; may block as long as that one does."""
    # `struct statfs` begins with `f_type`, a machine word, and has 120 bytes on 64-bit machines.
    buffer = (ctypes.c_long * 64)()
    if _libc.statfs(os.fsencode(path), buffer) < 0:
        return None
    return REMOTE.get(buffer[0] & 0xFFFFFFFF)


@contextmanager
def reach(path: str) -> Iterator[str]:
    """A path for the same file that system calls take, however long `path` is; good within the block."""
    if len(path) < _PLAIN_CHARACTERS:
        yield path
        return
    fd = os.open("/", os.O_PATH | os.O_CLOEXEC)
    try:
        *pieces, last = _pieces(path)
        for piece in pieces:
            inner = os.open(piece, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=fd)
            os.close(fd)
            fd = inner
        yield f"/proc/self/fd/{fd}/{last}"
    finally:
        os.close(fd)


def _pieces(path: str) -> Iterator[str]:
    piece: list[str] = []
    size = 0
    for name in path.strip("/").split("/"):
        size += len(os.fsencode(name)) + 1
        if size > _PIECE_BYTES and piece:
            yield "/".join(piece)
            piece, size = [], len(os.fsencode(name)) + 1
        piece.append(name)
    yield "/".join(piece)
