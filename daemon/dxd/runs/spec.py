"""The finished spec of a run, as its agent gets it: a LEASE frame of the wire."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from dx import protocol
from dx.protocol import U32, U64, record, strings
from dxd.errors import BadRequest
from dxd.runs.closed import SYSTEM, is_in
from dxd.runs.command import Command
from dxd.runs.grants import PlacedGrant, Plan
from dxd.runs.model import Peer
from dxd.tools.model import Ulimit
from dxd.tools.ulimits import NUMBERS
from dxd.warm.model import Bind, Key, VolumeKind


@dataclass(frozen=True, slots=True)
class Spec:
    """Everything of a run that does not depend on which container takes it."""

    peer: Peer
    what: Command
    env: tuple[bytes, ...] = field(repr=False)
    plan: Plan
    home: bytes
    scratch_bytes: int
    ulimits: tuple[Ulimit, ...]
    key: Key
    portable: bool
    """The agent may be on another machine: neither clocks nor inodes can be compared."""

    def frame(self, run: int, token: bytes, expires: float) -> bytes:
        """The frame; `expires` is on `time.monotonic()`'s clock. Raises `BadRequest` where it is too long."""
        peer, plan = self.peer, self.plan
        parts = [
            record(protocol.R_RUN, U64.pack(run)),
            record(protocol.R_TOKEN, token),
            record(protocol.R_UID, U32.pack(peer.uid)),
            record(protocol.R_GID, U32.pack(peer.gid)),
            record(protocol.R_GROUPS, b"".join(map(U32.pack, peer.groups[:256]))),
            record(protocol.R_FILE, self.what.file + b"\0"),
            record(protocol.R_ARGV, strings(self.what.argv)),
            record(protocol.R_ENV, strings(self.env)),
            record(protocol.R_CWD, plan.cwd + b"\0"),
            record(protocol.R_SCRATCH, U64.pack(self.scratch_bytes)),
        ]
        if not self.portable:
            parts.append(record(protocol.R_DEADLINE, U64.pack(int(expires * 1e9))))
        if self.home and self.home != b"/" and not is_in(self.home, SYSTEM):
            parts.append(record(protocol.R_HOME, self.home + b"\0"))
        for limit in self.ulimits:
            numbers = (NUMBERS[limit.name], *(2**64 - 1 if each is None else each for each in (limit.soft, limit.hard)))
            parts.append(record(protocol.R_RLIMIT, b"".join(map(U64.pack, numbers))))
        parts += (record(protocol.R_LINK, path + b"\0" + target + b"\0") for path, target in plan.links)
        parts += self._grants(plan.grants)
        # Parents first, so that one does not hide another.
        for index, use in sorted(enumerate(self.key.volumes), key=lambda each: len(each[1].path)):
            if use.kind is VolumeKind.CACHE:
                parts.append(record(protocol.R_CACHE, U32.pack(index) + os.fsencode(use.path) + b"\0"))
        body = b"".join(parts)
        if len(body) > protocol.MAX_CONTROL_FRAME:
            raise BadRequest("the arguments and the environment are too long", "8 MiB at most")
        return protocol.frame(protocol.LEASE, body)

    def _grants(self, placed: Sequence[PlacedGrant]) -> Iterator[bytes]:
        """Those that the launcher opens, in its order; or all of them as mounts that the container has."""
        binds: Sequence[Bind | None] = self.key.binds or [None] * len(placed)
        for each, bind in zip(placed, binds, strict=True):
            flags = protocol.GRANT_RO * each.readonly | protocol.GRANT_DIR * each.directory
            target = each.target
            if each.new:
                flags, target = flags | protocol.GRANT_NEW, target + b"/" + each.new
            which = b""
            if bind is not None:
                flags |= protocol.GRANT_HERE
                which = U64.pack(0) * 2 if self.portable else U64.pack(bind.device) + U64.pack(bind.inode)
            yield record(protocol.R_GRANT, U32.pack(flags) + which + target + b"\0")
