"""Which port a service gets: a pure decision.

The wanted one, if nobody has it, and no other service of ours had it last; else another that would do as well; else the
one that it had last; else the first free one of a series that is its own. So two worktrees keep what they have,
whichever starts first. What a service had comes first where its container is not to be made anew for it.
"""

import hashlib
import math
from collections.abc import Callable, Iterator, Sequence

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
    owner: Owner,
    *,
    also: Sequence[int] = (),
    had: int | None,
    stays: bool = False,
    possible: Callable[[int], bool],
    uid: int,
) -> int:
    """The port. `also` are those that would do as well as the wanted one, the best first; `had` is what the owner had
    last, and with `stays` it keeps that though it could have the wanted one; `possible` says of a port that nobody else
    has it, nor had it last.

    Raises `PortTaken` where there is none left.
    """
    first = (had, owner.wanted, *also) if stays else (owner.wanted, *also, had)
    for port in first:
        if port is not None and possible(port):
            return port
    for port in series(owner, uid):
        if possible(port):
            return port
    raise PortTaken(f"no port from {RANGE[0]} to {RANGE[-1]} is free", "see who has them: ss -lntup")
