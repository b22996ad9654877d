"""What to execute: a command of the image by name, or the entrypoint with the caller's arguments, as the engine
would.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from dxd.errors import NoCommand


@dataclass(frozen=True, slots=True)
class Command:
    """What the agent executes."""

    file: bytes
    """A path, or a name to look up in the run's PATH."""
    argv: tuple[bytes, ...]
    """The whole of it; the first is the bare name."""


def choose(
    *,
    command: bytes | None,
    entrypoint: Sequence[str],
    default: Sequence[str],
    args: tuple[bytes, ...],
    name: str,
) -> Command:
    """`command` is one that the tool offers by name, or None for the entrypoint; `default` is the image's CMD.

    Raises `NoCommand` where nothing says what to run.
    """
    prefix = tuple(each.encode(errors="surrogateescape") for each in entrypoint)
    if command is not None:
        line = (*prefix, command, *args)
    else:
        line = (*prefix, *(args or (each.encode(errors="surrogateescape") for each in default)))
    if not line or not line[0]:
        raise NoCommand(
            f"{name}: the image has no ENTRYPOINT and no CMD", f"say what to run in it: dx run {name} COMMAND [ARG...]"
        )
    return Command(line[0], (line[0].rpartition(b"/")[2] or line[0], *line[1:]))
