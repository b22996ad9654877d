"""The wire of `daemon/agent/wire.h` in Python: constants, records and frames.

Nothing here owns state or does I/O; the daemon, the Python client and the tests use it. A malformed
message raises `ProtocolError`. Integers are in the machine's own byte order, as on the C side.
"""

from __future__ import annotations

import struct

TYPE_CHECKING = False
if TYPE_CHECKING:  # importing these would cost every start of the Python launcher 2 ms
    from collections.abc import Iterable, Iterator

WIRE_VERSION = 1
TOKEN_BYTES = 16
MAX_FDS = 253
MAX_RUN_FRAME = 65536
MAX_CONTROL_FRAME = 8 << 20
MAX_LEASE_BODY = 8 << 20
RLIMITS = 16
CONTROL_CHARS = 32
WINDOW = 262144

# Frames on the run link.
START, SIGNAL, FOREGROUND = 1, 2, 3
STARTED, STOPPED, EXIT, FAILED, NOTE = 16, 17, 18, 19, 20
# More of them where it is frames alone.
STREAMS, DATA, EOF, CREDIT, CLOSED, RESIZE, TAKEN = 21, 22, 23, 24, 25, 26, 27
# Frames on the control link.
SETUP, LEASE, RUN_SIGNAL, PING = 32, 33, 34, 35
READY, PONG, RUN_STARTED, RUN_EXITED, SYNCED, BROKEN = 48, 49, 50, 51, 52, 53
# Records of SETUP and LEASE.
R_OWNER, R_HOME, R_PASSWD, R_GROUP, R_DRIVERS = 1, 2, 3, 4, 5
R_RUN, R_TOKEN, R_DEADLINE, R_UID, R_GID, R_GROUPS = 16, 17, 18, 19, 20, 21
R_ARGV, R_ENV, R_CWD, R_FILE, R_GRANT, R_SCRATCH = 23, 24, 25, 26, 27, 28
R_LINK, R_CACHE, R_ROOT, R_MEMORY, R_USER, R_RLIMIT = 29, 30, 31, 33, 34, 35
ROOT_KEPT, ROOT_DISK, ROOT_ONCE = 1, 2, 3
ONCE_NOT, ONCE_FRESH, ONCE_USED = 0, 1, 2
GRANT_RO, GRANT_DIR, GRANT_NEW, GRANT_HERE = 1, 2, 4, 16
# Records of the lease request and of its answer.
Q_VERSION, Q_COMMAND, Q_ARGV, Q_ENV, Q_CWD, Q_OPTION, Q_SHIM, Q_LATE = 64, 65, 66, 67, 68, 69, 70, 71
Q_BIND, Q_FRAMED, A_PORTABLE, A_PROJECT, A_NATIVE = 72, 75, 105, 106, 107
A_RUN, A_TOKEN, A_AGENT, A_GRANT, A_NOTE, A_PROGRESS, A_ERROR, A_WAIT, A_GO = 96, 97, 98, 99, 100, 101, 102, 103, 104

HEAD = struct.Struct("=IBBH")
RECORD = struct.Struct("=II")
I32 = struct.Struct("=i")
U32 = struct.Struct("=I")
U64 = struct.Struct("=Q")
START_HEAD = struct.Struct("=HHiQQ16sHHI" + "QQ" * RLIMITS)
TERMINAL_BODY = struct.Struct("=HHHHIIII32sI")
STREAM_BODY = struct.Struct("=II")
TAKEN_BODY = struct.Struct("=IIQ")
SIGNAL_BODY = struct.Struct("=II")
RUN_SIGNAL_BODY = struct.Struct("=QII")
EXIT_BODY = struct.Struct("=iIQQQ")
READY_BODY = struct.Struct("=IHH")
RUN_STARTED_BODY = struct.Struct("=QQ")
RUN_EXITED_BODY = struct.Struct("=QQIIiIQQQ")

MEDIA_TYPE = "application/vnd.dx.lease"


class ProtocolError(ValueError):
    """A message that the wire does not allow."""


def record(kind: int, payload: bytes = b"") -> bytes:
    """One record: its head, then `payload`."""
    return RECORD.pack(kind, len(payload)) + payload


def frame(kind: int, payload: bytes = b"", nfds: int = 0) -> bytes:
    """One frame without its descriptors, which the caller sends beside its first byte."""
    return HEAD.pack(len(payload), kind, 0, nfds) + payload


def strings(items: Iterable[bytes]) -> bytes:
    """A list of byte strings as a record's payload: each ended by NUL."""
    return b"".join(item + b"\0" for item in items)


def split_strings(payload: bytes) -> list[bytes]:
    """The inverse of `strings`; raises `ProtocolError` if the last string is not ended."""
    if not payload:
        return []
    if payload[-1]:
        raise ProtocolError("a list of strings does not end with NUL")
    return payload[:-1].split(b"\0")


def records(body: bytes) -> Iterator[tuple[int, bytes]]:
    """The records of `body` in order; raises `ProtocolError` where one is cut short."""
    at, end = 0, len(body)
    while at < end:
        if end - at < RECORD.size:
            raise ProtocolError("a record's head is cut short")
        kind, length = RECORD.unpack_from(body, at)
        at += RECORD.size
        if length > end - at:
            raise ProtocolError("a record is cut short")
        yield kind, body[at : at + length]
        at += length
