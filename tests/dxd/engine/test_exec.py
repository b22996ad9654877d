"""A program in a container as a connection, against a server of the test's that says what engines say."""

import asyncio
import struct
from pathlib import Path

import pytest

from dxd.engine import exec as execs
from dxd.engine.answer import Answer

YES = b"HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.raw-stream\r\n\r\n"


class Inner(asyncio.Protocol):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.got = b""
        self.lost = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.got += data

    def connection_lost(self, _exc: Exception | None) -> None:
        self.lost.set()


def piece(kind: int, data: bytes) -> bytes:
    return struct.pack(">BxxxI", kind, len(data)) + data


async def begun(tmp_path: Path, answer: bytes, step: int = 65536) -> tuple[Inner, bytes]:
    """What the program was told by an engine that answers so, in pieces, and what the engine was asked."""
    asked = b""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        asked = await reader.readuntil(b"}")
        for at in range(0, len(answer), step):
            writer.write(answer[at : at + step])
            await writer.drain()
            await asyncio.sleep(0)
        writer.close()

    path = str(tmp_path / "s")
    inner = Inner()
    async with asyncio.timeout(20):
        server = await asyncio.start_unix_server(serve, path)
        loop = asyncio.get_running_loop()
        try:
            await execs.begin(
                lambda make: asyncio.ensure_future(loop.create_unix_connection(make, path)), "/exec/1/start", inner
            )
            await inner.lost.wait()
        finally:
            server.close()
            await server.wait_closed()
    return inner, asked


@pytest.mark.parametrize("step", [1, 3, 8, 65536])
async def test_stdout_comes_through_however_it_is_cut(tmp_path: Path, step: int) -> None:
    """And stderr does not."""
    said = piece(1, b"one") + piece(2, b"aside") + piece(1, b"") + piece(1, b"two")
    inner, asked = await begun(tmp_path, YES + said, step)
    assert inner.got == b"onetwo"
    assert asked.startswith(b"POST /exec/1/start HTTP/1.1\r\n")


async def test_a_refusal(tmp_path: Path) -> None:
    with pytest.raises(Answer) as refused:
        await begun(tmp_path, b"HTTP/1.1 409 Conflict\r\nContent-Length: 7\r\n\r\nstopped")
    assert refused.value.status == 409


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 101 UPGR", b"x" * 100000], ids=["nothing", "half", "no end"])
async def test_an_answer_that_is_none(tmp_path: Path, answer: bytes) -> None:
    with pytest.raises(ConnectionError):
        await begun(tmp_path, answer)


async def test_a_program_that_could_not_begin(tmp_path: Path) -> None:
    """The engine says so in plain text, which is the end."""
    inner, _ = await begun(tmp_path, YES + b"OCI runtime exec failed: no such file\r\n")
    assert inner.got == b""
