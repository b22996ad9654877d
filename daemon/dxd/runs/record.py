"""A run in the table of runs, from its lease to its end; `Runs` owns it."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from dxd.runs.model import Run, RunId, RunState
from dxd.warm.container import Warm
from dxd.warm.link import Ended


def _nothing() -> None:
    """Of a run that needs no services."""


@dataclass(slots=True, eq=False)
class Record:
    """A run; only `Runs` writes to it."""

    id: int
    tool: str
    command: str
    warm: Warm
    client_pid: int
    created_at: datetime
    expires: float
    state: RunState = RunState.LEASED
    began: float | None = None
    ended: Ended | None = None
    release: Callable[[], None] = _nothing
    """Lets the services sleep again that it needed."""

    def view(self) -> Run:
        """The run as a value."""
        started_at = None
        if self.began is not None:
            started_at = datetime.now(UTC) - timedelta(seconds=time.monotonic() - self.began)
        view = Run(
            id=RunId(self.id),
            tool=self.tool,
            command=self.command,
            container=self.warm.id,
            client_pid=self.client_pid,
            state=self.state,
            created_at=self.created_at,
            started_at=started_at,
        )
        ended = self.ended
        if ended is None:
            return view
        view = replace(view, duration_s=ended.duration_s, exit_code=ended.exit_code, signal=ended.signal)
        if not ended.started:
            return view
        return replace(view, user_s=ended.user_s, system_s=ended.system_s, max_rss_bytes=ended.max_rss_bytes)
