"""The proxy process's end of the link to the daemon: one daemon at a time, the latest that came.

The socket lies in the runtime directory, which is 0700, and whoever connects has to be the same user all the same.
What the daemon does not take in time is not kept: a daemon that hangs loses the link, and finds everything as it is
when it comes back.
"""

import os
import select
import socket
import struct
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from dxd.proxy import wire
from dxd.proxy.loop import BROKEN, Loop
from dxd.proxy.serving import Serving

MAX_UNREAD_BYTES = 1 << 20

_CREDENTIALS = struct.Struct("3i")


class Control:
    """Takes orders, and tells of what the daemon has to do."""

    def __init__(self, loop: Loop, path: Path) -> None:
        """Listen at `path`, in place of whatever was there; raises `OSError`."""
        self.retired = False
        self.serving = Serving(loop, self.tell)
        self._loop = loop
        self._path = path
        self._link: socket.socket | None = None
        self._greeted = False
        self._incoming = bytearray()
        self._outgoing = bytearray()
        self._orders: dict[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
            "hello": self._hello,
            "open": self._open,
            "shut": self._shut,
            "lead": self._lead,
            "fail": self._fail,
            "rest": self._rest,
            "retire": self._retire,
        }
        self._socket = _bind(path)
        self._file = path.lstat()
        loop.watch(self._socket, select.EPOLLIN, lambda _: self._accept())

    @property
    def lonely(self) -> bool:
        """Whether there is no daemon."""
        return self._link is None

    def tell(self, kind: str, **fields: Any) -> None:
        """Send the daemon a message, if one is there."""
        if self._greeted:
            self._send(wire.line(tell=kind, **fields))

    def close(self) -> None:
        """Listen no longer, and take the socket's file away, if it is still ours."""
        self._socket.close()
        with suppress(OSError):
            if os.path.samestat(self._path.lstat(), self._file):
                self._path.unlink()

    def _accept(self) -> None:
        try:
            sock, _ = self._socket.accept()
        except OSError:
            return
        credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        if _CREDENTIALS.unpack(credentials)[1] not in {0, os.geteuid()}:
            sock.close()
            return
        sock.setblocking(False)  # noqa: FBT003 - the socket API
        self._hang_up()
        self._link = sock
        self._loop.watch(sock, select.EPOLLIN, lambda events: self._on(sock, events))

    def _hang_up(self) -> None:
        if self._link is not None:
            self._loop.close(self._link)
        self._link, self._greeted = None, False
        self._incoming.clear()
        self._outgoing.clear()
        self.serving.lonely()

    def _on(self, sock: socket.socket, events: int) -> None:
        if sock is not self._link:
            return
        if events & select.EPOLLOUT:
            self._send(b"")
        if not events & (select.EPOLLIN | BROKEN):
            return
        try:
            data = sock.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._hang_up()
            return
        self._incoming += data
        try:
            messages = wire.split(self._incoming)
            for message in messages:
                self._answer(message)
        except (wire.Broken, LookupError, TypeError, ValueError):
            self._hang_up()

    def _answer(self, message: Mapping[str, Any]) -> None:
        order = self._orders[message["do"]]
        try:
            said = order(message)
        except OSError as error:
            said = {"errno": error.errno or 0, "error": error.strerror or str(error)}
        if "number" in message:
            self._send(wire.line(number=message["number"], **said))

    def _send(self, data: bytes) -> None:
        if self._link is None:
            return
        had = bool(self._outgoing)
        self._outgoing += data
        try:
            del self._outgoing[: self._link.send(self._outgoing)]
        except BlockingIOError:
            pass
        except OSError:
            self._outgoing.clear()  # its end is read next
            return
        if len(self._outgoing) > MAX_UNREAD_BYTES:
            self._hang_up()
        elif had != bool(self._outgoing):
            self._loop.change(self._link, select.EPOLLIN | (select.EPOLLOUT if self._outgoing else 0))

    def _hello(self, message: Mapping[str, Any]) -> dict[str, Any]:
        self._greeted = message["version"] == wire.VERSION
        return {
            "version": wire.VERSION,
            "pid": os.getpid(),
            "doors": list(self.serving.doors),
            "uses": self.serving.uses.report(),
        }

    def _open(self, message: Mapping[str, Any]) -> dict[str, Any]:
        place = message["listen"]
        door = self.serving.open(
            str(message["door"]),
            str(message["service"]),
            None if place is None else (str(place[0]), int(place[1])),
            deadline_s=float(message["deadline_s"]),
            max_held=int(message["max_held"]),
            names=bool(message["names"]),
        )
        door.waking = bool(door.waiting) and door.target is None
        return {"waiting": door.waking}

    def _shut(self, message: Mapping[str, Any]) -> dict[str, Any]:
        self.serving.shut(str(message["door"]))
        return {}

    def _lead(self, message: Mapping[str, Any]) -> dict[str, Any]:
        to = message["to"]
        self.serving.lead(str(message["door"]), None if to is None else (str(to[0]), int(to[1])))
        return {}

    def _fail(self, message: Mapping[str, Any]) -> dict[str, Any]:
        self.serving.fail(str(message["door"]), str(message["reason"]))
        return {}

    def _rest(self, message: Mapping[str, Any]) -> dict[str, Any]:
        return {"rested": self.serving.rest(str(message["service"]))}

    def _retire(self, _: Mapping[str, Any]) -> dict[str, Any]:
        self.retired = True
        self._loop.close(self._socket)
        for key in list(self.serving.doors):
            self.serving.shut(key)
        return {}


def _bind(path: Path) -> socket.socket:
    """Bound under another name and renamed, so that a daemon finds either nothing or a socket that listens."""
    temporary = path.with_name(f".p{os.getpid()}")
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        temporary.unlink(missing_ok=True)
        sock.bind(os.fsencode(temporary))
        temporary.chmod(0o600)
        sock.listen(8)
        sock.setblocking(False)  # noqa: FBT003 - the socket API
        temporary.rename(path)
    except BaseException:
        sock.close()
        with suppress(OSError):
            temporary.unlink()
        raise
    return sock
