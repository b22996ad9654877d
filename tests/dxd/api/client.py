"""A client that sends exactly the bytes it is told to, and reads until the server closes."""

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DEADLINE_S = 20.0


@dataclass(frozen=True)
class Answer:
    """What the server said."""

    status: int
    headers: dict[str, str]
    """With names in lower case."""
    body: bytes

    def json(self) -> Any:
        """The body as JSON, which it then has to be."""
        assert self.headers["content-type"] == "application/json"
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The code of the error that it is."""
        error = self.json()["error"]
        assert sorted(error) == ["code", "hint", "message"]
        assert "\n" not in error["message"]
        assert "Traceback" not in error["message"]
        return str(error["code"])


def parse(data: bytes) -> Answer:
    """One whole answer."""
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return Answer(int(first.split()[1]), headers, body)


async def exchange(socket: Path, data: bytes) -> bytes:
    """Send bytes, and read until the server closes."""
    async with asyncio.timeout(DEADLINE_S):
        reader, writer = await asyncio.open_unix_connection(str(socket))
        writer.write(data)
        try:
            return await reader.read()
        finally:
            writer.close()


async def call(
    socket: Path, method: str, target: str, body: object = None, *, media_type: str = "application/json", **headers: str
) -> Answer:
    """One request over HTTP/1.0; a body that is not bytes is sent as JSON."""
    data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    lines = [f"{method} {target} HTTP/1.0", "Host: dx"]
    if body is not None:
        lines += [f"Content-Type: {media_type}", f"Content-Length: {len(data)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return parse(await exchange(socket, "\r\n".join(lines).encode() + b"\r\n\r\n" + data))
