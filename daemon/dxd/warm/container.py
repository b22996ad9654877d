"""One warm container, as the pool keeps it and as others are shown it, and what is told of its runs."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from dxd.engine.model import ContainerId
from dxd.warm.link import Ended, Link
from dxd.warm.model import ContainerView, Key, State
from dxd.warm.policy import Picture


@dataclass(slots=True, eq=False)
class Warm:
    """One container; only the pool writes to it."""

    name: str
    key: Key
    image: str
    created_at: datetime
    id: ContainerId = ContainerId("")
    state: State = State.STARTING
    socket: Path = Path()
    link: Link | None = None
    agent_pid: int | None = None
    tools: set[str] = field(default_factory=set)
    runs: set[int] = field(default_factory=set)
    idle_since: float = field(default_factory=time.monotonic)
    ready: "asyncio.Task[None] | None" = None
    """Its start, or the search for its agent where the link broke; done when runs can be sent to it, or it is gone."""
    claimed: bool = False
    """It takes one run only, and has been given to that one."""
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the engine has removed it, and its ports are free."""

    def view(self) -> ContainerView:
        """As the API shows it."""
        return ContainerView(
            id=self.id,
            image=self.image,
            image_id=self.key.image,
            tools=tuple(sorted(self.tools)),
            network=self.key.network,
            state=self.state.value,
            runs=len(self.runs),
            idle_s=0.0 if self.runs else time.monotonic() - self.idle_since,
            created_at=self.created_at,
            agent_pid=self.agent_pid,
        )

    def picture(self) -> Picture:
        """As the policy sees it, which knows it by its name."""
        idle_s = time.monotonic() - self.idle_since
        return Picture(ContainerId(self.name), self.state, len(self.runs), idle_s, bool(self.key.ports))


@dataclass(frozen=True, slots=True)
class Watcher:
    """What the pool tells of runs."""

    started: Callable[[Warm, int, float], None]
    """A run began; the last is on `time.monotonic()`'s clock."""
    ended: Callable[[Warm, Ended], None]
    lost: Callable[[Warm, int], None]
    """The run's container is gone, or does not know it."""
