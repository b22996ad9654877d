"""The relay between a launcher's connection and a program in a container, for which a socket of the test's stands."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from dxd.runs.model import RunId, RunState
from tests.dxd.api.conftest import Edge
from tests.dxd.api.rooms import RUN
from tests.waiting import until_turned

DEADLINE_S = 20.0
UPGRADE = b"GET /v1/runs/9/link HTTP/1.1\r\nHost: dx\r\nConnection: Upgrade\r\nUpgrade: dx-run\r\n\r\n"


class Program:
    """What stands for a program in a container."""

    def __init__(self) -> None:
        self.streams: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    def begin(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.streams.append((reader, writer))


@pytest.fixture
async def program(edge: Edge, tmp_path: Path) -> AsyncIterator[Program]:
    """One that waits, for a run that is leased."""
    program = Program()
    edge.rooms.agent = str(tmp_path / "p")
    edge.rooms.runs.append(replace(RUN, id=RunId(9), state=RunState.LEASED))
    server = await asyncio.start_unix_server(program.begin, edge.rooms.agent)
    yield program
    for _, writer in program.streams:
        writer.close()
    server.close()
    await server.wait_closed()


async def upgraded(edge: Edge) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A launcher's end."""
    reader, writer = await asyncio.open_unix_connection(str(edge.socket))
    writer.write(UPGRADE)
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101 ")
    assert b"upgrade: dx-run\r\n" in head.lower()
    return reader, writer


async def test_bytes_pass_both_ways(edge: Edge, program: Program) -> None:
    async with asyncio.timeout(DEADLINE_S):
        reader, writer = await upgraded(edge)
        inner, outer = program.streams[0]
        writer.write(b"there")
        assert await inner.readexactly(5) == b"there"
        outer.write(b"and back")
        assert await reader.readexactly(8) == b"and back"
        writer.close()


async def test_a_side_that_does_not_read_holds_up_the_other(edge: Edge, program: Program) -> None:
    """Little is gathered in between, and all of it arrives."""
    size = 20_000_000
    async with asyncio.timeout(DEADLINE_S):
        reader, writer = await upgraded(edge)
        inner, _ = program.streams[0]
        writer.write(bytes(size))
        drained = asyncio.ensure_future(writer.drain())
        done, _ = await asyncio.wait({drained}, timeout=0.3)
        assert not done
        assert len(await inner.readexactly(size)) == size
        await drained
        writer.close()
        assert await reader.read() == b""


async def test_the_end_of_the_launcher_is_the_programs(edge: Edge, program: Program) -> None:
    async with asyncio.timeout(DEADLINE_S):
        _, writer = await upgraded(edge)
        inner, _ = program.streams[0]
        writer.write(b"last words")
        writer.close()
        assert await inner.read() == b"last words"


async def test_the_end_of_the_program_is_the_launchers(edge: Edge, program: Program) -> None:
    """After what it has said."""
    async with asyncio.timeout(DEADLINE_S):
        reader, writer = await upgraded(edge)
        outer = program.streams[0][1]
        outer.write(b"last words" * 100000)
        outer.close()
        assert await reader.read() == b"last words" * 100000
        writer.close()


async def test_a_stop_ends_both(edge: Edge, program: Program) -> None:
    async with asyncio.timeout(DEADLINE_S):
        reader, writer = await upgraded(edge)
        await edge.front.close()
        assert await reader.read() == b""
        assert await program.streams[0][0].read() == b""
        writer.close()


async def test_refusals(edge: Edge, program: Program) -> None:
    """Without an upgrade, for a run that is none, and for one that has begun already."""
    assert (await edge.call("GET", "/v1/runs/9/link")).code == "bad-request"
    upgrade = {"Upgrade": "dx-run", "Connection": "Upgrade"}
    assert (await edge.call("GET", "/v1/runs/1/link", **upgrade)).code == "not-found"
    assert (await edge.call("GET", f"/v1/runs/{RUN.id}/link", **upgrade)).code == "conflict"
    await until_turned(lambda: not program.streams)
