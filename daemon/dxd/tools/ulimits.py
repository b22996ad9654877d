"""Resource limits of a tool's runs as a table: `{ nofile = 1024, nproc = "100:200", stack = "unlimited" }`.

The names are those of `docker run --ulimit`. `read_ulimits` and `to_value` are inverse. Nothing here does I/O.
"""

from collections.abc import Mapping

from dxd.kit.toml import Spot, quote, table
from dxd.tools.model import Ulimit

NUMBERS: Mapping[str, int] = {
    name: number
    for number, name in enumerate(
        "cpu fsize data stack core rss nproc nofile memlock as locks sigpending msgqueue nice rtprio rttime".split()
    )
}
"""As asm-generic/resource.h of Linux has them."""
UNLIMITED = "unlimited"
_HINT = 'write a number, "SOFT:HARD", or "unlimited"'


def read_ulimits(value: object, spot: Spot) -> tuple[Ulimit, ...]:
    """The limits, in the order of their names; raises `BadToml`."""
    given = table(value, tuple(NUMBERS), spot)
    return tuple(_read(name, given[name], spot.at(name)) for name in sorted(given))


def to_value(limit: Ulimit) -> int | str:
    """What one looks like in the table."""
    if limit.soft != limit.hard:
        return f"{_text(limit.soft)}:{_text(limit.hard)}"
    return UNLIMITED if limit.soft is None else limit.soft


def _read(name: str, value: object, spot: Spot) -> Ulimit:
    if isinstance(value, int) and not isinstance(value, bool):
        return Ulimit(name, *[_bounded(value, spot)] * 2)
    if not isinstance(value, str):
        raise spot.bad("is no limit", _HINT)
    soft, colon, hard = value.partition(":")
    low, high = (_one(each, value, spot) for each in (soft, hard if colon else soft))
    if high is not None and (low is None or low > high):
        raise spot.bad(f"{quote(value)} has a soft limit above the hard one", _HINT)
    return Ulimit(name, low, high)


def _one(text: str, whole: str, spot: Spot) -> int | None:
    if text == UNLIMITED:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise spot.bad(f"{quote(whole)} is no limit", _HINT)
    return _bounded(int(text), spot)


def _bounded(number: int, spot: Spot) -> int:
    if not 0 <= number < 2**63:
        raise spot.bad("is too large" if number > 0 else "is no limit", _HINT)
    return number


def _text(limit: int | None) -> str:
    return UNLIMITED if limit is None else str(limit)
