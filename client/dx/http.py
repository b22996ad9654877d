"""Just enough of HTTP/1.1 (RFC 9112) to talk to the daemon over its Unix socket.

One request to a connection. The standard library's http.client would do, but importing it takes 20 ms, twice as long
as starting Python, and every `dx ls` would pay for that.
"""

import os
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Self

MAX_HEAD_LINE = 65536
MAX_PATH = 107
"""What fits into sun_path, unix(7)."""
_PLAIN = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


class BadResponse(Exception):
    """What came back is no answer, or only part of one."""


class Response:
    """An answer whose head was read; use it in a `with` block, which closes the connection."""

    def __init__(self, sock: socket.socket, reader: IO[bytes], status: int, headers: dict[str, str]) -> None:
        self.status = status
        self.headers = headers
        """Names in lower case."""
        self._socket = sock
        self._reader = reader

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._reader.close()
        self._socket.close()

    def read(self) -> bytes:
        """The whole body; raises `BadResponse` if it is cut short."""
        return b"".join(self._parts())

    def lines(self) -> Iterator[bytes]:
        """The body line by line as it comes, without a time limit; empty lines are left out.

        Raises `BadResponse` if the body is cut short; a last line without its end counts as that.
        """
        self._socket.settimeout(None)
        rest = b""
        for part in self._parts():
            *whole, rest = (rest + part).split(b"\n")
            yield from (line for line in whole if line.strip())
        if rest.strip():
            raise BadResponse("the answer ends in the middle of a line")

    def _parts(self) -> Iterator[bytes]:
        if self.status == 204:
            return
        if self.headers.get("transfer-encoding", "").lower() == "chunked":
            while size := _number(_line(self._reader).split(b";")[0], 16):
                yield self._exactly(size)
                if _line(self._reader):
                    raise BadResponse("a chunk of the answer is longer than it says")
            while _line(self._reader):
                pass  # trailers
        elif "content-length" in self.headers:
            yield self._exactly(_number(self.headers["content-length"].encode(), 10))
        else:
            while part := self._reader.read1(65536):  # type: ignore[attr-defined]  # a BufferedReader has it
                yield part

    def _exactly(self, size: int) -> bytes:
        data = self._reader.read(size)
        if len(data) < size:
            raise BadResponse("the answer was cut short")
        return data


def request(
    path: str,
    method: str,
    target: str,
    *,
    headers: dict[str, str],
    body: bytes | None = None,
    timeout_s: float | None = None,
) -> Response:
    """Send one request to the socket at `path` and read the head of the answer.

    Raises `OSError` where there is no connection (`TimeoutError` where nothing came for `timeout_s`), `BadResponse`
    where what came is no answer. The caller closes the response.
    """
    lines = [f"{method} {target} HTTP/1.1", "Host: dx", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if body is not None:
        lines.append(f"Content-Length: {len(body)}")
    sock = _connect(path, timeout_s)
    reader = sock.makefile("rb")
    try:
        # It may have answered before it read everything; if not, the next read says so.
        with suppress(BrokenPipeError, ConnectionResetError):
            sock.sendall("\r\n".join([*lines, "", ""]).encode() + (body or b""))
        status, answered = _head(reader)
    except BaseException:
        reader.close()
        sock.close()
        raise
    return Response(sock, reader, status, answered)


def quote(part: str) -> str:
    """One part of a path, or a value of a query, with every character escaped that could mean something."""
    return "".join(chr(c) if chr(c) in _PLAIN else f"%{c:02X}" for c in part.encode(errors="surrogateescape"))


def _connect(path: str, timeout_s: float | None) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        sock.settimeout(timeout_s)
        if len(os.fsencode(path)) <= MAX_PATH:
            sock.connect(path)
        else:
            directory = os.open(Path(path).parent, os.O_PATH | os.O_CLOEXEC)
            try:
                sock.connect(f"/proc/self/fd/{directory}/{Path(path).name}")
            finally:
                os.close(directory)
    except BaseException:
        sock.close()
        raise
    return sock


def _head(reader: IO[bytes]) -> tuple[int, dict[str, str]]:
    status_line = _line(reader).split(None, 2)
    if len(status_line) < 2 or not status_line[0].startswith(b"HTTP/1."):
        raise BadResponse("this is not HTTP")
    headers: dict[str, str] = {}
    while line := _line(reader):
        name, _, value = line.partition(b":")
        headers[name.decode("latin-1").strip().lower()] = value.decode("latin-1").strip()
        if len(headers) > 100:
            raise BadResponse("the answer has too many headers")
    return _number(status_line[1], 10), headers


def _line(reader: IO[bytes]) -> bytes:
    line = reader.readline(MAX_HEAD_LINE)
    if not line.endswith(b"\n"):
        raise BadResponse("the answer was cut short" if line else "the connection was closed without an answer")
    return line.rstrip(b"\r\n")


def _number(text: bytes, base: int) -> int:
    try:
        return int(text, base)
    except ValueError:
        raise BadResponse("a number in the answer is none") from None
