"""Which port a service gets: a pure decision.

The wanted one, if nobody has it, and no other service of ours had it last; else the one that it had last; else the
first free one of a series that is its own. So two worktrees keep what they have, whichever starts first, and a port
that some other program held for a while is taken again when that is gone.
"""

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping

from dxd.errors import PortTaken
from dxd.ports.model import Owner

RANGE = range(20000, 30000)
"""Below what the kernel gives to outgoing connections (ip_local_port_range, from 32768), and what Kubernetes takes."""


def series(owner: Owner, uid: int, ports: range = RANGE) -> Iterator[int]:
    """Every port of the range once, in an order of the owner's own: other users' and other worktrees' differ."""
    parts = (str(uid), owner.project, owner.root, owner.service, str(owner.target), owner.protocol)
    digest = hashlib.sha256("\0".join(parts).encode(errors="surrogateescape")).digest()
    size = len(ports)
    at, step = int.from_bytes(digest[:8]) % size, int.from_bytes(digest[8:16]) % size
    while math.gcd(step, size) != 1:
        step += 1
    for _ in range(size):
        yield ports[at]
        at = (at + step) % size


def choose(
    owner: Owner, wanted: int | None, *, remembered: Mapping[int, Owner], free: Callable[[int], bool], uid: int
) -> int:
    """The port. `remembered` is what each of ours had last; `free` says whether nobody has a port at the moment.

    Raises `PortTaken` where there is none left.
    """

    def possible(port: int) -> bool:
        return remembered.get(port, owner) == owner and free(port)

    if wanted is not None and possible(wanted):
        return wanted
    for port, each in remembered.items():
        if each == owner and port != wanted and free(port):
            return port
    for port in series(owner, uid):
        if possible(port):
            return port
    raise PortTaken(f"no port from {RANGE[0]} to {RANGE[-1]} is free", "see who has them: ss -lntup")
