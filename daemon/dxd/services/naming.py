"""What a project is called that would have the name of another directory's: two checkouts of one repository.

Made by `app`, asked by `services` at each `dx up` without a name. Owns nothing: which names are taken says whoever
knows the projects, and the engine, of those that only Compose knows. Raises `Conflict`, and what the engine raises.
"""

import asyncio
import hashlib
import re
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path

from dxd.compose.model import Project, ProjectName, ServiceName
from dxd.engine.model import ContainerId
from dxd.engine.supervised import Supervised
from dxd.errors import Conflict
from dxd.kit.directories import is_gone
from dxd.services.networks import DIRECTORY
from dxd.services.news import PROJECT

_CONTAINER = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")
"""What the engine takes as a name."""


def candidates(name: ProjectName, directory: Path) -> Iterator[ProjectName]:
    """Names for a second project `name`, always the same ones of a directory, the most readable first; pure.

    `shop` in `/src/shop-2` is `shop-2`, in `/src/login` it is `shop-login`, and in `/src/login/shop` as well.
    """
    for part in reversed(directory.parts):
        word = _word(part)
        if word == name or not word:
            continue
        yield ProjectName(word if re.match(rf"{re.escape(name)}[-_]", word) else f"{name}-{word}")
        break
    digest = hashlib.sha256(str(directory).encode(errors="surrogateescape")).hexdigest()
    yield ProjectName(f"{name}-{digest[:6]}")


def _word(text: str) -> str:
    """As Compose makes a name of a directory's: https://docs.docker.com/compose/how-tos/project-name."""
    return re.sub(r"[^a-z0-9_-]", "", text.lower()).strip("_-")


class Naming:
    """Of all projects."""

    def __init__(self, *, containers: Supervised, made_for: Callable[[str], Awaitable[str | None]]) -> None:
        """`made_for` is the project that Compose has containers of for a directory, whoever called it."""
        self._containers = containers
        self._made_for = made_for

    async def choose(self, name: ProjectName, directory: Path, known: Mapping[str, str]) -> tuple[ProjectName, str]:
        """The name for what the files in that directory call so, and whose that is where it gets another one now.

        `known` are the directories of projects, by name. Once it has another one it keeps it, though the first may be
        free by then: its volumes are called after it. Raises `Conflict` where the project of that name is that of a
        directory which is gone: it may have been moved.
        """
        here = str(directory)
        others = [*candidates(name, directory)]
        for each in (name, *others):
            if known.get(each) == here:
                return each, ""
        made = await self._made_for(here)
        for each in others:
            if each == made and each not in known:
                return each, ""
        other = known.get(name) or await self.foreign(name, directory)
        if other is None:
            return name, ""
        if await asyncio.to_thread(is_gone, other):
            raise Conflict(
                f"the project {name} is that of {other}, which is gone",
                f"to go on with it here: dx forget --project {name}, then dx up",
            )
        for each in others:
            if each not in known and await self.foreign(each, directory) is None:
                return each, other
        raise Conflict(
            f"{name} and {', '.join(others)} are other projects", "give this one a name: dx up --project NAME"
        )

    async def foreign(self, name: ProjectName, directory: Path) -> str | None:
        """The other directory that has containers of a project of that name; None where there is none, or is gone."""
        for each in await self._containers.ids({PROJECT: name}):
            found = await self._containers.inspect(each)
            other = found.labels.get(DIRECTORY, "") if found is not None else ""
            if other and other != str(directory) and not await asyncio.to_thread(is_gone, other):
                return other
        return None

    async def refuse_taken_names(self, project: Project, names: Iterable[ServiceName], known: Collection[str]) -> None:
        """Raise `Conflict` where a container has the `container_name` of a service already, which no two can have."""
        for name in sorted(names):
            wanted = str(project.services[name].raw.get("container_name") or "")
            if not _CONTAINER.fullmatch(wanted):
                continue
            found = await self._containers.inspect(ContainerId(wanted))  # the engine takes names too
            if found is None or found.name != wanted or found.labels.get(PROJECT) == project.name:
                continue
            other, where = found.labels.get(PROJECT), found.labels.get(DIRECTORY)
            whose = f"that of {other} in {where}" if other else "another one's"
            end = f"docker compose --project-name {other} down" if other else f"docker rm --force {wanted}"
            if other in known:
                end = f"dx down --project {other}"
            raise Conflict(
                f"{name} has the container_name {wanted}, which is {whose}", f"take it out of the file, or: {end}"
            )
