"""What is known of one tool's builds at the moment."""

import asyncio
from dataclasses import dataclass, field

from dxd.images.context import Recipe
from dxd.store.model import BuildId
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
class ToolState:
    """What is known of one tool's builds; only `Rebuilds` writes to it."""

    tool: Tool
    stale: bool = True
    """Its files may be others than those that were looked at."""
    recipe: Recipe | None = None
    """What is watched: that of the last look at its files."""
    failure: Failure | None = None
    remembered: bool = False
    """The failure of a daemon before this one, where there was one, is known."""
    building: str | None = None
    """The digest of the build that goes on."""
    replaced: asyncio.Event = field(default_factory=asyncio.Event)
    following: bool = False
    logged: str = ""
    """Why it could not follow, as the log has it."""
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    bases: tuple[str, ...] = ()
    told: set[int] = field(default_factory=set)
    """Terminals in which the failure was shown."""

    def fails(self, failure: Failure) -> None:
        """It does, perhaps as it did before."""
        if failure != self.failure:
            self.failure, self.told = failure, set()
