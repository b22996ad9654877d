"""The engine's events, for as long as the daemon lives: a loop of our own, because aiodocker's does not come back.

A stream that is cut is opened again, and one that is not is opened again every `LIFE_S` seconds too: what was missed
on the way, and a stream that only looks alive, are found then. The engine replays what happened since the last event.
"""

import asyncio
import json
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any

from dxd.engine.answer import Records
from dxd.engine.docker import Engine
from dxd.engine.model import EngineEvent
from dxd.errors import EngineDown, EngineError, EngineTrouble

LIFE_S = 45.0
"""Of one stream; a lost event is made up for within this time."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 5.0
REMEMBERED = 1024
"""Events that are known again when they are replayed; the engine itself keeps 256."""
KINDS = ("image", "container", "network")
"""Of what is told."""


async def follow(
    engine: Engine,
    on_event: Callable[[EngineEvent], None],
    on_gap: Callable[[], Awaitable[None]],
    on_lost: Callable[[EngineTrouble], None] = lambda _: None,
    *,
    life_s: float = LIFE_S,
) -> None:
    """Tell what happens to images, containers and networks; runs until it is cancelled.

    `on_gap` is awaited each time that the stream has been opened, before the events that follow: drop caches, list,
    reconcile. Where it raises `EngineTrouble` that counts as a lost stream. `on_lost` is told once per loss. An event
    is told once, but one may be told that a list already showed.
    """
    replay = _Replay()
    pause_s, lost = FIRST_PAUSE_S, False
    while True:
        try:
            async with engine.reach.stream("GET", "events", replay.params(), silence_s=2 * life_s) as records:
                await on_gap()
                pause_s, lost = FIRST_PAUSE_S, False
                with suppress(TimeoutError):
                    async with asyncio.timeout(life_s):
                        await _tell(records, replay, on_event)
        except EngineTrouble as error:
            if isinstance(error, EngineError):
                replay = _Replay()  # what could not be read must not come again
            if not lost:
                lost = True
                on_lost(error)
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)


async def _tell(records: Records, replay: "_Replay", on_event: Callable[[EngineEvent], None]) -> None:
    async for record in records:
        if record.get("Type") in KINDS:
            event = _event(record)
            if replay.is_news(event):
                on_event(event)
    raise EngineDown("the engine ended its stream of events")


class _Replay:
    """From when on the engine has to tell events, and which of them were told."""

    def __init__(self) -> None:
        # Not from the moment of subscribing on: the engine answers before it has subscribed us.
        self._since_ns = time.time_ns()
        self._told: OrderedDict[tuple[int, str, str, str], None] = OrderedDict()

    def params(self) -> dict[str, str]:
        seconds, nanoseconds = divmod(self._since_ns, 10**9)
        filters = json.dumps({"type": KINDS})
        return {"since": f"{seconds}.{nanoseconds:09}", "filters": filters}

    def is_news(self, event: EngineEvent) -> bool:
        key = (event.time_ns, event.kind, event.action, event.id)
        if key in self._told:
            return False
        self._told[key] = None
        if len(self._told) > REMEMBERED:
            self._told.popitem(last=False)
        self._since_ns = event.time_ns  # not the latest of all: the engine's clock may have been set back
        return True


def _event(record: Mapping[str, Any]) -> EngineEvent:
    try:
        actor = record["Actor"]
        return EngineEvent(
            kind=record["Type"],
            action=str(record["Action"]),
            id=str(actor["ID"]),
            attributes={str(key): str(value) for key, value in (actor.get("Attributes") or {}).items()},
            time_ns=int(record["timeNano"]),
        )
    except (LookupError, TypeError, ValueError, AttributeError):
        raise EngineError("the engine sends an event that cannot be read") from None
