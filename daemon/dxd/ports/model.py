"""Ports that are wanted, and that are given: frozen values."""

from dataclasses import dataclass
from typing import Literal

Protocol = Literal["tcp", "udp"]


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose a port is: always the same for one service of one worktree."""

    project: str
    root: str
    """The worktree: an absolute path."""
    service: str
    target: int
    """The port in the container."""
    protocol: Protocol = "tcp"
    wanted: int | None = None
    """The port that it would have; one target may want several. None where any will do."""

    def __str__(self) -> str:
        return f"the service {self.service} of {self.project} in {self.root}"


@dataclass(frozen=True, slots=True)
class Given:
    """The port that an owner gets."""

    port: int
    why: str = ""
    """Why it is not the wanted one, or is that again, in words for the user; empty where it is and was."""


@dataclass(frozen=True, slots=True)
class Bound:
    """A socket that somebody has, as the kernel lists it."""

    address: str
    port: int
    inode: int
    uid: int
