"""Sizes in bytes as Docker writes them: `512m`, `2g`, `1.5GiB`; all units are powers of 1024."""

import re

_SIZE = re.compile(r"(\d{1,19}(?:\.\d{1,9})?) ?([kmgtp]?)(?:i?b)?", re.ASCII | re.IGNORECASE)
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}
MAX_BYTES = 2**63 - 1
"""What the engine's API can carry."""


def parse_size(text: str) -> int:
    """The bytes that `text` says; raises `ValueError` if it is no size or more than `MAX_BYTES`."""
    match = _SIZE.fullmatch(text.strip())
    if not match:
        raise ValueError(f"not a size: {text!r}")
    number, unit = match.groups()
    whole, _, fraction = number.partition(".")
    factor: int = 1024 ** _POWERS[unit.lower()]
    size = int(whole) * factor + (int(fraction) * factor // 10 ** len(fraction) if fraction else 0)
    if size > MAX_BYTES:
        raise ValueError(f"too large: {text!r}")
    return size


def format_size(size_bytes: int) -> str:
    """The shortest exact text for it: in the largest unit that divides it (`512m`, `1536k`, `1000b`)."""
    for unit in "ptgmk":
        factor: int = 1024 ** _POWERS[unit]
        if size_bytes and size_bytes % factor == 0:
            return f"{size_bytes // factor}{unit}"
    return f"{size_bytes}b"
