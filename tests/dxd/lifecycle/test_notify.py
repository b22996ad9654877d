"""What the service manager hears, on real datagram sockets."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from dxd.lifecycle.notify import Notifier


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    """A socket of a service manager, and its address as NOTIFY_SOCKET gives it."""
    address = str(tmp_path / "notify") if request.param == "path" else f"@dx-test-notify-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind("\0" + address[1:] if address.startswith("@") else address)
        sock.settimeout(10)
        yield sock, address


def test_each_state_is_one_datagram(manager: tuple[socket.socket, str]) -> None:
    """A status is one line, whatever it is made of."""
    sock, address = manager
    notifier = Notifier.of({"NOTIFY_SOCKET": address})
    notifier.ready()
    notifier.status("two\nlines\nREADY=1")
    notifier.alive()
    notifier.stopping()
    heard = [sock.recv(1000) for _ in range(4)]
    assert heard == [b"READY=1", b"STATUS=two lines READY=1", b"WATCHDOG=1", b"STOPPING=1"]
    notifier.close()
    notifier.close()


def test_without_a_manager_nothing_is_sent(tmp_path: Path) -> None:
    for address in ("", "relative", "vsock:1:2"):
        Notifier.of({"NOTIFY_SOCKET": address}).ready()
    Notifier.of({}).ready()


def test_a_manager_that_is_gone_is_no_failure(tmp_path: Path) -> None:
    notifier = Notifier.of({"NOTIFY_SOCKET": str(tmp_path / "gone")})
    notifier.ready()
    notifier.close()


@pytest.mark.parametrize(
    ("variables", "watchdog_s"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "-5"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_the_watchdog_is_the_managers_wish(variables: dict[str, str], watchdog_s: float | None) -> None:
    """And only if it is meant for this process."""
    assert Notifier.of({"NOTIFY_SOCKET": "/notify", **variables}).watchdog_s == watchdog_s
    assert Notifier.of(variables).watchdog_s is None
