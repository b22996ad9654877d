"""The real edge on a real socket, with stand-ins for the rooms below."""

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from dxd.api.door import Limits
from dxd.lifecycle.listener import bind
from tests.dxd.api.client import Answer, call
from tests.dxd.api.rooms import Made, Rooms, make_app
from tests.waiting import until_turned


@dataclass
class Edge(Made):
    """A server, and everything around it that a test may look at."""

    socket: Path
    rooms: Rooms

    async def call(self, method: str, target: str, body: object = None, **more: Any) -> Answer:
        """One request; every answer names the daemon's version."""
        answer = await call(self.socket, method, target, body, **more)
        assert answer.headers["dx-version"] == "1.2.3"
        return answer


QUICK = Limits(head_s=0.2, keep_alive_s=0.4, body_s=0.2, sweep_s=0.05, settle_s=0.05)
"""For tests of the limits themselves."""


@pytest.fixture
def limits() -> Limits:
    """What a test may override."""
    return Limits()


@pytest.fixture
async def edge(tmp_path: Path, limits: Limits) -> AsyncIterator[Edge]:
    """A server that serves; at its end, nothing may be left of it."""
    rooms = Rooms()
    made = make_app(rooms, tmp_path, limits)
    before = asyncio.all_tasks()
    descriptors = len(os.listdir("/proc/self/fd"))
    with bind(tmp_path / "s") as sock:
        await made.front.listen(sock)
        yield Edge(**vars(made), socket=tmp_path / "s", rooms=rooms)
        await made.front.close()
        await made.database.close()
        await made.logs.close()
    me = asyncio.current_task()
    await until_turned(lambda: asyncio.all_tasks() - {me} <= before)
    await until_turned(lambda: len(os.listdir("/proc/self/fd")) <= descriptors)
