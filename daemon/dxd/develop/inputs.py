"""What a service's image is built from: what to watch of it, and a digest of its content.

A service with `develop.watch` says itself what it is built anew for: its rules with `rebuild`, and the Dockerfile. Of
every other one all that its build takes counts. Functions that read files block; they raise `BuildFailed`.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dxd.compose.model import Service
from dxd.develop import rules
from dxd.develop.rules import Listing, Prints
from dxd.errors import BuildFailed
from dxd.images import context
from dxd.images.context import Recipe
from dxd.images.identity import Memory, identify
from dxd.rebuild.watching import same_watch, specs_of
from dxd.tools.model import Build
from dxd.watch.model import File, Spec, Tree


@dataclass(frozen=True, slots=True)
class Watched:
    """What is watched for one service."""

    service: Service
    builds: tuple[Build, ...]
    recipes: tuple[Recipe, ...]
    specs: tuple[Spec, ...]
    directories: tuple[bool, ...] = ()
    """Which of the rules' paths are directories."""


def builds_of(service: Service) -> tuple[Build, ...]:
    """The build of a service, then one for each other directory that it takes files from; none that are elsewhere."""
    raw = service.build
    if raw is None:
        return ()
    directory = Path(str(raw.get("context") or ""))
    if not directory.is_absolute():
        return ()  # a repository's address
    file = directory / str(raw["dockerfile"]) if raw.get("dockerfile") else None
    args = raw.get("args")
    pairs = sorted((str(key), str(value)) for key, value in args.items()) if isinstance(args, Mapping) else []
    target = str(raw["target"]) if raw.get("target") else None
    found = [Build(directory, file, target, tuple(pairs))]
    more = raw.get("additional_contexts")
    for where in more.values() if isinstance(more, Mapping) else ():
        if str(where).startswith("/"):
            found.append(Build(Path(str(where)), file or directory / "Dockerfile"))
    return tuple(found)


def watched(service: Service, before: Watched | None) -> Watched:
    """What to watch of a service; what is equal to what was watched before is that again."""
    builds = builds_of(service)
    recipes: tuple[Recipe, ...] = ()
    specs: tuple[Spec, ...]
    if service.watch:
        dockerfiles = [str(each.file or each.context / "Dockerfile") for each in builds[:1]]
        directories = rules.directories(service)
        now = service.watch, builds, directories
        if before is not None and (before.service.watch, before.builds, before.directories) == now:
            return Watched(service, builds, (), before.specs, directories)
        specs = (*(File(each) for each in dockerfiles), *rules.specs(service))
        return Watched(service, builds, (), specs, directories)
    if service.build is not None and "dockerfile_inline" in service.build:
        if before is not None and before.builds == builds:
            return Watched(service, builds, (), before.specs)
        specs = tuple(Tree(str(each.context)) for each in builds)
    else:
        try:
            recipes = tuple(context.read(each) for each in builds)
        except BuildFailed:
            # It is told elsewhere; what mends it is seen there.
            specs = tuple(Tree(str(each.context)) for each in builds)
            if before is not None and before.builds == builds and not before.recipes:
                specs = before.specs
            return Watched(service, builds, (), specs)
        if before is not None and before.builds == builds and _same(before.recipes, recipes):
            return Watched(service, builds, recipes, before.specs)
        specs = tuple(spec for each, recipe in zip(builds, recipes, strict=True) for spec in specs_of(each, recipe))
    return Watched(service, builds, recipes, specs)


def _same(some: tuple[Recipe, ...], others: tuple[Recipe, ...]) -> bool:
    return len(some) == len(others) and all(map(same_watch, some, others))


def digest(service: Service, memory: Memory, prints: Prints) -> str | None:
    """What the service's image is built from now, as a digest; None where that is nothing of this machine."""
    builds = builds_of(service)
    if not builds:
        return None
    whole = hashlib.sha256(json.dumps(service.build, sort_keys=True, default=str).encode())
    if service.watch:
        dockerfile = builds[0].file or builds[0].context / "Dockerfile"
        if service.build is not None and "dockerfile_inline" not in service.build:
            try:
                whole.update(dockerfile.read_bytes())
            except OSError as error:
                raise BuildFailed(f"cannot read {dockerfile}: {error.strerror}", "mend it") from None
        for rule, listing in zip(service.watch, rules.look(service, prints), strict=True):
            if rule.action == "rebuild":
                whole.update(repr(sorted(listing.items())).encode())
    elif service.build is not None and "dockerfile_inline" in service.build:
        for each in builds:
            whole.update(repr(sorted(rules.listing(str(each.context), (), prints).items())).encode())
    else:
        for each in builds:
            whole.update(identify(each, platform="", bases={}, memory=memory).digest.encode())
    return whole.hexdigest()


def whole(digest: str, listings: Sequence[Listing]) -> str:
    """A digest of all that is in an image which was built from that: with files that are only copied, too."""
    if not listings:
        return digest
    return hashlib.sha256(f"{digest} {[sorted(each.items()) for each in listings]}".encode()).hexdigest()
