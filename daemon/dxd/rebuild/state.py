"""What is known of one tool's builds at the moment.

`States` makes a state and ends it. Three write to it, each its own part: `Updater` what comes of the work, while it has
the state's turn (the failure, what holds it, the build that goes on, when to try again); `Rebuilds` what it is told,
and what it has begun; `Inputs` what a look saw, which is `Seen`. Nothing here waits or fails.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

from dxd.engine.model import Image, ImageId
from dxd.images.context import Recipe
from dxd.images.shared import Shared
from dxd.rebuild.policy import pause_s
from dxd.store.model import BuildId
from dxd.tools.lock import Locked
from dxd.tools.model import Tool


@dataclass(frozen=True, slots=True)
class Failure:
    """Why the newest build does not serve."""

    digest: str
    """Of the build that failed; empty where its files could not even be looked at."""
    line: str

    @classmethod
    def of(cls, tool: str, digest: str, build: BuildId, error: str) -> "Failure":
        """That of a build, for people."""
        usual = f"building {tool} failed"
        how = error.removeprefix(usual) if error.startswith(usual) else f": {error}"
        return cls(digest, f"{tool}: its new build failed{how} (dx builds log {build})")


@dataclass(slots=True, eq=False)
class Seen:
    """What the last look at a tool's files saw; only `Inputs` writes to it."""

    recipe: Recipe | None = None
    """What is watched."""
    bases: tuple[str, ...] = ()
    """The images that it is built on, as its Dockerfile names them."""
    locked: Locked | None = None
    """What the lock said of it."""
    built_on: Mapping[str, ImageId] = field(default_factory=dict)
    """What its bases were, by name."""
    news: int = 0
    """How many news of images there had been."""


@dataclass(slots=True, eq=False)
class ToolState:
    """What is known of one tool's builds."""

    tool: Tool
    work: Shared[Image] = field(default_factory=Shared)
    """Bringing it up to date. Another definition has another state, so nobody joins the work for the one before."""
    over: bool = False
    """The tool is defined otherwise by now, or not at all: nothing of this is promoted any more."""
    stale: bool = True
    """Its files may be others than those that were looked at."""
    changes: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when it is told of changes since they were looked at."""
    seen: Seen = field(default_factory=Seen)
    failure: Failure | None = None
    remembered: bool = False
    """The failure of a daemon before this one, where there was one, is known."""
    held: bool = False
    """It is pinned to another build than its files make."""
    recorded: bool = False
    """History has the build that serves; its daemon may have ended between the two."""
    building: str | None = None
    """The digest of the build that goes on."""
    replaced: asyncio.Event = field(default_factory=asyncio.Event)
    """What goes on is of no use any more, because its files or its definition are others."""
    following: bool = False
    looking: bool = False
    """Whether its files are still those that are being built."""
    again_at: float | None = None
    """When to try again, by the monotonic clock, what failed for a reason that passes without a change of its files."""
    troubles: int = 0
    """How often that was in a row."""
    logged: str = ""
    """Why it could not follow, as the log has it."""
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Who has it brings the tool up to date."""
    told: set[int] = field(default_factory=set)
    """Terminals in which the failure was shown."""

    def end(self) -> None:
        """Have what goes on for it given up: it is not this tool's any more."""
        self.over = True
        self.replaced.set()

    def is_due(self, now: float) -> bool:
        """Whether there is something to be done without being told."""
        return self.stale if self.again_at is None else now >= self.again_at

    def rests(self, begun: float, now: float) -> None:
        """It began then, and failed for a reason that may pass by itself."""
        self.troubles += 1
        self.again_at = now + pause_s(self.troubles, now - begun)

    def rested(self) -> None:
        """It did not fail, or not in that way."""
        self.again_at, self.troubles = None, 0

    def hurry(self) -> None:
        """What it waits for may have come."""
        if self.again_at is not None:
            self.again_at, self.troubles = 0.0, 0

    def fails(self, failure: Failure) -> None:
        """It does, perhaps as it did before."""
        if failure != self.failure:
            self.failure, self.told = failure, set()
