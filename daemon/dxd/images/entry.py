"""How the things that a build is made of are put into bytes to be hashed; pure.

`identity` names a build by them, and `context` says by them what it has sent, so that the two can be compared.
"""

import os
import stat
from typing import Final

DOCKERFILE: Final = b"Dockerfile"
"""The name of what is said of it besides."""


def entry(name: bytes, value: bytes) -> bytes:
    """One thing: no other name and value are the same bytes."""
    return b"%d:%b%d:%b" % (len(name), name, len(value), value)


def name_of(name: str) -> bytes:
    """A file's, from its name in the context. It begins with a slash, which nothing else does."""
    return b"/" + os.fsencode(name)


def value_of(status: os.stat_result, content: bytes) -> bytes:
    """All that an archive has of a file besides its name; `content` is a digest of it, or where a symlink leads."""
    return b"%o %o " % (stat.S_IFMT(status.st_mode), stat.S_IMODE(status.st_mode)) + content
