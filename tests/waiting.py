"""Waiting for what another process does: looked at again and again, with a deadline."""

import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_tick = threading.Event()
"""Never set: what its `wait` waits for is only time."""


def until(look: Callable[[], T], what: str, *, deadline_s: float = 20.0) -> T:
    """The first truthy answer of `look`; an `AssertionError` that says `what` if there is none in time."""
    end = time.monotonic() + deadline_s
    while not (found := look()):
        assert time.monotonic() < end, f"not within {deadline_s:g} s: {what}"
        _tick.wait(0.02)
    return found
