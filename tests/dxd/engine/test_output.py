"""What a container prints, as an engine sends it, and from the real one."""

import asyncio
from pathlib import Path

import pytest

from dxd.engine import output
from dxd.engine.answer import Answer
from dxd.engine.model import ContainerId
from dxd.engine.output import DATA, frame
from dxd.errors import EngineDown, EngineError, NotFound
from tests.fakes.proxy import Proxy
from tests.fakes.real_engine import EngineMaker, Workshop
from tests.waiting import until_turned

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: x\r\nTransfer-Encoding: chunked\r\n\r\n"
STAMP = b"2026-11-24T10:00:00.123456789Z"
LATER = b"2026-11-24T10:00:01.000000000Z"
ONE, TWO = frame(1, STAMP + b" one\n"), frame(2, LATER + b" two " + STAMP + b" \xff\n")


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


async def told(tmp_path: Path, answer: bytes, *, step: int = 65536, tty: bool = False) -> list[bytes]:
    """The entries of an engine that answers so, in pieces."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for at in range(0, len(answer), step):
            writer.write(answer[at : at + step])
            await writer.drain()
            await asyncio.sleep(0)
        writer.close()

    path = str(tmp_path / "s")
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(20), await asyncio.start_unix_server(serve, path):
        opened = await output.begin(
            lambda make: asyncio.ensure_future(loop.create_unix_connection(make, path)), "/logs", tty=tty
        )
        try:
            entries: list[bytes] = []
            while more := await opened.read():
                entries += more
            return entries
        finally:
            opened.close()


@pytest.mark.parametrize("step", [1, 7, 65536])
async def test_frames_come_through_however_they_are_cut(tmp_path: Path, step: int) -> None:
    """By the network; and by a proxy, which may make other chunks of them."""
    end = chunk(b"")
    assert await told(tmp_path, HEAD + chunk(ONE) + chunk(TWO) + end, step=step) == [ONE, TWO]
    assert await told(tmp_path, HEAD + chunk(ONE + TWO[:5]) + chunk(TWO[5:] + ONE) + end, step=step) == [ONE, TWO, ONE]


@pytest.mark.parametrize("step", [1, 65536])
async def test_with_a_terminal_a_chunk_is_an_entry(tmp_path: Path, step: int) -> None:
    """Whatever is in it, also what looks like a timestamp."""
    first, second = STAMP + b" at " + LATER + b" in a line", LATER + b" \r\n"
    answer = HEAD + chunk(first) + chunk(second) + chunk(b"")
    assert await told(tmp_path, answer, step=step, tty=True) == [frame(1, first), frame(1, second)]


@pytest.mark.parametrize(
    ("stamp", "expected"),
    [
        (b"2026-11-24T10:00:00Z", b"2026-11-24T10:00:00.000000000Z"),
        (b"2026-11-24T10:00:00.5Z", b"2026-11-24T10:00:00.500000000Z"),
        (b"2026-11-24T11:00:00.123456789+01:00", STAMP),
        (b"2026-11-23T23:30:00.000000001-10:30", b"2026-11-24T10:00:00.000000001Z"),
    ],
)
def test_timestamps_have_one_shape(stamp: bytes, expected: bytes) -> None:
    assert frame(1, stamp + b" data")[8:] == expected + b" data"


async def test_what_nobody_reads_stays_with_the_engine(tmp_path: Path) -> None:
    """A bounded part of it is taken up; when it is read, all of it is there."""
    line = chunk(frame(1, STAMP + b" " + b"x" * 1000 + b"\n"))
    sent = [0]

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(HEAD)
        while sent[0] < 20_000:
            sent[0] += 1
            writer.write(line)
            await writer.drain()
        writer.write(chunk(b""))
        writer.close()

    path = str(tmp_path / "s")
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(60), await asyncio.start_unix_server(serve, path):
        opened = await output.begin(
            lambda make: asyncio.ensure_future(loop.create_unix_connection(make, path)), "/logs", tty=False
        )
        await until_turned(lambda: opened._arrivals._held)
        assert len(opened._arrivals._buffer) < 2 * output.BUFFER_BYTES
        assert sent[0] < 5_000
        count = 0
        while more := await opened.read():
            count += len(more)
        assert count == 20_000
        opened.close()


async def test_a_connection_that_is_cut_is_no_end(tmp_path: Path) -> None:
    for answer in (HEAD, HEAD + chunk(ONE), HEAD + chunk(ONE) + chunk(TWO)[:-3], b"HTTP/1.1 200 OK\r\nTrans"):
        with pytest.raises(EngineDown):
            await told(tmp_path, answer)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        HEAD + b"nonsense\r\n" * 10,
        HEAD + b"x" * 100,
        HEAD + b"fffffffff\r\n",
        HEAD + chunk(b"\x09\x00\x00\x00\x00\x00\x00\x01x"),
        HEAD + chunk(b"\x01\x00\x00\x00\xff\x00\x00\x01x"),
        HEAD + chunk(b"\x01\x00\x00\x00\x00\x00\x00\x0bno time \n\n\n"),
        b"x" * 2_000_000,
    ],
)
async def test_what_is_no_output(tmp_path: Path, answer: bytes) -> None:
    with pytest.raises((EngineError, EngineDown)):
        await told(tmp_path, answer)


@pytest.mark.parametrize("tty", [False, True])
async def test_an_engine_that_cannot_read_its_file_says_so(tmp_path: Path, tty: bool) -> None:
    said = b"Error grabbing logs: invalid character 'x'\n"
    data = said if tty else b"\x03\x00\x00\x00" + len(said).to_bytes(4, "big") + said
    with pytest.raises(EngineError, match="invalid character"):
        await told(tmp_path, HEAD + chunk(data) + chunk(b""), tty=tty)


async def test_a_refusal(tmp_path: Path) -> None:
    with pytest.raises(Answer) as refused:
        await told(tmp_path, b'HTTP/1.1 404 Not Found\r\n\r\n{"message":"No such container: x"}\n')
    assert (refused.value.status, refused.value.reason) == (404, "No such container: x")


async def test_a_container_that_is_gone(workshop: Workshop) -> None:
    gone = ContainerId("0" * 64)
    assert await workshop.engine.printing(gone) is None
    with pytest.raises(NotFound):
        async with workshop.engine.output(gone, since_ns=0, follow=True, tty=False):
            pass


async def test_what_the_engine_has(workshop: Workshop) -> None:
    """Both streams, byte for byte, from a moment on; and how it keeps it."""
    image = await workshop.image()
    script = r"printf 'one\n'; printf 'two\000\n' >&2; head -c 20000 /dev/zero"
    container = await workshop.engine.create(workshop.spec(image, "/bin/busybox", "sh", "-c", script))
    await workshop.engine.start(container)
    # Engine 20.10 may end what is followed before the last entries.
    await workshop.docker.containers.container(container).wait()
    entries: list[bytes] = []
    async with workshop.engine.output(container, since_ns=0, follow=False, tty=False) as opened:
        while more := await opened.read():
            entries += more
    by_stream = {stream: b"".join(each[DATA:] for each in entries if each[0] == stream) for stream in (1, 2)}
    assert by_stream == {1: b"one\n" + bytes(20000), 2: b"two\x00\n"}
    printing = await workshop.engine.printing(container)
    assert printing is not None
    assert (printing.running, printing.tty, printing.driver, printing.kept_bytes) == (
        False,
        False,
        "json-file",
        1 << 20,
    )


async def test_an_engine_that_goes_away(workshop: Workshop, proxy: Proxy, make_engine: EngineMaker) -> None:
    image = await workshop.image()
    engine = make_engine(proxy.address)
    container = await engine.create(workshop.spec(image))
    await engine.start(container)
    async with engine.output(container, since_ns=0, follow=True, tty=False) as opened:
        await proxy.stop()
        with pytest.raises(EngineDown):
            await opened.read()
