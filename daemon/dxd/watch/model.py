"""What can be watched, and what `dx doctor` is told."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

Judge = Callable[[str], bool]
"""Decides by a name relative to the tree's root, with slashes; called from two threads, and must not raise."""


def nothing(name: str) -> bool:  # noqa: ARG001 - a Judge
    """Leave nothing out."""
    return False


@dataclass(frozen=True, slots=True)
class Tree:
    """A directory and all below it. Symlinks are not followed, except where `path` itself leads through one."""

    path: str
    prune: Judge = nothing
    """Whether nothing in this directory counts, nor below it: it costs no watch."""
    ignores: Judge = nothing
    """Whether the content and mode of this file, or of a directory that is not pruned, count for nothing."""


@dataclass(frozen=True, slots=True)
class File:
    """A single file, which need not exist; where it is a symlink, the file that it leads to as well."""

    path: str


Spec = Tree | File


class Cause(StrEnum):
    """Why something is polled instead of watched."""

    WATCHES = "watches"
    INSTANCES = "instances"
    REMOTE = "remote"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is polled, and what can be done about it."""

    message: str
    cure: str

    def __str__(self) -> str:
        return f"{self.message}; {self.cure}"
