"""What the kernel knows of ports: whether one can be had, and which process has it.

Reads /proc, proc(5), of our own network namespace. Whose a socket of another user is, only its uid tells. Blocks for
milliseconds; raises nothing.
"""

import errno
import ipaddress
import os
import pwd
import socket
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path

from dxd.ports.model import Bound, Protocol

_LISTENS = {"tcp": "0A", "udp": "07"}
"""The state in the table: TCP_LISTEN, and TCP_CLOSE, as which a UDP socket goes that has no peer."""


def parse(text: str, protocol: Protocol) -> Iterator[Bound]:
    """The sockets of /proc/net/tcp or one of its kin that wait for others; pure."""
    for line in text.splitlines()[1:]:
        fields = line.split()
        if len(fields) > 9 and fields[3] == _LISTENS[protocol]:
            address, _, port = fields[1].partition(":")
            yield Bound(_address(address), int(port, 16), int(fields[9]), int(fields[7]))


def bound(protocol: Protocol) -> list[Bound]:
    """Every socket that waits for others."""
    found: list[Bound] = []
    for name in (protocol, f"{protocol}6"):
        with suppress(OSError):
            found += parse(Path("/proc/net", name).read_text(encoding="ascii"), protocol)
    return found


def free(address: str, port: int, protocol: Protocol) -> bool:
    """Whether somebody could have that port at that address now. An empty address is all, of both families."""
    places = [address] if address else ["0.0.0.0", "::"]  # noqa: S104 - what compose publishes at by default
    return all(_free(each, port, protocol) for each in places)


def holder(addresses: Collection[str], port: int, protocol: Protocol) -> Bound | None:
    """The socket that is in the way at one of these; none is all of them."""
    for each in bound(protocol):
        if each.port == port and meet([each.address], addresses):
            return each
    return None


def meet(some: Collection[str], others: Collection[str]) -> bool:
    """Whether who has a port at some addresses is in the way of others; none is all of them."""
    if not some or not others:
        return True
    return any(_any(each) or _any(other) or each == other for each in some for other in others)


def process(inode: int) -> tuple[int, str] | None:
    """The process that has a socket open, its pid and its name; None where it is another user's."""
    link = f"socket:[{inode}]"
    for descriptors in Path("/proc").glob("[0-9]*/fd"):
        with suppress(OSError):
            for number in os.listdir(descriptors):
                with suppress(OSError):
                    if os.readlink(descriptors / number) == link:  # noqa: PTH115 - a Path of it would be no text
                        name = (descriptors.parent / "comm").read_text(errors="replace").strip()
                        return int(descriptors.parent.name), name
    return None


def user(uid: int) -> str:
    """A user's name, else the number."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def _free(address: str, port: int, protocol: Protocol) -> bool:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
    try:
        with socket.socket(family, kind) as probe:
            if family == socket.AF_INET6:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            if protocol == "tcp":  # what waits for its last packets does not count, only who listens
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((address, port))
            if protocol == "tcp":
                probe.listen(1)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return False
        if error.errno in (errno.EACCES, errno.EPERM):  # below 1024; the engine may have it
            return holder([address], port, protocol) is None
        return error.errno in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)  # nothing can be in the way there
    return True


def _any(address: str) -> bool:
    return address in {"", "0.0.0.0", "::"}  # noqa: S104 - compared, not listened at


def _address(text: str) -> str:
    """From the kernel's way: words of four bytes, in the machine's order."""
    packed = b"".join(bytes.fromhex(text[at : at + 8])[::-1] for at in range(0, len(text), 8))
    found = ipaddress.ip_address(packed)
    mapped = getattr(found, "ipv4_mapped", None)
    return str(mapped or found)
