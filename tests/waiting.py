"""Waiting for what another process does: looked at again and again, with a deadline."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
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


async def until_turned(look: Callable[[], object], *, deadline_s: float = 20.0) -> None:
    """Return when `look` answers, or its coroutine does, with something truthy; the loop turns meanwhile.

    `TimeoutError` if that is not in time.
    """
    async with asyncio.timeout(deadline_s):
        while True:
            answer = look()
            if await answer if isinstance(answer, Awaitable) else answer:
                return
            await asyncio.sleep(0.001)
