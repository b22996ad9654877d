"""News from one writer to any number of readers, none of whom can slow the writer down.

The daemon's `Hub` belongs to `app`; rooms publish, `api` subscribes for `/v1/events`.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

QUEUE_EVENTS = 1024
"""How many events wait for a slow reader before its oldest are dropped; about 300 KiB."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened: `kind` is a dotted name (`run.finished`), `fields` are JSON values."""

    kind: str
    fields: dict[str, Any] = field(default_factory=dict)
    time: datetime = field(default_factory=lambda: datetime.now(UTC))


class Hub:
    """Publishes events to the subscribers of the moment; keeps nothing for later ones."""

    def __init__(self) -> None:
        self._queues: set[asyncio.Queue[Event]] = set()

    def publish(self, kind: str, **fields: Any) -> None:
        """Tell every subscriber; where one's queue is full its oldest event goes and a `dropped` one says so."""
        if not self._queues:
            return
        event = Event(kind, fields)
        for queue in self._queues:
            if queue.full():
                while queue.qsize() > QUEUE_EVENTS // 2:
                    queue.get_nowait()
                queue.put_nowait(Event("dropped", {"reason": "reader too slow"}))
            queue.put_nowait(event)

    @asynccontextmanager
    async def subscribe(self) -> AsyncIterator[asyncio.Queue[Event]]:
        """A queue of what is published from now on; forgotten when the block ends."""
        queue: asyncio.Queue[Event] = asyncio.Queue(QUEUE_EVENTS)
        self._queues.add(queue)
        try:
            yield queue
        finally:
            self._queues.discard(queue)
