"""Carries out a batch of `develop.watch` on one container: files by the engine's archive API, as Compose does.

Files belong to the container's user. What is removed is removed by the container's own `rm`, because the engine has no
call for it. Holds nothing. Raises `ServiceFailed`, and what the engine raises.
"""

import asyncio
import io
import os
import stat
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from dxd.develop.rules import Batch, Command
from dxd.engine.model import ContainerId
from dxd.engine.supervised import Supervised
from dxd.errors import ServiceFailed

PIECE_BYTES = 16 << 20
"""Of files in one archive; one that is larger has an archive of its own."""
PUT_S = 120.0
REMOVE_S = 30.0
COMMAND_S = 600.0
MAX_ARGUMENTS = 500


async def carry_out(containers: Supervised, container: ContainerId, batch: Batch) -> None:
    """Remove, copy, then run what is to be run; a restart is the caller's."""
    for at in range(0, len(batch.removals), MAX_ARGUMENTS):
        argv = ["rm", "-rf", "--", *batch.removals[at : at + MAX_ARGUMENTS]]
        status, printed = await containers.run(container, argv, user="0", deadline_s=REMOVE_S)
        if status:
            raise ServiceFailed(f"files could not be removed: {printed or f'rm ended with {status}'}")
    for piece in _pieces(batch.copies):
        archive = await asyncio.to_thread(_archive, piece)
        await containers.put(container, archive, deadline_s=PUT_S)
    for command in batch.commands:
        await _run(containers, container, command)


async def _run(containers: Supervised, container: ContainerId, command: Command) -> None:
    status, printed = await containers.run(
        container,
        command.argv,
        user=command.user,
        working_dir=command.working_dir,
        environment=command.environment,
        privileged=command.privileged,
        deadline_s=COMMAND_S,
    )
    if status:
        last = printed.splitlines()[-1] if printed else ""
        raise ServiceFailed(f"{command.argv[0]} ended with status {status}{f': {last}' if last else ''}")


def _pieces(copies: Sequence[tuple[str, str]]) -> Iterator[list[tuple[str, str]]]:
    piece: list[tuple[str, str]] = []
    size = 0
    for host, inside in copies:
        try:
            size += os.lstat(host).st_size
        except OSError:
            continue  # it has gone again, which is told of in a moment
        piece.append((host, inside))
        if size >= PIECE_BYTES:
            yield piece
            piece, size = [], 0
    if piece:
        yield piece


def _archive(copies: Sequence[tuple[str, str]]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for host, inside in copies:
            try:
                status = os.lstat(host)
                entry = tarfile.TarInfo(inside.lstrip("/"))
                entry.mode, entry.mtime = stat.S_IMODE(status.st_mode), int(status.st_mtime)
                if stat.S_ISLNK(status.st_mode):
                    entry.type, entry.linkname = tarfile.SYMTYPE, os.readlink(host)  # noqa: PTH115 - Path changes it
                    tar.addfile(entry)
                elif stat.S_ISREG(status.st_mode):
                    with Path(host).open("rb") as file:
                        data = file.read()
                    entry.size = len(data)
                    tar.addfile(entry, io.BytesIO(data))
            except OSError:
                continue
    return buffer.getvalue()
