"""Who may come in, and how long anybody may keep the daemon waiting."""

import asyncio
import os
import resource
import socket
import subprocess
import sys
import time
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from dx import protocol
from dxd.api.door import Limits
from dxd.lifecycle.listener import bind
from tests.dxd.api.client import DEADLINE_S, call, exchange, parse
from tests.dxd.api.conftest import QUICK, Edge
from tests.waiting import until_turned

SERVER = Path(__file__).with_name("server.py")

TYPE = b" HTTP/1.1\r\nHost: dx\r\nContent-Type: %s\r\n"

quick = pytest.mark.parametrize("limits", [QUICK])

ASK = """
import os, socket, sys
if len(sys.argv) > 1:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
with socket.socket(socket.AF_UNIX) as client:
    client.connect("s")
    data = b""
    try:
        client.sendall(b"POST /v1/daemon/stop HTTP/1.0\\r\\n\\r\\n")
    except BrokenPipeError:  # it was turned away before it could ask
        pass
    try:
        while more := client.recv(65536):
            data += more
    except ConnectionResetError:
        pass
sys.stdout.buffer.write(data)
"""


async def ended(reader: asyncio.StreamReader) -> bool:
    """Wait until the server has closed the connection without a word."""
    async with asyncio.timeout(DEADLINE_S):
        try:
            return await reader.read() == b""
        except ConnectionResetError:
            return True


class TestPeers:
    """Only the user's own processes are served."""

    async def test_another_uid_is_turned_away(self, edge: Edge) -> None:
        """Even where somebody has opened the socket to all: 403, and nothing is done.

        As root another user asks; otherwise the door takes us for another.
        """
        asked = [sys.executable, "-c", ASK]
        if os.getuid() == 0:
            edge.socket.chmod(0o666)
            edge.socket.parent.chmod(0o755)
            asked.append("as somebody else")
        else:
            assert edge.front._door is not None
            edge.front._door._uid += 1
        process = await asyncio.create_subprocess_exec(*asked, stdout=subprocess.PIPE, cwd=edge.socket.parent)
        said, _ = await process.communicate()
        answer = parse(said)
        assert (answer.status, answer.code) == (403, "forbidden")
        assert answer.headers["dx-version"] == "1.2.3"
        assert edge.rooms.stops == []

    async def test_the_user_is_served_beside_that(self, edge: Edge) -> None:
        assert (await edge.call("POST", "/v1/daemon/stop")).status == 202
        assert edge.rooms.stops == ["asked over the API"]


class TestSlowClients:
    """Connections that keep the daemon waiting are cut."""

    @quick
    @pytest.mark.parametrize(
        "beginning",
        [
            b"",
            b"G",
            b"GET /v1/status HTTP/1.1\r\nHost: dx\r\n",
            b"POST /v1/runs" + TYPE % protocol.MEDIA_TYPE.encode() + b"Content-Length: 9\r\n\r\n1",
            b"POST /v1/runs" + TYPE % b"application/json" + b"Transfer-Encoding: chunked\r\n\r\n5\r\n{",
            b"PUT /v1/tools/x" + TYPE % b"application/json" + b"Content-Length: 100\r\n\r\n{",
        ],
    )
    async def test_half_a_request_is_cut(self, edge: Edge, beginning: bytes) -> None:
        """A half-sent body gets an answer first."""
        began = time.monotonic()
        async with asyncio.timeout(DEADLINE_S):
            reader, writer = await asyncio.open_unix_connection(str(edge.socket))
            writer.write(beginning)
            if b"\r\n\r\n" in beginning:
                assert parse(await reader.read()).status == 408
            else:
                assert await ended(reader)
            writer.close()
        assert time.monotonic() - began < 5

    @quick
    async def test_a_head_that_drips_is_cut(self, edge: Edge) -> None:
        """Each byte does not start its time anew, neither on a new connection nor on one that was answered before."""
        for before in (b"", b"GET /v1/status HTTP/1.1\r\nHost: dx\r\n\r\n"):
            async with asyncio.timeout(DEADLINE_S):
                reader, writer = await asyncio.open_unix_connection(str(edge.socket))
                if before:
                    writer.write(before)
                    await reader.readuntil(b"}\n")
                writer.write(b"GET /v1/status HTTP/1.1\r\nHost: dx\r\nX: ")
                began = time.monotonic()
                while not reader.at_eof() and not writer.transport.is_closing():
                    writer.write(b"x")
                    await asyncio.wait([asyncio.create_task(reader.read(1))], timeout=0.02)
                    assert time.monotonic() - began < 10
                writer.close()

    @quick
    async def test_an_idle_connection_is_kept_for_its_time(self, edge: Edge) -> None:
        """And used for several requests meanwhile."""
        request = b"GET /v1/status HTTP/1.1\r\nHost: dx\r\n\r\n"
        async with asyncio.timeout(DEADLINE_S):
            reader, writer = await asyncio.open_unix_connection(str(edge.socket))
            for _ in range(3):
                writer.write(request)
                assert (await reader.readuntil(b"}\n")).startswith(b"HTTP/1.1 200")
            began = time.monotonic()
            assert await reader.read() == b""
            writer.close()
        assert QUICK.keep_alive_s * 0.9 < time.monotonic() - began < 10

    @quick
    async def test_a_client_that_does_not_read_is_cut(self, edge: Edge) -> None:
        """However much there is to tell it."""
        edge.rooms.runs = edge.rooms.runs * 20_000
        with socket.socket(socket.AF_UNIX) as client:
            client.setblocking(False)
            await asyncio.get_running_loop().sock_connect(client, str(edge.socket))
            await asyncio.get_running_loop().sock_sendall(client, b"GET /v1/runs HTTP/1.1\r\nHost: dx\r\n\r\n")
            assert edge.front._door is not None
            waiting = edge.front._door.waiting
            await until_turned(lambda: len(waiting) > 0)
            await until_turned(lambda: not waiting)

    @pytest.mark.parametrize("limits", [Limits(waiting=50, settle_s=0.05)])
    async def test_of_too_many_idle_connections_the_oldest_go(self, edge: Edge) -> None:
        """Whoever comes later is served all the same."""
        async with AsyncExitStack() as stack:
            readers = []
            for number in range(60):
                reader, writer = await asyncio.open_unix_connection(str(edge.socket))
                stack.callback(writer.close)
                writer.write(b"GET /v1/status HTTP/1.1\r\nHost: dx\r\n\r\n"[: 25 if number % 2 else 0])
                readers.append(reader)
                await asyncio.sleep(0.002)
            assert (await edge.call("GET", "/v1/status")).status == 200
            assert edge.front._door is not None
            assert len(edge.front._door.waiting) <= 51
            assert await ended(readers[0])
            assert not readers[-1].at_eof()

    async def test_a_thousand_idle_connections_cost_a_request_little(self, edge: Edge) -> None:
        """A burst is no attack: none of them is cut in its first second."""
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(before[0], min(4096, before[1])), before[1]))
        async with AsyncExitStack() as stack:
            stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, before)
            for _ in range(1000):
                _, writer = await asyncio.open_unix_connection(str(edge.socket))
                stack.callback(writer.close)
            began = time.monotonic()
            assert (await edge.call("GET", "/v1/status")).status == 200
            assert time.monotonic() - began < 0.5


class TestNoDescriptors:
    """Nothing is left to accept with."""

    async def test_accepting_pauses_and_goes_on(self, tmp_path: Path) -> None:
        """Idle clients give way, the others wait in the socket's queue, and all of it costs hardly any time."""
        command = ["sh", "-c", 'ulimit -n 40; exec "$0" "$@"', sys.executable, str(SERVER), str(tmp_path)]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as server:
            assert server.stdout is not None
            assert server.stderr is not None
            assert server.stdout.readline() == b"ready\n"
            flood = [socket.socket(socket.AF_UNIX) for _ in range(100)]
            for each in flood:
                each.connect(str(tmp_path / "s"))
            assert (await call(tmp_path / "s", "GET", "/v1/status")).status == 200
            for each in flood:
                each.close()
            assert (await call(tmp_path / "s", "GET", "/v1/status")).status == 200
            server.kill()
            _, _, usage = os.wait4(server.pid, 0)
            server.returncode = -9
            assert server.stderr.read().count(b"no connection can be accepted") == 1
        assert usage.ru_utime + usage.ru_stime < 3


class TestGarbage:
    """What is no HTTP, or too much of it."""

    @pytest.mark.parametrize(
        "data",
        [
            b"\0" * 100 + b"\r\n\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n",
            b"HELO\r\n\r\n",
            b"BREW /v1/shims HTTP/1.0\r\n\r\n",
            b"GET\r\n\r\n",
            b"GET / HTTP/9.9\r\n\r\n",
            b"GET http://[ HTTP/1.1\r\nHost: dx\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: dx\r\nno colon\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: dx\r\nX: \0\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: dx\r\nContent-Length: -1\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: dx\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            b"POST /v1/runs HTTP/1.1\r\nHost: dx\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\nHost: dx\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: dx\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: dx\r\n" + b"".join(b"X-%d: y\r\n" % number for number in range(2000)) + b"\r\n",
        ],
    )
    async def test_it_is_refused_in_our_shape(self, edge: Edge, data: bytes) -> None:
        """And the connection closed, the server unharmed."""
        answer = parse(await exchange(edge.socket, data))
        assert (answer.status, answer.code) == (400, "bad-request")
        assert answer.headers["dx-version"] == "1.2.3"
        assert (await edge.call("GET", "/v1/status")).status == 200

    async def test_a_chunk_without_a_size_is_refused(self, edge: Edge) -> None:
        data = b"POST /v1/runs" + TYPE % b"application/json" + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n"
        async with asyncio.timeout(DEADLINE_S):
            reader, writer = await asyncio.open_unix_connection(str(edge.socket))
            writer.write(data)
            said = await reader.readuntil(b"}}")
            writer.close()
        assert parse(said).code == "bad-request"

    async def test_pipelined_requests_are_answered_in_order(self, edge: Edge) -> None:
        first = b"GET /v1/status HTTP/1.1\r\nHost: dx\r\n\r\nGET /nothing HTTP/1.1\r\nHost: dx\r\n\r\n"
        said = await exchange(edge.socket, first + b"GET /v1/tools HTTP/1.0\r\n\r\n")
        assert [part[:12] for part in said.split(b"HTTP/1.1 ")[1:]] == [b"200 OK\r\nCont", b"404 Not Foun"]
        assert b'{"tools":[]}' in said


async def test_the_socket_can_be_exchanged_while_it_serves(edge: Edge) -> None:
    """As when its file was removed: new clients come over the new one, those that are there stay."""
    other = edge.socket.with_name("t")
    async with asyncio.timeout(DEADLINE_S):
        reader, writer = await asyncio.open_unix_connection(str(edge.socket))
        writer.write(b"GET /v1/status HTTP/1.1\r\nHost: dx\r\n\r\n")
        await reader.readuntil(b"}\n")
        with bind(other) as sock:
            await edge.front.listen(sock)
            assert (await call(other, "GET", "/v1/status")).status == 200
            writer.write(b"GET /v1/status HTTP/1.1\r\nHost: dx\r\n\r\n")
            await reader.readuntil(b"}\n")
            edge.front.stop_listening()
        writer.close()
