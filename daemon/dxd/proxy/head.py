"""The head of a connection's first HTTP request: which host it is for. Pure.

As strict as RFC 9112 lets a server be: what could be read in two ways is refused. Nothing in it is changed.
"""

import re

MAX_HEAD_BYTES = 16384

_LINE = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,32} (/[!-~]*|\*) HTTP/1\.[01]")
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*)")
_HOST = re.compile(rb"([a-z0-9](?:[a-z0-9._-]{0,250}[a-z0-9])?)\.?(?::[0-9]{1,5})?")

REASONS = {
    400: "Bad Request",
    404: "Not Found",
    408: "Request Timeout",
    421: "Misdirected Request",
    431: "Request Header Fields Too Large",
    503: "Service Unavailable",
}


class BadHead(Exception):
    """It is refused; `status` is HTTP's."""

    def __init__(self, status: int) -> None:
        super().__init__(REASONS[status])
        self.status = status


def host(data: bytes) -> str | None:
    """The host of a request, in small letters and without a port; None while its head is not whole.

    Raises `BadHead`, as early as that can be known.
    """
    first, whole, _ = data.partition(b"\r\n")
    if (whole and not _LINE.fullmatch(first)) or (data and not 65 <= data[0] <= 90):
        raise BadHead(400)  # a request to a proxy, TLS, HTTP/2, or no HTTP at all
    end = data.find(b"\r\n\r\n")
    if end > MAX_HEAD_BYTES or (end < 0 and len(data) > MAX_HEAD_BYTES):
        raise BadHead(431)
    if end < 0:
        return None
    hosts = []
    for line in data[:end].split(b"\r\n")[1:]:
        field = _FIELD.fullmatch(line)
        if field is None:
            raise BadHead(400)
        if field[1].lower() == b"host":
            hosts.append(field[2].strip().lower())
    if len(hosts) != 1 or not (found := _HOST.fullmatch(hosts[0])):
        raise BadHead(400)
    return found[1].decode()


def answer(status: int, text: str) -> bytes:
    """A whole response that ends its connection."""
    body = f"dx: {text}\n".encode()
    head = f"HTTP/1.1 {status} {REASONS[status]}\r\nContent-Type: text/plain; charset=utf-8\r\n"
    return f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body
