"""Services with ports, for tests: where they are reached, and programs that are in their way."""

import re
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.request import urlopen

from tests.e2e.shop import Shop
from tests.house import House

NET = {"network_mode": "bridge"}
HOLDER = """
import socket, sys
with socket.create_server(("0.0.0.0", int(sys.argv[1]))):
    print("there", flush=True)
    sys.stdin.read()
"""


def free_port() -> int:
    """One that nobody has just now."""
    with socket.create_server(("0.0.0.0", 0)) as server:
        return int(server.getsockname()[1])


@contextmanager
def holder(port: int) -> Iterator[int]:
    """A foreign program that listens there; its pid."""
    argv = [sys.executable, "-c", HOLDER, str(port)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"there\n"
            yield process.pid
        finally:
            process.kill()


def web(*ports: str | dict[str, Any], says: str = "hello", **more: Any) -> dict[str, Any]:
    """A service that answers at its port 80."""
    start = f"mkdir -p /www && echo {says} > /www/index.html && exec httpd -f -p 80 -h /www"
    return {"command": ["sh", "-c", start], "ports": [*ports], **NET, **more}


def says(port: int) -> str:
    """What answers there."""
    with urlopen(f"http://127.0.0.1:{port}/", timeout=10) as answer:
        return str(answer.read().decode().strip())


def port_of(shop: Shop, service: str = "web", *target: str) -> int:
    """What `dx port` says."""
    return int(shop.dx("port", service, *target).stdout.strip().rpartition(":")[2])


def told(stderr: str, service: str = "web") -> str:
    """The one line about a port of a service."""
    lines = [line for line in stderr.splitlines() if re.match(rf"(dx: )?{service}: (.* )?port ", line)]
    assert len(lines) == 1, stderr
    return lines[0]


def remembered(house: House) -> list[int]:
    """The ports that services of the house had last."""
    with sqlite3.connect(f"file:{house.state}/history.db?mode=ro", uri=True) as connection:
        return [port for (port,) in connection.execute("SELECT port FROM ports")]
