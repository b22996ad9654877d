"""The daemon's end of a control link, with the test as the agent at the other."""

import asyncio
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from dx import protocol
from dx.protocol import frame
from dxd.warm.link import Ended, Link, Listener
from tests.waiting import until_turned

READY = frame(protocol.READY, protocol.READY_BODY.pack(protocol.WIRE_VERSION, 0, 0))
SYNCED = frame(protocol.SYNCED)


@dataclass
class Agent:
    """The other end, and what the link told its owner."""

    link: Link
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    told: list[object] = field(default_factory=list)

    async def ping(self) -> bytes:
        """The next ping's bytes."""
        length, kind, _, _ = protocol.HEAD.unpack(await self.reader.readexactly(protocol.HEAD.size))
        assert kind == protocol.PING
        return await self.reader.readexactly(length)


@pytest.fixture
async def agent() -> AsyncIterator[Agent]:
    ours, theirs = socket.socketpair()
    told: list[object] = []
    listener = Listener(started=lambda run, _: told.append(run), ended=told.append, lost=lambda: told.append("lost"))
    _, link = await asyncio.get_running_loop().create_unix_connection(lambda: Link(listener), sock=ours)
    reader, writer = await asyncio.open_unix_connection(sock=theirs)
    yield Agent(link, reader, writer, told)
    link.close()
    writer.close()


def exited(run: int) -> bytes:
    body = protocol.RUN_EXITED_BODY.pack(run, 2_000_000_000, 1, 0, 3 << 8, 0, 500_000, 250_000, 64)
    return frame(protocol.RUN_EXITED, body)


async def test_it_is_in_sync_when_the_agent_has_told_what_lives(agent: Agent) -> None:
    """In whatever pieces the bytes come."""
    told = READY + frame(protocol.RUN_STARTED, protocol.RUN_STARTED_BODY.pack(7, 0)) + exited(6) + SYNCED
    for byte in told:
        agent.writer.write(bytes([byte]))
        await agent.writer.drain()
        await asyncio.sleep(0)
    await agent.link.synced
    assert agent.link.live == {7}
    assert agent.told == [7, Ended(6, 2.0, True, 0, 3 << 8, 0.5, 0.25, 65536)]


async def test_an_agent_of_another_version_is_refused(agent: Agent) -> None:
    """With both versions; nothing it says counts."""
    agent.writer.write(frame(protocol.READY, protocol.READY_BODY.pack(protocol.WIRE_VERSION + 1, 0, 0)) + SYNCED)
    with pytest.raises(ConnectionError, match=r"version 2, this daemon 1"):
        await agent.link.synced
    assert await agent.reader.read() == b""


async def test_an_agent_that_breaks_says_why(agent: Agent) -> None:
    """Its own words."""
    agent.writer.write(frame(protocol.BROKEN, b"making /tmp: No space left on device"))
    with pytest.raises(ConnectionError, match="No space left"):
        await agent.link.synced


async def test_each_ping_has_its_own_answer(agent: Agent) -> None:
    """Two at once, answered in one piece and the other way round."""
    both = [asyncio.create_task(agent.link.ping(10)) for _ in range(2)]
    marks = [await agent.ping(), await agent.ping()]
    agent.writer.write(b"".join(frame(protocol.PONG, mark) for mark in reversed(marks)))
    assert await asyncio.gather(*both) == [True, True]


async def test_silence_is_no_answer(agent: Agent) -> None:
    """Nor is the answer to another ping, nor the end."""
    assert not await agent.link.ping(0.01)
    late = await agent.ping()
    waiting = asyncio.create_task(agent.link.ping(10))
    await agent.ping()
    agent.writer.write(frame(protocol.PONG, late))
    agent.writer.close()
    assert not await waiting


@pytest.mark.parametrize(
    "data",
    [
        frame(99),
        SYNCED,
        frame(protocol.RUN_EXITED, b"short"),
        protocol.HEAD.pack(protocol.MAX_RUN_FRAME + 1, protocol.PONG, 0, 0),
    ],
    ids=["of no known type", "out of order", "too short", "too long"],
)
async def test_a_frame_that_may_not_be_ends_the_link(agent: Agent, data: bytes) -> None:
    """The owner is told once."""
    agent.writer.write(data)
    await until_turned(lambda: agent.told)
    assert agent.told == ["lost"]
    with pytest.raises(ConnectionError):
        await agent.link.synced
    with pytest.raises(ConnectionError):
        await agent.link.send(b"x")


async def test_a_frame_is_sent_when_the_kernel_has_it(agent: Agent) -> None:
    """So a lease that a launcher is told of outlives the daemon."""
    sending = asyncio.create_task(agent.link.send(b"x" * (4 << 20)))
    await asyncio.sleep(0)
    assert not sending.done()
    assert len(await agent.reader.readexactly(4 << 20)) == 4 << 20
    await sending
