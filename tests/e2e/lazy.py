"""A project with a service that sleeps: an echo at a port of this machine, and what is said to it."""

import json
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.e2e.shop import Shop
from tests.house import DEADLINE_S, IMAGE, House
from tests.waiting import until

TARGET = 7000
SLOW_S = 2.0
ECHO = f"exec nc -ll -p {TARGET} -e cat"
"""One process for each connection."""
PATIENCE_S = 30.0
"""For a connection: far more than a start takes."""


def free_port() -> int:
    """Where nobody listens, of neither family."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


class Lazy(Shop):
    """A shop whose service `db` is lazy, and echoes after `slow_s` of starting."""

    def __init__(self, house: House, *, slow_s: float = 0.0, extras: dict[str, Any] | None = None, **more: Any) -> None:
        super().__init__(house)
        self.port = free_port()
        self.db = {
            "image": IMAGE,
            "init": True,
            "stop_grace_period": "1s",
            "command": ["sh", "-c", f"sleep {slow_s}; touch /run/up; {ECHO}"],
            "healthcheck": {"test": ["CMD-SHELL", "test -e /run/up"], "interval": "30s"},
            "tmpfs": "/run",
            "ports": [f"{self.port}:{TARGET}"],
            "x-dx": {"lazy": True} if extras is None else extras,
            **more,
        }
        self.services_of(db=self.db)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing listens for it any more, either: its doors are no part of the engine."""
        if self.house.daemon is None:
            self.house.start()
        self.house.dx(["stop", "--all"])
        self.house.dx(["down", "--project", self.name], cwd=self.root)
        super().__exit__(kind, error, trace)

    def services_of(self, **services: dict[str, Any]) -> None:
        """Make these its services, on the project's network."""
        every = {
            name: {"image": IMAGE, "init": True, "stop_grace_period": "1s", "command": ["sleep", "1000"], **each}
            for name, each in services.items()
        }
        self.file.write_text(json.dumps({"services": every}, indent=1))

    @contextmanager
    def connected(self, host: str = "127.0.0.1") -> Iterator[socket.socket]:
        """A connection to the door."""
        with socket.create_connection((host, self.port), PATIENCE_S) as sock:
            yield sock

    def says(self, text: bytes = b"hello", host: str = "127.0.0.1") -> bytes:
        """What comes back for that, until the end; of a connection that is closed unread, nothing."""
        with self.connected(host) as sock, suppress(ConnectionResetError):
            sock.sendall(text)
            with suppress(OSError):  # it is closed already
                sock.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: sock.recv(65536), b""))
        return b""

    def runs(self) -> bool:
        """Whether the engine has it running."""
        return bool(self.inspect("db")["State"]["Running"])

    def starts(self) -> int:
        """How often it was started in all, by what the engine tells of it."""
        done = subprocess.run(
            [
                "docker",
                "events",
                "--since",
                "0",
                "--until",
                str(time.time()),
                "--filter",
                "event=start",
                "--filter",
                f"container={self.container('db')}",
                "--format",
                "{{.ID}}",
            ],
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            env=self.house.env,
        )
        return len(done.stdout.splitlines())

    def sleeps(self) -> None:
        """Wait until it does."""
        self.reach(db="sleeps")
        assert not self.runs()

    def is_refused(self) -> bool:
        """Whether nobody listens at the port."""
        try:
            with self.connected():
                return False
        except ConnectionRefusedError:
            return True

    def proxy(self) -> int | None:
        """The process that has the doors."""
        for each in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                words = each.read_bytes().split(b"\0")
            except OSError:
                continue
            if words[1:3] == [b"-m", b"dxd.proxy"] and str(self.house.root).encode() in words[3]:
                return int(each.parent.name)
        return None


def talk(sock: socket.socket, text: bytes) -> bytes:
    """Say it on a connection that stays, and hear it."""
    sock.sendall(text)
    heard = b""
    while len(heard) < len(text):
        more = sock.recv(65536)
        assert more, "the connection has ended"
        heard += more
    return heard


def until_refused(lazy: Lazy) -> None:
    """Nobody listens any more."""
    until(lazy.is_refused, f"nobody listens at {lazy.port}")
