"""Which images have to be pulled and built before containers of services can be made; pure.

Compose does both by itself when it makes containers. Nobody can look after a project's containers meanwhile, so it is
done before, by Compose too, and by its own rules: `pull_policy`, and what can be built is pulled first where it has a
name. Where they need more than to know whether an image is there, the rest is left to Compose.
"""

from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from dxd.compose.model import ProjectName, Service, ServiceName

_AT_HAND = ("", "missing", "if_not_present")
"""Policies by which an image that is there is not pulled; the first is that of a service without one."""
_NOT_PULLED = ("never", "build")


@dataclass(frozen=True, slots=True)
class Pulls:
    """What to pull."""

    needed: tuple[ServiceName, ...] = ()
    tried: tuple[ServiceName, ...] = ()
    """They are built where there is nothing to pull."""


def names_of(project: ProjectName, service: Service) -> tuple[str, ...]:
    """What a service's image may be called; several where only Compose knows whether it is compatible with its first
    version.
    """
    return (service.image,) if service.image is not None else (f"{project}-{service.name}", f"{project}_{service.name}")


def pulls(services: Iterable[Service], there: AbstractSet[str], *, build: bool) -> Pulls:
    """What to pull where images of these names are there; with `build` all is built that can be."""
    every = list(services)
    made = {each.image for each in every if each.build is not None}
    needed: list[ServiceName] = []
    tried: list[ServiceName] = []
    for each in every:
        policy = str(each.raw.get("pull_policy") or "")
        if each.image is None or policy in _NOT_PULLED or (build and each.build is not None):
            continue
        if policy == "always" or each.image not in there:
            (tried if each.image in made else needed).append(each.name)
    return Pulls(tuple(needed), tuple(tried))


def builds(
    project: ProjectName, services: Iterable[Service], there: AbstractSet[str], *, build: bool
) -> list[ServiceName]:
    """What to build once all is pulled."""
    return [
        each.name
        for each in services
        if each.build is not None
        and (build or each.raw.get("pull_policy") == "build" or there.isdisjoint(names_of(project, each)))
    ]


def known(service: Service) -> bool:
    """Whether that is all that the service needs: no other platform, no age of an image, no image of a hook."""
    policy = str(service.raw.get("pull_policy") or "")
    plain = policy in (*_AT_HAND, *_NOT_PULLED, "always")
    return plain and not service.raw.get("platform") and not service.raw.get("pre_start")
