"""Places and doors, as the daemon knows them: frozen values."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Place:
    """Where something listens, or shall."""

    host: str
    """A number: 127.0.0.1, 0.0.0.0, ::1."""
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


Wake = Callable[[], Awaitable[Place]]
"""Returns where the service listens, once it is ready; raises `DxError` where it does not come up.

Called when a connection waits, never twice at the same time for one door, and again when nobody answered there; so it
has to be cheap for a service that runs.
"""


@dataclass(frozen=True, slots=True)
class Door:
    """A port of this machine, or a name, that wakes a service."""

    key: str
    service: str
    at: Place | None
    """None for a name."""
    wake: Wake
    deadline_s: float
    max_held: int
    names: bool = False
    """It leads to the names, by the Host of a request."""
