"""Moments as people write them: `10m` ago, or a time; pure."""

import re
from datetime import datetime

from dxd.errors import BadRequest, Refused
from dxd.logs.model import Stamp, stamp_of

PATTERN = (
    r"^([0-9]{1,9}(\.[0-9]{1,9})?(ms|s|m|h|d|w))+$"
    r"|^[0-9]{1,11}(\.[0-9]{1,9})?$"
    r"|^[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,9})?)?(Z|[+-][0-9]{2}:[0-9]{2})?)?$"
)
"""Durations like Go's, with days and weeks; seconds since 1970; RFC 3339 with what is at its end left out."""

_UNITS_NS = {
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
    "d": 86400 * 10**9,
    "w": 7 * 86400 * 10**9,
}
_SHAPE = re.compile(PATTERN)
_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d|w)")
_FRACTION = re.compile(r"\.([0-9]+)")
HINT = "write it like 10m, 2h30m, 2026-11-24T19:00:00Z, or 2026-11-24"


def parse(text: str, now_ns: int) -> Stamp:
    """The moment that a text says, `now_ns` being in nanoseconds since 1970.

    Without a zone it is the daemon's local time. Raises `BadRequest`, and `Refused` where no calendar has it.
    """
    if not _SHAPE.fullmatch(text):
        raise BadRequest("a moment cannot be read", HINT)
    if parts := _PART.findall(text):
        return stamp_of(max(1, now_ns - sum(_scaled(number, _UNITS_NS[unit]) for number, unit in parts)))
    if "-" not in text:
        return stamp_of(max(1, _scaled(text, 10**9)))
    fraction = _FRACTION.search(text)
    try:
        whole = datetime.fromisoformat(_FRACTION.sub("", text))
        seconds = int(whole.timestamp())
    except (ValueError, OverflowError, OSError):
        raise Refused("a moment is in no calendar", HINT) from None
    return stamp_of(max(1, seconds * 10**9 + (int(fraction[1].ljust(9, "0")) if fraction else 0)))


def _scaled(number: str, unit_ns: int) -> int:
    whole, _, fraction = number.partition(".")
    return int(whole) * unit_ns + (int(fraction) * unit_ns // 10 ** len(fraction) if fraction else 0)
