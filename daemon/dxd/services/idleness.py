"""Who keeps a service awake, and when it has been idle for long enough: pure decisions.

What sleeps is called as soon as something that is wanted depends on it. What runs is kept awake by a connection
through one of its doors, by a service that depends on it, by a run that needs it, and by another project that uses it;
`sleeper` knows of those and acts.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from dxd.compose.model import ServiceName
from dxd.services import policy
from dxd.services.model import EndKind, Phase, Seen, Wanted, Will


@dataclass(frozen=True, slots=True)
class Use:
    """What is known of the use of a service."""

    now: bool = False
    """Something uses it."""
    last: float = 0.0
    """When something last did, as far as that is known."""


@dataclass(frozen=True, slots=True)
class Rest:
    """When a service may be stopped for want of use."""

    service: ServiceName
    at: float
    """Not before; if that has passed, now."""


def called(wanted: Wanted, seen: Seen) -> list[ServiceName]:
    """Services that sleep, and on which others depend that are wanted, directly or not."""
    found: dict[ServiceName, None] = {}
    pending = [name for name in wanted.services if wanted.will(name) is Will.UP]
    while pending:
        name = pending.pop()
        if not _goes_on(seen, name):
            continue
        for each in wanted.services[name].depends_on:
            other = each.service
            if other in wanted.services and wanted.will(other) is Will.ASLEEP and other not in found:
                found[other] = None
                pending.append(other)
    return [*found]


def dependants(wanted: Wanted, seen: Seen, name: ServiceName) -> list[ServiceName]:
    """Services that depend on it, and run or are about to."""
    return [
        other
        for other, service in wanted.services.items()
        if wanted.will(other) in (Will.UP, Will.STOPPING)
        and any(each.service == name for each in service.depends_on)
        and _goes_on(seen, other)
    ]


def rests(wanted: Wanted, seen: Seen, uses: Iterable[tuple[ServiceName, Use]], now: float) -> list[Rest]:
    """Of these services, those that nothing needs now, with when they may be stopped."""
    found = []
    for name, use in uses:
        idle_s = wanted.services[name].extras.idle_s
        if (
            idle_s is None
            or wanted.will(name) is not Will.UP
            or policy.phase(wanted, seen, name, now) is not Phase.READY
        ):
            continue
        if use.now or dependants(wanted, seen, name):
            # Whenever that ends, it cannot be idle for long enough before then.
            found.append(Rest(name, now + idle_s))
            continue
        ready = [seen.history(each).ready_at for each in seen.of(name)]
        found.append(Rest(name, max(use.last, *(now if each is None else each for each in ready)) + idle_s))
    return found


def _goes_on(seen: Seen, name: ServiceName) -> bool:
    """Whether a service that is wanted has a container that is not at its end."""
    for each in seen.of(name):
        end = seen.history(each).end
        over = end is not None and end.run == each.run and end.kind in (EndKind.DONE, EndKind.FAILED)
        if each.runs or not over:
            return True
    return False
