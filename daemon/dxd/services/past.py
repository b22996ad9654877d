"""What of the past of services outlives the daemon: falls that still count, as they are kept, and back again. Pure.

Times are those of the monotonic clock, which goes on over a restart of the daemon and stands still while the machine is
suspended; nothing that is done to the machine's time changes them. With another boot all is forgotten: whatever
fell, fell on another day's machine.
"""

from collections.abc import Iterable, Mapping

from dxd.compose.model import ServiceName
from dxd.services import histories
from dxd.services.model import End, EndKind, History
from dxd.store.model import KnownFall, KnownPast

Key = tuple[ServiceName, int]


def of(every: Mapping[Key, History]) -> dict[Key, History]:
    """What still counts of these, and nothing of those that have none."""
    found = {}
    for key, each in every.items():
        crashed = each.end if each.end is not None and each.end.kind is EndKind.CRASHED else None
        if each.deaths or each.streak or crashed or each.gave_up:
            found[key] = History(deaths=each.deaths, streak=each.streak, end=crashed, gave_up=each.gave_up)
    return found


def kept(past: Mapping[Key, History], name: ServiceName, boot: str) -> tuple[KnownPast, ...]:
    """Of one service, as it is kept."""
    return tuple(
        KnownPast(boot, number, each.deaths, each.streak, _fall(each.end), _fall(each.gave_up))
        for (service, number), each in sorted(past.items())
        if service == name
    )


def known(name: ServiceName, rows: Iterable[KnownPast], boot: str, now: float) -> dict[Key, History]:
    """Of one service, as it was kept: what counts now, in this boot."""
    found = {}
    for each in rows:
        end, gave_up = _end(each.fell, EndKind.CRASHED), _end(each.gave_up, EndKind.FAILED)
        times = [*each.deaths, *(one.at for one in (end, gave_up) if one is not None)]
        if not boot or each.boot != boot or any(at > now for at in times):
            continue
        if not any(now - at < histories.WINDOW_S for at in times) and gave_up is None:
            continue
        found[name, each.number] = History(deaths=each.deaths, streak=each.streak, end=end, gave_up=gave_up)
    return found


def _fall(end: End | None) -> KnownFall | None:
    return None if end is None else KnownFall(end.run, end.reason, end.at)


def _end(fall: KnownFall | None, kind: EndKind) -> End | None:
    return None if fall is None else End(fall.run, kind, fall.reason, fall.at)
