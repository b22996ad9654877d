"""Opening grants for a program that must not leave its namespaces: by `grants`, run as a program of its own."""

from __future__ import annotations

import array
import errno
import os
import socket
import struct
import subprocess
import sys

from dx.errors import RunFailed
from dx.launcher import grants, link

_ANSWER = struct.Struct("=ii")
_MAX_ANSWER = 8192


def open_grants(paths: list[bytes]) -> list[int]:
    """A detached mount for each path, which the caller closes; raises `RunFailed` or `grants.NoNamespace`.

    Takes no time for root, and that of a start of Python for everybody else.
    """
    mounts: list[int] = []
    try:
        for path in paths:
            mounts.append(grants.clone_tree(path))
    except grants.NotGranted as error:
        for fd in mounts:
            os.close(fd)
        if error.errno != errno.EPERM:
            raise link.not_granted(error) from error
        return _by_program(paths)
    return mounts


def _by_program(paths: list[bytes]) -> list[int]:
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            subprocess.run(
                [sys.executable, "-I", "-S", grants.__file__, str(theirs.fileno())],
                input=b"".join(path + b"\0" for path in paths),
                pass_fds=[theirs.fileno()],
                check=False,
            )
        space = socket.CMSG_SPACE(len(paths) * array.array("i").itemsize)
        data, ancillary, _, _ = ours.recvmsg(_MAX_ANSWER, space, socket.MSG_CMSG_CLOEXEC)
    if len(data) < _ANSWER.size:
        raise RunFailed(f"{sys.executable} does not open the paths that the run needs; see above")
    number, namespace = _ANSWER.unpack_from(data)
    if number:
        path = data[_ANSWER.size :]
        if namespace:
            raise grants.NoNamespace(number, os.strerror(number), path)
        raise link.not_granted(grants.NotGranted(number, os.strerror(number), path))
    mounts = array.array("i")
    for _, _, rights in ancillary:
        mounts.frombytes(rights)
    return list(mounts)
