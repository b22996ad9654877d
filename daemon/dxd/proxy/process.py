"""The way to the proxy process: found, or started, and the link to it.

Raises `ProxyFailed`. The process is no child of the daemon: what is started forks, and ends when it listens.
"""

import asyncio
import sys
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

from dxd.errors import ProxyFailed
from dxd.proxy import wire

START_S = 10.0
ANSWER_S = 10.0
HINT = "see the log: dx daemon logs"

Told = Callable[[dict[str, Any]], None]
"""Takes what the process tells unasked."""


class Link:
    """A connection to the process. Its owner reads it by `follow`, and closes it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._numbers = count(1)
        self._asked: dict[int, asyncio.Future[dict[str, Any]]] = {}

    async def follow(self, told: Told) -> None:
        """Take what comes, until the process or the link ends."""
        try:
            while data := await self._reader.readline():
                message = wire.read(data)
                if "tell" in message:
                    told(message)
                elif (asked := self._asked.pop(message["number"], None)) and not asked.done():
                    asked.set_result(message)
        except (OSError, ValueError, KeyError, wire.Broken):
            pass  # no other end of ours: the same as none
        finally:
            self.close()

    async def ask(self, do: str, **fields: Any) -> dict[str, Any]:
        """Have something done, and its answer. `OSError` as the process met it; `ProxyFailed` without an answer."""
        number = next(self._numbers)
        answer = asyncio.get_running_loop().create_future()
        self._asked[number] = answer
        try:
            self._writer.write(wire.line(do=do, number=number, **fields))
            async with asyncio.timeout(ANSWER_S):
                said: dict[str, Any] = await answer
        except TimeoutError:
            raise ProxyFailed(f"the proxy does not answer within {ANSWER_S:g} s", HINT) from None
        finally:
            self._asked.pop(number, None)
        if "errno" in said:
            raise OSError(said["errno"], said["error"])
        return said

    def close(self) -> None:
        """Cut it; who waits for an answer gets `ProxyFailed`."""
        self._writer.close()
        for each in self._asked.values():
            if not each.done():
                each.set_exception(ProxyFailed("the proxy has ended", HINT))


async def find(path: Path) -> Link | None:
    """The link to a process that is there already."""
    try:
        return Link(*await asyncio.open_unix_connection(path, limit=wire.MAX_LINE_BYTES))
    except OSError:
        return None


async def start(path: Path) -> Link:
    """Start one, and be linked to it."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "dxd.proxy", str(path),
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        async with asyncio.timeout(START_S):
            _, said = await process.communicate()
    except TimeoutError:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        raise ProxyFailed(f"the proxy does not start within {START_S:g} s", HINT) from None
    if process.returncode == 0 and (link := await find(path)):
        return link
    why = said.decode(errors="replace").strip().rpartition("\n")[2] or f"status {process.returncode}"
    raise ProxyFailed(f"the proxy does not start: {why}", HINT)
