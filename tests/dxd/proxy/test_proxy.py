"""Doors that wake: real sockets, a real proxy process, and what can happen to both."""

import asyncio
import os
import resource
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from dxd.errors import EngineError, PortTaken, Refused
from dxd.proxy import __main__ as program
from dxd.proxy import process, wire
from dxd.proxy.control import Control
from dxd.proxy.loop import Loop
from dxd.proxy.model import Place
from dxd.proxy.proxy import Proxy
from tests.dxd.proxy.conftest import HOST, Client, Service, connect, plain, process_of, running
from tests.waiting import until_turned


def free() -> Place:
    """Where nobody listens at the moment."""
    with socket.create_server((HOST, 0)) as other:
        return Place(HOST, other.getsockname()[1])


async def listen(proxy: Proxy, service: Service, name: str = "db", **more: Any) -> int:
    """A port that wakes the service."""
    place = free()
    await proxy.listen(name, place, service.wake, **more)
    return place.port


async def names(proxy: Proxy) -> int:
    """A port that takes requests for names."""
    place = free()
    await proxy.listen_for_names(place)
    return place.port


async def ask(client: Client, data: bytes = b"") -> bytes:
    """Send all, end, and read to the end."""
    reader, writer = client
    writer.write(data)
    writer.write_eof()
    answer = await asyncio.wait_for(reader.read(-1), 20)
    writer.close()
    return answer


def linger(sock: socket.socket) -> None:
    """Have its close reset the connection."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


async def test_the_first_connection_wakes_and_what_it_sent_meanwhile_is_kept(proxy: Proxy, service: Service) -> None:
    service.ready.clear()
    port = await listen(proxy, service)
    assert service.woken == 0
    asked = asyncio.create_task(ask(await connect(port), b"SELECT 1"))
    await until_turned(lambda: service.woken)
    service.ready.set()
    assert await asked == b"SELECT 1"
    assert await ask(await connect(port), b"again") == b"again"
    assert service.woken == 1


async def test_both_ways_at_once_lose_no_byte(proxy: Proxy, service: Service) -> None:
    port = await listen(proxy, service)
    blobs = [os.urandom(size) for size in (0, 1, 16383, 16384, 16385, 262144, 20_000_001)]

    async def round_trip(blob: bytes) -> bytes:
        reader, writer = await connect(port)

        async def send() -> None:
            writer.write(blob)
            await writer.drain()
            writer.write_eof()

        sending = asyncio.create_task(send())
        answer = await reader.read(-1)
        await sending
        writer.close()
        return answer

    assert await asyncio.gather(*map(round_trip, blobs)) == blobs


async def test_one_side_may_end_long_before_the_other(proxy: Proxy, service: Service) -> None:
    """A server that has closed its side still hears the client, and the other way round."""

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello")
        writer.write_eof()
        heard.append(await reader.read(-1))
        writer.close()

    heard: list[bytes] = []
    service.serve = greet
    reader, writer = await connect(await listen(proxy, service))
    assert await reader.read(-1) == b"hello"
    writer.write(b"and now me")
    writer.write_eof()
    await until_turned(lambda: heard)
    assert heard == [b"and now me"]
    writer.close()


async def test_a_reset_stays_a_reset_in_both_directions(proxy: Proxy, service: Service) -> None:
    """And what was sent before it arrives."""
    errors: list[type[Exception] | None] = []

    async def hear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello")
        try:
            while await reader.read(100):
                pass
            errors.append(None)
        except ConnectionResetError as error:
            errors.append(type(error))

    service.serve = hear
    port = await listen(proxy, service)
    with await asyncio.to_thread(plain, port) as client:
        assert await asyncio.to_thread(client.recv, 5) == b"hello"
        linger(client)
    await until_turned(lambda: errors)
    assert errors == [ConnectionResetError]

    async def abort(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"last words")
        await writer.drain()
        await reader.read(1)
        linger(writer.get_extra_info("socket"))
        writer.transport.abort()

    service.serve = abort
    reader, writer = await connect(port)
    writer.write(b"x")
    assert await reader.readexactly(10) == b"last words"
    writer.write(b"y")
    with pytest.raises(ConnectionResetError):
        await reader.read(1)
    writer.close()


async def test_a_slow_reader_slows_its_writer_and_nobody_else(proxy: Proxy, service: Service, directory: Path) -> None:
    """What is not read stays in the kernel's buffers: the process does not grow, and is not busy."""
    sent = 0

    async def flood(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        while True:
            writer.write(b"x" * 65536)
            await writer.drain()
            sent += 65536

    service.serve = flood
    port = await listen(proxy, service)
    slow = [await connect(port) for _ in range(20)]
    before = -1
    while before != sent:
        before = sent
        await asyncio.sleep(0.3)
    pid = process_of(directory)
    assert pid is not None
    busy = cpu_s(pid)
    service.serve = lambda reader, writer: write_and_close(writer)
    assert await ask(await connect(port)) == b"ok"
    await asyncio.sleep(0.5)
    assert sent == before
    assert cpu_s(pid) - busy < 0.1
    assert rss_kib(pid) < 40_000
    for _, writer in slow:
        writer.transport.abort()


async def write_and_close(writer: asyncio.StreamWriter) -> None:
    writer.write(b"ok")
    writer.close()


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rss_kib(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024


async def test_a_thousand_connections_wait_for_one_wake(proxy: Proxy, service: Service) -> None:
    service.ready.clear()
    port = await listen(proxy, service)
    asked = [asyncio.create_task(ask(await connect(port), b"%d" % number)) for number in range(1000)]
    await until_turned(lambda: service.woken)
    service.ready.set()
    assert await asyncio.gather(*asked) == [b"%d" % number for number in range(1000)]
    assert service.woken == 1


async def test_no_more_wait_than_may(proxy: Proxy, service: Service, capsys: pytest.CaptureFixture[str]) -> None:
    """The others are closed at once, and it is said once."""
    service.ready.clear()
    port = await listen(proxy, service, max_held=2)
    held = [await connect(port) for _ in range(2)]
    await until_turned(lambda: service.woken)
    for _ in range(3):
        reader, writer = await connect(port)
        assert await asyncio.wait_for(reader.read(1), 10) == b""
        writer.close()
    service.ready.set()
    assert [await ask(each, b"x") for each in held] == [b"x", b"x"]
    assert capsys.readouterr().out.count("db: 2 connections wait for it, more are closed at once") == 1


async def test_who_waits_too_long_is_closed_with_a_line(
    proxy: Proxy, service: Service, capsys: pytest.CaptureFixture[str]
) -> None:
    service.ready.clear()
    port = await listen(proxy, service, deadline_s=0.2)
    reader, writer = await connect(port)
    assert await asyncio.wait_for(reader.read(1), 10) == b""
    writer.close()
    assert "db: not ready within 0.2 s" in capsys.readouterr().out


async def test_who_connects_before_the_daemon_has_read_on_wakes_again(proxy: Proxy, service: Service) -> None:
    """A busy daemon reads in one piece that a failure was told and that the next one waits."""
    place, connected, loop = free(), threading.Event(), asyncio.get_running_loop()

    async def wake() -> Place:
        service.woken += 1
        connected.clear()
        loop.call_soon(connected.wait, 5)  # what it does until the next has connected, when the failure is on its way
        raise EngineError("no such image", "build it")

    def again_and_again() -> None:
        for _ in range(50):
            with socket.create_connection((HOST, place.port), 5) as sock:
                connected.set()
                assert sock.recv(1) == b""
        connected.set()

    await proxy.listen("db", place, wake)
    await asyncio.to_thread(again_and_again)
    assert service.woken == 50


async def test_a_wake_that_fails_closes_who_waits_and_the_next_tries_again(
    proxy: Proxy, service: Service, capsys: pytest.CaptureFixture[str]
) -> None:
    service.failure = EngineError("no such image", "build it")
    port = await listen(proxy, service)
    reader, writer = await connect(port)
    assert await asyncio.wait_for(reader.read(1), 10) == b""
    writer.close()
    assert "no such image; build it" in capsys.readouterr().out
    service.failure = None
    assert await ask(await connect(port), b"x") == b"x"
    assert service.woken == 2


async def test_a_client_that_gives_up_while_it_waits_is_forgotten(proxy: Proxy, service: Service) -> None:
    service.ready.clear()
    port = await listen(proxy, service)
    for _ in range(20):
        with await asyncio.to_thread(plain, port) as client:
            linger(client)
    await until_turned(lambda: service.woken)
    await until_turned(lambda: proxy.rest("db"))
    service.ready.set()


async def test_a_service_that_died_is_woken_by_the_next_connection(proxy: Proxy, service: Service) -> None:
    """Killed in the middle of a connection, which ends; nobody has told the proxy."""
    port = await listen(proxy, service)
    reader, writer = await connect(port)
    writer.write(b"x")
    assert await reader.readexactly(1) == b"x"
    service.kill()
    assert await reader.read(1) == b""
    writer.close()
    asked = asyncio.create_task(ask(await connect(port), b"back"))
    await until_turned(lambda: service.woken >= 3)  # nobody listens there yet, though it says that it is ready
    await service.start()
    assert await asked == b"back"


async def test_connections_wait_when_it_is_told_that_the_service_is_lost(proxy: Proxy, service: Service) -> None:
    """Not led to the address that another container may have by now."""
    port = await listen(proxy, service)
    assert await ask(await connect(port), b"x") == b"x"
    await proxy.lost("db")
    assert await ask(await connect(port), b"y") == b"y"
    assert service.woken == 2


async def test_it_rests_only_without_a_connection_and_wakes_after(proxy: Proxy, service: Service) -> None:
    """One that is open and silent is use."""
    port = await listen(proxy, service)
    client = await connect(port)
    await until_turned(lambda: proxy.idle_since("db") is None)
    assert not await proxy.rest("db")
    assert await ask(client, b"x") == b"x"
    await until_turned(lambda: proxy.idle_since("db"))
    assert await proxy.rest("db")
    assert await ask(await connect(port), b"y") == b"y"
    assert service.woken == 2


async def test_a_port_that_is_taken_is_told_of(proxy: Proxy, service: Service) -> None:
    with socket.create_server((HOST, 0)) as other:
        taken = Place(HOST, other.getsockname()[1])
        with pytest.raises(PortTaken, match=str(taken.port)):
            await proxy.listen("db", taken, service.wake)
    await proxy.listen("db", taken, service.wake)
    assert await ask(await connect(taken.port), b"x") == b"x"
    with pytest.raises(Refused, match=r"no address 192\.0\.2\.1"):
        await proxy.listen("db", Place("192.0.2.1", 0), service.wake)


async def test_without_descriptors_connections_wait_for_others_to_end(
    proxy: Proxy, service: Service, directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The listener lives, and is not busy."""
    port = await listen(proxy, service)
    pid = process_of(directory)
    assert pid is not None
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (40, 40))
    clients = [await connect(port) for _ in range(60)]
    said = ""

    def told() -> bool:
        nonlocal said
        said += capsys.readouterr().out
        return "no descriptors are left with 8 connections" in said

    await until_turned(told)
    busy = cpu_s(pid)
    await asyncio.sleep(0.5)
    assert cpu_s(pid) - busy < 0.15
    for client in clients:  # in the order in which they were accepted
        assert await ask(client, b"x") == b"x"
    told()
    assert said.count("no descriptors") == 1


async def test_a_new_daemon_finds_doors_and_connections_as_they_were(directory: Path, service: Service) -> None:
    """One that was open goes on, one that waits is served, and idleness is known."""
    async with running(directory) as old:
        port = await listen(old, service)
        other = await listen(old, service, "gone")
        reader, writer = await connect(port)
        writer.write(b"a")
        assert await reader.readexactly(1) == b"a"
        await old.lost("db")
    waiting = asyncio.create_task(ask(await connect(port), b"waits"))
    writer.write(b"b")
    assert await reader.readexactly(1) == b"b"
    async with running(directory) as new:
        await new.listen("db", Place(HOST, port), service.wake)
        assert new.idle_since("db") is None
        assert await waiting == b"waits"
        writer.write(b"c")
        assert await reader.readexactly(1) == b"c"
        await new.keep()
        with pytest.raises(ConnectionRefusedError):
            await connect(other)
        writer.close()


async def test_doors_of_before_that_are_found_late_are_shut_too(directory: Path, service: Service) -> None:
    """By a daemon that wants none, and has said so before it had the link."""
    async with running(directory) as old:
        port = await listen(old, service, "db")
    new = Proxy(directory)
    await new.keep()
    job = asyncio.create_task(new.run())
    try:
        await until_turned(lambda: process_of(directory) is None)
        with pytest.raises(ConnectionRefusedError):
            await connect(port)
    finally:
        job.cancel()
        await new.close()


async def test_a_daemon_of_another_version_retires_the_process_and_its_connections_go_on(
    directory: Path, service: Service
) -> None:
    async with running(directory) as old:
        port = await listen(old, service)
        client = await connect(port)
        client[1].write(b"a")
        assert await client[0].readexactly(1) == b"a"
    link = await process.find(directory / wire.SOCKET_NAME)
    assert link is not None
    following = asyncio.create_task(link.follow(lambda _: None))
    assert (await link.ask("hello", version=wire.VERSION + 1))["version"] == wire.VERSION
    await link.ask("retire")
    link.close()
    await following
    pid = process_of(directory)
    async with running(directory) as new:
        await new.listen("db", Place(HOST, port), service.wake)
        assert await ask(await connect(port), b"new") == b"new"
        assert await ask(client, b"old") == b"old"
        assert pid is not None
        await until_turned(lambda: not Path(f"/proc/{pid}").exists())


async def test_one_that_sends_the_process_rubbish_is_cut_off(proxy: Proxy, service: Service, directory: Path) -> None:
    """And the daemon finds its way back to it, with all that is open."""
    port = await listen(proxy, service)
    client = await connect(port)
    for rubbish in (b"\0\xff\n", b"[]\n", b'{"do": "nothing"}\n', b'{"do": "open"}\n', b"x" * (2 << 20)):
        reader, writer = await asyncio.open_unix_connection(directory / wire.SOCKET_NAME)
        writer.write(rubbish)
        with suppress(ConnectionError):
            assert await reader.read(-1) == b""
        writer.close()
    await until_turned(lambda: proxy.rest("db") if proxy.idle_since("db") else True)
    assert await ask(client, b"x") == b"x"
    assert await ask(await connect(port), b"y") == b"y"


DAEMON = """
import asyncio, sys
from pathlib import Path
from dxd.proxy.model import Place
from dxd.proxy.proxy import Proxy

async def main():
    proxy = Proxy(Path(sys.argv[1]))
    job = asyncio.create_task(proxy.run())
    async def wake():
        return Place("127.0.0.1", int(sys.argv[2]))
    await proxy.listen("db", Place("127.0.0.1", int(sys.argv[3])), wake)
    print("listens", flush=True)
    await job

asyncio.run(main())
"""


async def test_connections_live_on_when_the_daemon_is_killed(directory: Path, service: Service) -> None:
    port = free().port
    command = [sys.executable, "-c", DAEMON, str(directory), str(service.place.port), str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as daemon:
        assert daemon.stdout is not None
        assert await asyncio.to_thread(daemon.stdout.readline) == b"listens\n"
        reader, writer = await connect(port)
        writer.write(b"a")
        assert await reader.readexactly(1) == b"a"
        daemon.kill()
    writer.write(b"b")
    assert await reader.readexactly(1) == b"b"
    assert await ask(await connect(port), b"new ones too") == b"new ones too"
    writer.close()


async def test_a_proxy_that_was_killed_is_started_again_with_its_doors(
    proxy: Proxy, service: Service, directory: Path
) -> None:
    port = await listen(proxy, service)
    port = await listen(proxy, service, "db2")
    pid = process_of(directory)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)

    async def back() -> bool:
        try:
            return await ask(await connect(port), b"x") == b"x"
        except OSError:
            return False

    await until_turned(back)
    assert process_of(directory) != pid


async def test_the_process_ends_when_nothing_is_left_for_it(directory: Path, service: Service) -> None:
    async with running(directory) as proxy:
        port = await listen(proxy, service)
        reader, writer = client = await connect(port)
        writer.write(b"a")  # led through, no longer held: what is held ends with its door
        assert await reader.readexactly(1) == b"a"
        await proxy.shut("db")
        assert process_of(directory)
        assert await ask(client, b"the last one") == b"the last one"
        await until_turned(lambda: process_of(directory) is None)
        assert not (directory / "proxy.sock").exists()
        port = await listen(proxy, service)
        assert await ask(await connect(port), b"anew") == b"anew"


async def test_without_daemon_and_connection_the_process_ends_after_a_while(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though it has a door."""
    monkeypatch.setattr(program, "ORPHAN_S", 0.2)
    monkeypatch.setattr(program, "LOOK_S", 0.05)
    loop = Loop()
    control = Control(loop, directory / wire.SOCKET_NAME)
    place = free()
    control.serving.open("d", "db", (place.host, place.port), deadline_s=1.0, max_held=1, names=False)
    began = time.monotonic()
    await asyncio.wait_for(asyncio.to_thread(program.serve, loop, control), 10)
    assert time.monotonic() - began > 0.2
    assert not (directory / wire.SOCKET_NAME).exists()
    control.serving.shut("d")


async def test_a_door_may_be_an_ipv6_address(proxy: Proxy, service: Service) -> None:
    """Beside one of the same number for IPv4."""
    place = free()
    await proxy.listen("db", place, service.wake)
    await proxy.listen("db", Place("::1", place.port), service.wake)
    for host in (HOST, "::1"):
        reader, writer = await asyncio.open_connection(host, place.port)
        writer.write(b"x")
        writer.write_eof()
        assert await reader.read(-1) == b"x"
        writer.close()


async def test_heads_that_never_end_are_in_nobodys_way(proxy: Proxy, service: Service) -> None:
    port = await names(proxy)
    await proxy.name("web", "web.shop.localhost", service.wake)
    for _ in range(200):
        _, writer = await connect(port)
        writer.write(b"GET / HTTP/1.1\r\nX")
    request = b"GET / HTTP/1.1\r\nHost: web.shop.localhost\r\n\r\n"
    assert await ask(await connect(port), request) == request
    assert await proxy.rest("web")


async def test_names_lead_to_their_services(proxy: Proxy, service: Service) -> None:
    """The request arrives as it was sent, its body and what follows too: a websocket is no different."""
    port = await names(proxy)
    await proxy.name("web", "web.shop.localhost", service.wake)
    head = b"GET /chat HTTP/1.1\r\nHost: web.shop.localhost:%d\r\nUpgrade: websocket\r\n\r\n" % port
    reader, writer = await connect(port)
    for piece in (head[:7], head[7:60], head[60:] + b"\x81\x05hello"):
        writer.write(piece)
        await writer.drain()
    assert await reader.readexactly(len(head) + 7) == head + b"\x81\x05hello"
    writer.write(b"\x88\x00")
    assert await reader.readexactly(2) == b"\x88\x00"
    assert proxy.idle_since("web") is None
    writer.close()


@pytest.mark.parametrize(
    ("request_head", "status"),
    [
        (b"GET / HTTP/1.1\r\nHost: api.shop.localhost\r\n\r\n", b"404 Not Found"),
        (b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n", b"421 Misdirected Request"),
        (b"GET / HTTP/1.1\r\n\r\n", b"400 Bad Request"),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 20000, b"431 Request Header Fields Too Large"),
    ],
)
async def test_what_has_no_service_is_answered_without_saying_what_there_is(
    proxy: Proxy, service: Service, request_head: bytes, status: bytes
) -> None:
    port = await names(proxy)
    await proxy.name("web", "web.shop.localhost", service.wake)
    answer = await ask(await connect(port), request_head)
    assert answer.startswith(b"HTTP/1.1 " + status + b"\r\n")
    assert b"shop" not in answer
    assert service.woken == 0


async def test_a_service_that_does_not_come_up_is_said_in_http(proxy: Proxy, service: Service) -> None:
    service.failure = EngineError("no such image")
    port = await names(proxy)
    await proxy.name("web", "web.shop.localhost", service.wake)
    answer = await ask(await connect(port), b"GET / HTTP/1.1\r\nHost: web.shop.localhost\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert answer.endswith(b"dx: no such image\n")


async def test_names_are_for_this_machine_alone(proxy: Proxy) -> None:
    with pytest.raises(Refused, match="not served"):
        await proxy.listen_for_names(Place("0.0.0.0", 0))
