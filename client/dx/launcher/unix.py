"""Connections over Unix sockets, without the 7 ms that importing `socket` takes."""

from __future__ import annotations

import _socket
import os

from dx.errors import RunFailed

MAX_PATH = 107
"""What fits into sun_path, unix(7)."""


def connect(path: bytes, whose: str) -> _socket.socket:
    """A connection, close-on-exec; raises `OSError`, or `RunFailed` where the path is too long."""
    if len(path) > MAX_PATH:
        raise RunFailed(
            f"the path of the {whose}'s socket is too long ({len(path)} bytes, {MAX_PATH} at most): "
            f"{os.fsdecode(path)}; set DX_RUNTIME_DIR to a shorter one"
        )
    sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
    try:
        sock.connect(path)
    except BaseException:
        sock.close()
        raise
    return sock
