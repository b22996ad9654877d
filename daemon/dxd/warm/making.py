"""What a warm container is made of: pure functions from its key to what the engine and the agent are told."""

import io
import os
import tarfile
from collections.abc import Mapping
from pathlib import Path

from dx import protocol
from dx.protocol import U32, U64, record
from dxd.engine.model import ContainerSpec, Publication, VolumeSpec
from dxd.warm.model import Identity, Key, VolumeKind
from dxd.warm.volumes import labels_of, volume_name

CAPABILITIES = (
    "SYS_ADMIN", "SYS_CHROOT", "SETUID", "SETGID", "SETPCAP", "SETFCAP",
    "DAC_OVERRIDE", "CHOWN", "FOWNER", "FSETID", "KILL", "MKNOD",
)  # fmt: skip
"""The agent's own; a run holds none. The last six are what overlayfs needs to copy files up on a run's behalf."""

AGENT = "/.dx/bin/agent"
"""The program in a container."""


def spec(
    name: str,
    key: Key,
    *,
    instance: str,
    labels: Mapping[str, str],
    binds: tuple[tuple[str, str], ...],
    apparmor_unconfined: bool,
) -> ContainerSpec:
    """What the engine is to create; `binds` are read-only."""
    return ContainerSpec(
        name=name,
        image=key.image,
        entrypoint=(AGENT,),
        network=key.network,
        labels=labels,
        volumes=tuple(
            VolumeSpec(volume_name(instance, use), f"/.dx/v/{index}", labels_of(instance, use))
            for index, use in enumerate(key.volumes)
        ),
        anonymous=("/.dx/s",) if key.scratch == "disk" else (),
        binds=binds,
        writable=tuple((each.source, f"/.dx/g/{index}") for index, each in enumerate(key.binds)),
        memory_bytes=key.memory_bytes,
        cpus=key.cpus,
        pids=key.pids,
        ports=tuple(Publication(each.address, each.host, each.container, each.protocol) for each in key.ports),
        devices=tuple((each.source, each.target, each.mode) for each in key.devices),
        gpus=key.gpus,
        hostname=key.hostname,
        capabilities=CAPABILITIES,
        apparmor_unconfined=apparmor_unconfined,
    )


def setup(key: Key, who: Identity, *, once: bool) -> bytes:
    """The SETUP frame's payload for its agent; with `once` the container takes one run, without an overlay."""
    payload = record(protocol.R_OWNER, U32.pack(who.uid)) + record(protocol.R_GID, U32.pack(who.gid))
    payload += record(protocol.R_PASSWD, who.passwd.encode())
    payload += b"".join(record(protocol.R_GROUP, line.encode()) for line in who.groups)
    if key.memory_bytes is not None:
        payload += record(protocol.R_MEMORY, U64.pack(key.memory_bytes))
    for index, use in enumerate(key.volumes):
        if use.kind is VolumeKind.ROOT:
            payload += record(protocol.R_ROOT, U32.pack(protocol.ROOT_KEPT) + U32.pack(index))
    if once:
        payload += record(protocol.R_ROOT, U32.pack(protocol.ROOT_ONCE) + U32.pack(0))
    elif key.scratch == "disk":
        payload += record(protocol.R_ROOT, U32.pack(protocol.ROOT_DISK) + U32.pack(0))
    if key.user:
        payload += record(protocol.R_PASSWD, b"root:x:0:0:root:/root:/bin/sh")
        payload += record(protocol.R_GROUP, b"root:x:0:")
        payload += record(protocol.R_USER, key.user.encode())
        payload += record(protocol.R_GROUPS, b"".join(map(U32.pack, who.gids[:256])))
    if key.gpus:
        payload += record(protocol.R_DRIVERS, b"")
    if who.home:
        payload += record(protocol.R_HOME, os.fsencode(who.home) + b"\0")
    return payload


def archive(program: Path) -> bytes:
    """A tar archive with the agent where a container has it."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name in (".dx", ".dx/bin"):
            directory = tarfile.TarInfo(name)
            directory.type, directory.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(directory)
        content = program.read_bytes()
        entry = tarfile.TarInfo(AGENT.removeprefix("/"))
        entry.mode, entry.size = 0o755, len(content)
        tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()
