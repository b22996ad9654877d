"""What is asked for, what is given, and what came of it: frozen values.

Arguments, environment and tokens are secrets of the user's: no `repr` shows them.
"""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import NewType

from dxd.engine.model import ContainerId

RunId = NewType("RunId", int)
"""Below 2**53, so that it passes through any JSON parser."""


@dataclass(frozen=True, slots=True)
class Peer:
    """The process at the other end of a connection, as the kernel vouches for it."""

    pid: int
    """0 where it is in a pid namespace that is not ours."""
    uid: int
    gid: int
    groups: tuple[int, ...] = ()
    """Supplementary groups."""


@dataclass(frozen=True, slots=True)
class LeaseRequest:
    """Run this: a command with everything that its caller gave it, in bytes as the caller had them."""

    command: bytes
    """A tool, a command of a tool, or an image; not empty, without NUL."""
    args: tuple[bytes, ...] = field(repr=False)
    env: tuple[bytes, ...] = field(repr=False)
    """`K=V` each; entries without `=` are possible, as they are in any process."""
    cwd: bytes
    """Absolute."""
    peer: Peer
    options: tuple[tuple[str, str], ...] = ()
    """Options of `dx run`, in their order; a key may come more than once."""
    shim: bool = False
    """Called through a shim, so `command` is only ever a command of a tool."""
    framed: bool = False
    """A run link of frames alone, through the daemon, will do too."""
    bind: RunId | None = None
    """The run that was leased before for the same call, and whose grants its launcher cannot open."""
    late: RunId | None = None
    """The run that was leased before for the same call, and whose agent stays silent."""


@dataclass(frozen=True, slots=True)
class Grant:
    """A path of the host that the launcher opens and passes to the agent."""

    path: bytes
    readonly: bool
    directory: bool


@dataclass(frozen=True, slots=True)
class Lease:
    """Where to start the run, and what to bring."""

    run: RunId
    token: bytes = field(repr=False)
    agent: Path
    """The agent's socket."""
    grants: tuple[Grant, ...] = ()
    """Those that the launcher has to bring."""
    framed: bool = False
    """The run link is frames alone, through the daemon: the agent cannot be reached."""


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """The answer to a launcher that needs descriptors to pass, where none can be: another has to take its place."""


@dataclass(frozen=True, slots=True)
class StillAlive:
    """The answer to a request with `late` whose agent lives: wait on."""


class RunState(StrEnum):
    """Where a run stands."""

    LEASED = "leased"
    """Given out, not started yet."""
    RUNNING = "running"
    FINISHED = "finished"
    LOST = "lost"
    """Its container went away, or its lease ran out."""


@dataclass(frozen=True, slots=True)
class Run:
    """One execution of a command."""

    id: RunId
    tool: str
    """The tool's name, or the image where the command is not of a tool."""
    command: str
    """The command's bare name."""
    container: ContainerId
    client_pid: int
    state: RunState
    created_at: datetime
    """In UTC, as is `started_at`."""
    started_at: datetime | None = None
    duration_s: float | None = None
    """None until it has ended."""
    exit_code: int | None = None
    """None until it has ended, and where a signal ended it."""
    signal: int | None = None
    """The signal that ended it."""
    user_s: float | None = None
    system_s: float | None = None
    max_rss_bytes: int | None = None
