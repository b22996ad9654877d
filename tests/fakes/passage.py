"""From a port of 127.0.0.1 in a network of its own to a Unix socket, which is one thing in all networks.

python -m tests.fakes.passage PORT SOCKET      # ends with the process that started it
"""

import asyncio
import ctypes
import fcntl
import signal
import socket
import struct
import sys
from contextlib import suppress

_PR_SET_PDEATHSIG = 1
_SIOCSIFFLAGS, _IFF_UP = 0x8914, 1


async def serve(port: int, path: str) -> None:
    """Forward until the end."""

    async def enter(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            there, back = await asyncio.open_unix_connection(path)
            ways = [asyncio.create_task(_pass(reader, back)), asyncio.create_task(_pass(there, writer))]
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            for way in ways:
                way.cancel()
            back.close()
        writer.close()

    async with await asyncio.start_server(enter, "127.0.0.1", port) as server:
        await server.serve_forever()


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(1 << 14):
            writer.write(data)
            await writer.drain()


if __name__ == "__main__":
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    with socket.socket() as loopback:  # which is down in a network that is new
        fcntl.ioctl(loopback, _SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", _IFF_UP))
    asyncio.run(serve(int(sys.argv[1]), sys.argv[2]))
