"""What the service manager is told: ready, stopping, alive. The protocol of sd_notify(3), without its library.

Without a service manager nothing is sent, and nothing fails; a manager that has gone away is no failure either.
"""

import os
import socket
from collections.abc import Mapping
from contextlib import suppress
from typing import Self

VARIABLES = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")
"""Meant for the daemon alone: to be taken out of the environment once they are read."""


class Notifier:
    """Speaks to the service manager; owned by `stages.serve`."""

    def __init__(self, address: str | None, watchdog_s: float | None = None) -> None:
        self.watchdog_s = watchdog_s
        """The manager ends a daemon that was silent for so long; None is no watchdog."""
        self._address = "\0" + address[1:] if address and address.startswith("@") else address
        self._socket: socket.socket | None = None

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Self:
        """What an environment says of the service manager."""
        address = environ.get("NOTIFY_SOCKET")
        if not address or address[0] not in "/@":
            return cls(None)
        microseconds = environ.get("WATCHDOG_USEC", "")
        meant_for_us = environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        if meant_for_us and microseconds.isascii() and microseconds.isdigit() and int(microseconds) > 0:
            return cls(address, int(microseconds) / 1e6)
        return cls(address)

    def ready(self) -> None:
        """The daemon serves."""
        self._send("READY=1")

    def stopping(self) -> None:
        """The daemon has begun to stop."""
        self._send("STOPPING=1")

    def status(self, text: str) -> None:
        """One line for people, shown by `systemctl status`."""
        self._send("STATUS=" + " ".join(text.split()))

    def alive(self) -> None:
        """The event loop still turns."""
        self._send("WATCHDOG=1")

    def close(self) -> None:
        """Close the socket."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, text: str) -> None:
        if self._address is None:
            return
        with suppress(OSError):
            if self._socket is None:
                self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
                self._socket.settimeout(0)
            self._socket.sendto(text.encode(), self._address)
