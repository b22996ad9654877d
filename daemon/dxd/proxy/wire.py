"""What the daemon and the proxy process say to each other: JSON objects, one a line, on a Unix socket.

The daemon asks, with a number, and is answered with it. The process also tells, without one: `wake` (a door has
connections waiting and nowhere to lead them), `use` (a service came into use, or went out of it) and `note` (a line
for the log). A daemon of another `VERSION` says only `retire`, which is for ever understood.

    hello   version               -> version, pid, doors: [...], uses: [{service, open, since}]
    open    door, service, deadline_s, max_held, listen: [host, port] or null, names: bool -> waiting
    shut    door                  its connections stay
    lead    door, to: [host, port] or null
    fail    door, reason          what waits is closed
    rest    service               -> rested: no connection was open, and from now on they wait
    retire                        all doors shut, and the process ends with the last connection
"""

import json
from collections.abc import Callable
from typing import Any

VERSION = 1
SOCKET_NAME = "proxy.sock"
MAX_LINE_BYTES = 1 << 20

Tell = Callable[..., None]
"""Sends the daemon a message, if there is one: `tell("wake", door=...)`."""


class Broken(Exception):
    """The other side sends what is no line of ours."""


def line(**fields: Any) -> bytes:
    """One message."""
    return json.dumps(fields, separators=(",", ":")).encode() + b"\n"


def read(data: bytes) -> dict[str, Any]:
    """The message of a line; raises `Broken`."""
    try:
        message = json.loads(data)
    except ValueError:
        raise Broken(f"no JSON: {data[:80]!r}") from None
    if not isinstance(message, dict):
        raise Broken(f"no object: {data[:80]!r}")
    return message


def split(buffer: bytearray) -> list[dict[str, Any]]:
    """Take the whole lines out of what was received so far; raises `Broken`."""
    *lines, rest = bytes(buffer).split(b"\n")
    if len(rest) > MAX_LINE_BYTES:
        raise Broken("a line without an end")
    buffer[:] = rest
    return [read(each) for each in lines if each]
