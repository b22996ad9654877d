"""What a changed definition reaches for on this machine, which nobody has asked for. Pure, but for looks at links.

Whoever says `dx up` has asked for what the files say then. What they say later, after a `git pull`, has been read by
nobody: it may change what is in images and containers, and not what of this machine gets into them.
"""

from collections.abc import Iterable
from pathlib import Path

from dxd.compose.model import Service

PLAIN = frozenset(("context", "dockerfile", "dockerfile_inline", "args", "target", "labels"))
"""Keys of `build` that only say which files of its context become an image."""


def build(service: Service, asked: Service | None, directory: Path, ref: str) -> bool:
    """Whether its build takes more than files of the project's directory, or gives an image another name than `ref`,
    and was not asked for like that.
    """
    if service.build is None:
        return False
    if asked is not None and (asked.build, asked.image) == (service.build, service.image):
        return False
    context = str(service.build.get("context") or "")
    file = Path(context) / str(service.build.get("dockerfile") or "Dockerfile")
    plain = service.build.keys() <= PLAIN and service.image in (None, ref)
    return not (plain and inside(directory, [context, str(file)]))


def watch(service: Service, asked: Service | None, directory: Path) -> bool:
    """Whether its rules take files from outside of the project, or run a command with every privilege of this machine,
    and were not asked for like that.
    """
    if asked is not None and asked.watch == service.watch:
        return False
    return any(rule.privileged for rule in service.watch) or not inside(
        directory, [rule.path for rule in service.watch]
    )


def only_environment(one: Service, other: Service) -> bool:
    """Whether two definitions differ in the values of the environment and in nothing else."""
    return {**one.raw, "environment": None} == {**other.raw, "environment": None}


def inside(directory: Path, paths: Iterable[str]) -> bool:
    """Whether all of these are in that directory, links followed."""
    root = directory.resolve()
    return all(Path(each).resolve().is_relative_to(root) for each in paths)
