"""The project around a current directory."""

import os

from dxd.runs.closed import Closed

MARKERS = (b".git", b"dx.toml", b"compose.yaml", b"compose.yml", b"docker-compose.yaml", b"docker-compose.yml")
"""What makes a directory the root of a project."""


def find_root(cwd: bytes, closed: Closed) -> bytes:
    """The nearest directory with a marker, from the current one up; that one itself where there is none."""
    at = cwd
    while at != b"/" and not closed.reason(at):
        for marker in MARKERS:
            try:
                os.lstat(at + b"/" + marker)
            except OSError:
                continue
            return at
        at = at.rpartition(b"/")[0] or b"/"
    return cwd
