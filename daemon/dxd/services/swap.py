"""How a new container takes the place of one that runs: pure decisions. The doer is `swaps`.

While two are there, the names say which is which: `shop-web-1-next` is on trial, `shop-web-1-prev` is about to go.
Neither is looked after as a container of its service.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from dxd.compose.model import OnChange, Service, ServiceName
from dxd.engine.model import ContainerStatus, Health, ImageId, Inspected

NEXT, PREVIOUS = "-next", "-prev"
TRIAL_S = 60.0
"""For a new container to become healthy, where its health check has no start period."""
ALIVE_S = 2.0
"""One without any check has to live for so long."""
BESIDE_S = 2.5
"""How long the old one serves on beside one that is healthy. Whoever keeps the address of a name for a second or two,
as nginx with `valid=1s` does, knows of the new one only after that."""


class Way(StrEnum):
    """How a container is exchanged."""

    BESIDE = "beside"
    """Both run until the new one is healthy."""
    AFTER = "after"
    """Two cannot run at once: the old one is stopped before, and started again if the new one is no good."""
    IN_PLACE = "in place"
    """There can be but one: it is made anew, and made anew from the old image if the new one is no good."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A way, and why it is not a better one."""

    way: Way
    reason: str = ""


def way_of(service: Service, containers: Iterable[Inspected]) -> Choice:
    """How this service's containers can be exchanged: the first that is safe for its data."""
    raw = service.raw
    if raw.get("container_name"):
        return Choice(Way.IN_PLACE, "it has a container_name")
    if service.by_compose:
        return Choice(Way.IN_PLACE, "Compose itself has to start it")
    if any(each.anonymous for each in containers):
        return Choice(Way.IN_PLACE, "it has a volume without a name")
    for port in service.ports:
        if port.published:
            return Choice(Way.AFTER, f"its port {port.published} can be only one container's")
    for shared in _writes(raw):
        return Choice(Way.AFTER, f"it writes to {shared}")
    if raw.get("network_mode") not in (None, "none", "bridge", "default"):
        return Choice(Way.AFTER, f"its network is that of {raw['network_mode']}")
    networks = raw.get("networks")
    for each in _mappings(networks.values() if isinstance(networks, dict) else ()):
        if any(each.get(key) for key in ("ipv4_address", "ipv6_address", "mac_address", "link_local_ips")):
            return Choice(Way.AFTER, "its address can be only one container's")
    if raw.get("devices"):
        return Choice(Way.AFTER, "its device can be only one container's")
    return Choice(Way.BESIDE)


def joins(service: Service) -> frozenset[ServiceName]:
    """The services in whose containers' namespaces those of this one are, each in that of a certain container."""
    written = (str(service.raw.get(key) or "").partition(":") for key in ("network_mode", "pid", "ipc"))
    return frozenset(ServiceName(name) for kind, _, name in written if kind == "service")


def labelled_by_ids(service: Service) -> bool:
    """Whether the hash that Compose labels its containers with shows ids of others' containers, as no file does."""
    return bool(joins(service) or service.raw.get("volumes_from"))


def _mappings(values: object) -> list[Mapping[str, object]]:
    return [each for each in values if isinstance(each, dict)] if isinstance(values, Iterable) else []


def _writes(raw: Mapping[str, object]) -> Iterator[str]:
    """What it writes to that another container has as well, for people."""
    for each in _mappings(raw.get("volumes")):
        if each.get("type") in ("volume", "bind") and not each.get("read_only"):
            yield str(each.get("source") or each.get("target"))
    others = raw.get("volumes_from")
    for other in others if isinstance(others, list) else ():
        if not str(other).endswith(":ro"):
            yield f"the volumes of {other}"


@dataclass(frozen=True, slots=True)
class Picture:
    """A service whose files may say something else than its containers do."""

    runs: bool
    """A container of it does; it is wanted in any case, at least by whoever connects to it."""
    image: ImageId | None
    """What its image's name means now; None where there is no such image."""
    images: frozenset[ImageId]
    """Of its containers."""
    hash: str
    """What Compose would label a container with now; empty where that is not known."""
    hashes: frozenset[str]
    """That its containers are labelled with."""
    way: Way
    on_change: OnChange = OnChange.BUILD
    may_follow: bool = True
    """Another definition may be applied without anybody having asked for it."""
    provided: bool = False
    """It depends on a provider, whose variables Compose gives only to what it makes together with all that it needs."""
    joined: bool = False
    """Others' containers are in the namespaces of its own, and would be in those of one that is gone."""
    failed: tuple[ImageId, str] | None = None
    """The image and the hash that were tried, and were no good."""


class Do(StrEnum):
    """What to do about a service's containers."""

    NOTHING = "nothing"
    SWAP = "swap"
    REMAKE = "remake"
    """They do not run, so there is nothing to be careful about."""
    TELL = "tell"


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do, and why; a reason of `TELL` is for people."""

    do: Do
    reason: str


def decide(it: Picture) -> Decision:
    """Exchange what is not as it should be, as far as the service lets that be done without being asked."""
    if it.image is None or not it.images:
        return Decision(Do.NOTHING, "there is nothing to compare")
    built = it.images != {it.image}
    defined = bool(it.hash) and it.hashes != {it.hash}
    if not built and not defined:
        return Decision(Do.NOTHING, "it is what its files say")
    if it.failed == (it.image, it.hash):
        return Decision(Do.NOTHING, "that has been tried, and was no good")
    what = "its image is another one by now" if built else "its definition has changed"
    if it.on_change is OnChange.TELL or it.provided or it.joined or (defined and not it.may_follow):
        return Decision(Do.TELL, f"{what}; to apply that: dx up")
    if not it.runs:
        return Decision(Do.REMAKE, f"{what}, and it does not run")
    if defined and it.way is Way.IN_PLACE:
        # There would be no way back: the files do not say any more how the old one was made.
        return Decision(Do.TELL, f"{what}; to apply that: dx up")
    return Decision(Do.SWAP, what)


class Verdict(StrEnum):
    """How a container on trial is."""

    GOOD = "good"
    BAD = "bad"
    WAIT = "wait"


def judge(container: Inspected | None, *, passed: bool, own_test: bool, ran_s: float) -> tuple[Verdict, str]:
    """What is seen of one that was started so long ago; the reason is for people.

    `passed` says that dx's own test of it has succeeded, which is `ready` of `x-dx` where `own_test` is set.
    """
    if container is None:
        return Verdict.BAD, "was removed"
    if container.status is not ContainerStatus.RUNNING:
        return Verdict.BAD, f"is {container.status}, status {container.exit_code}"
    if container.health is Health.UNHEALTHY:
        words = " ".join(container.health_output.split())[:200]
        return Verdict.BAD, f"is unhealthy: {words}" if words else "is unhealthy"
    if passed or (container.health is Health.HEALTHY and not own_test):
        return Verdict.GOOD, ""
    has_check = own_test or container.check is not None
    if not has_check and ran_s >= ALIVE_S:
        return Verdict.GOOD, ""
    most_s = (container.check.start_s if container.check is not None else 0.0) or TRIAL_S
    if has_check and ran_s >= most_s:
        return Verdict.BAD, f"was not healthy within {most_s:g} s"
    return Verdict.WAIT, ""


class Mend(StrEnum):
    """What to do with what an exchange left behind that was cut off."""

    REMOVE = "remove"
    RENAME = "rename"
    """To the name without what it has at the end."""


def leftovers(names: Iterable[str]) -> dict[str, Mend]:
    """What to do with containers of an exchange that nobody goes on with, by all names of a project's containers."""
    every = set(names)
    found: dict[str, Mend] = {}
    for name in sorted(every):
        base = base_of(name)
        if base is None:
            continue
        if base in every or found.get(f"{base}{NEXT}") is Mend.RENAME:
            found[name] = Mend.REMOVE
        else:
            # The one on trial was found good, if the old one has given up its name.
            found[name] = Mend.RENAME
    return found


def base_of(name: str) -> str | None:
    """The name that a container of an exchange is to have, or had; None for any other name."""
    for end in (NEXT, PREVIOUS):
        if name.endswith(end):
            return name.removesuffix(end)
    return None


def is_aside(name: str, project: str, service: str) -> bool:
    """Whether a service's container of that name belongs to an exchange, and is not looked after.

    One that has such a name from its compose file does not, because it is not Compose that gave it.
    """
    base = base_of(name)
    return base is not None and re.fullmatch(rf"{re.escape(project)}[-_]{re.escape(service)}[-_]\d+", base) is not None
