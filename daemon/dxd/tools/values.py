"""Single values of a definition: texts, paths, numbers and sizes. Each function raises `BadToml`, and none does I/O."""

import os.path
from pathlib import Path

from dxd.kit.sizes import format_size, parse_size
from dxd.kit.toml import Spot, quote


def text(value: object, spot: Spot) -> str:
    """A text that argv, environment and paths can carry: no NUL, and no half of a UTF-16 pair, which JSON can bring."""
    if not isinstance(value, str):
        raise spot.bad("must be text")
    if "\0" in value:
        raise spot.bad("has a NUL character in it")
    if any("\ud800" <= c <= "\udfff" for c in value):
        raise spot.bad("is no valid Unicode")
    return value


def word(value: object, spot: Spot) -> str:
    """A text without white space, not empty."""
    said = text(value, spot)
    if not said or any(c.isspace() or not c.isprintable() for c in said):
        raise spot.bad(f"{quote(said)} must be one word")
    return said


def texts(value: object, spot: Spot) -> tuple[str, ...]:
    """A list of texts."""
    if not isinstance(value, list | tuple):
        raise spot.bad("must be a list of texts", 'write it like ["one", "two"]')
    return tuple(text(each, spot.at(index)) for index, each in enumerate(value))


def whole(value: object, spot: Spot, low: int, high: int) -> int:
    """A whole number from `low` to `high`."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise spot.bad("must be a whole number")
    if not low <= value <= high:
        raise spot.bad(f"must be from {low} to {high}")
    return value


def size(value: object, spot: Spot, low: int, why: str = "") -> int:
    """Bytes, at least `low`, as a number or with a unit; `why` says what a smaller one would do."""
    if isinstance(value, int) and not isinstance(value, bool):
        size_bytes = value
    else:
        said = text(value, spot)
        try:
            size_bytes = parse_size(said)
        except ValueError:
            raise spot.bad(f"{quote(said)} is not a size", "write it like 512m or 2g") from None
    if not low <= size_bytes < 2**63:
        raise spot.bad(f"must be at least {format_size(low)}{why}" if size_bytes < low else "is too large")
    return size_bytes


def path(value: object, spot: Spot, base: Path) -> str:
    """An absolute host path; `~` is the home directory."""
    said = text(value, spot)
    if not said:
        raise spot.bad("must be a path")
    if "://" in said:
        raise spot.bad(f"{quote(said)} is no path", "only what is on this machine's disk can be used")
    return "/" + os.path.normpath(base / expanded(said, spot)).lstrip("/")


def expanded(said: str, spot: Spot) -> str:
    """A path with the home directory in place of `~`."""
    found = str(Path(said).expanduser()) if said.startswith("~/") or said == "~" else said
    if found.startswith("~"):
        raise spot.bad(f"{quote(said)} cannot be resolved", "write the path out; only ~ alone stands for your home")
    return found
