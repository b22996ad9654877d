"""What the daemon's HTTP edge costs per lease: a server in a process of its own, with rooms that answer at once.

Prints the median round trip (connect, post, read to the end, close), what an asyncio.Protocol without any HTTP takes
for the same bytes, and the server's CPU time per lease. The request is a launcher's: 40 variables, ten arguments.
"""

import asyncio
import os
import signal
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import cast

from dx import protocol
from dxd.lifecycle.listener import bind
from tests.dxd.api.rooms import Rooms, make_app

COUNT = 3000


def request_bytes() -> bytes:
    """A launcher's request."""
    env = [b"VARIABLE_%d=" % number + b"x" * 60 for number in range(40)]
    body = b"".join(
        (
            protocol.record(protocol.Q_VERSION, protocol.U32.pack(protocol.WIRE_VERSION)),
            protocol.record(protocol.Q_COMMAND, b"jq"),
            protocol.record(protocol.Q_CWD, b"/home/me/project"),
            protocol.record(protocol.Q_ARGV, protocol.strings([b"argument"] * 10)),
            protocol.record(protocol.Q_ENV, protocol.strings(env)),
        )
    )
    head = (
        f"POST /v1/runs HTTP/1.0\r\nHost: dx\r\nContent-Type: {protocol.MEDIA_TYPE}\r\nContent-Length: {len(body)}\r\n"
    )
    return head.encode() + b"\r\n" + body


async def serve_http(sock: socket.socket) -> None:
    """The real edge."""
    await make_app(Rooms(), Path("/nonexistent")).front.listen(sock)
    await asyncio.Event().wait()


async def serve_bare(sock: socket.socket) -> None:
    """The same bytes without any HTTP."""

    class Echo(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport = cast("asyncio.Transport", transport)

        def data_received(self, data: bytes) -> None:
            self.transport.write(b"x" * 300)
            self.transport.close()

    await asyncio.get_running_loop().create_server(Echo, sock=sock)
    await asyncio.Event().wait()


def measure(serve: Callable[[socket.socket], Awaitable[None]], run: Callable[..., object]) -> tuple[float, float]:
    """Median round trip and the server's CPU time per request, in microseconds."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "s")
        sock = bind(path)
        if (child := os.fork()) == 0:
            signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
            try:
                run(serve(sock))
            finally:
                os._exit(1)
        sock.close()
        data = request_bytes()
        times = []
        for _ in range(COUNT):
            began = time.perf_counter_ns()
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(path))
                client.sendall(data)
                while client.recv(65536):
                    pass
            times.append(time.perf_counter_ns() - began)
        os.kill(child, signal.SIGTERM)
        _, _, usage = os.wait4(child, 0)
        return statistics.median(times[200:]) / 1000, (usage.ru_utime + usage.ru_stime) * 1e6 / COUNT


def main() -> None:
    """Measure, interleaved by rounds."""
    import uvloop

    runners = {"asyncio": asyncio.run, "uvloop": uvloop.run}
    for name, run in runners.items():
        for kind, serve in {"bare": serve_bare, "edge": serve_http}.items():
            trip, cpu = measure(serve, run)
            sys.stdout.write(f"{name:8} {kind:5} round trip {trip:6.0f} us, server CPU {cpu:6.0f} us each\n")


if __name__ == "__main__":
    main()
