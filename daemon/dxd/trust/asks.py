"""What the tools of a project ask for. Pure but for following links: what lies in the project is the project's own.

An ask is a text for people, and the same text is what is remembered as allowed: whatever changes it asks again.
"""

import os.path
from collections.abc import Iterable
from pathlib import Path

from dxd.tools.labels import asks as asks_beyond
from dxd.tools.model import Tool


def asks_of(tool: Tool) -> tuple[str, ...]:
    """Of one tool of a project: to be there at all, and what it may do beyond what every tool may."""
    project = str(tool.project)
    outside = [each for each in tool.mounts if not _is_in(each.source, project)]
    found = [f"be what {' and '.join(tool.offers)} mean{'s' * (len(tool.offers) == 1)} in the project"]
    if tool.build is not None:
        file = tool.build.file or tool.build.context / "Dockerfile"
        found += [f"be built from {each}" for each in (tool.build.context, file) if not _is_in(str(each), project)]
        secrets = (os.path.realpath(file) for _, file in tool.build.secrets)
        found += [f"let its build read {each}" for each in secrets if not _is_in(each, project)]
        if tool.build.ssh:
            whose = "your SSH agent" if tool.build.ssh is True else os.path.realpath(tool.build.ssh)
            found.append(f"let its build log in by SSH with {whose}")
    for ask in asks_beyond(tool):
        if ask.key != "mounts":
            found.append(ask.text)
    for mount in outside:
        found.append(f"{'read' if mount.readonly else 'read and write'} {os.path.realpath(mount.source)}")
    return tuple(f"{tool.word}: {each}" for each in found)


def asks_of_all(tools: Iterable[Tool]) -> tuple[str, ...]:
    """Of all tools of a project, in the order of its file."""
    return tuple(ask for tool in tools for ask in asks_of(tool))


def _is_in(path: str, project: str) -> bool:
    """Whether it leads into the project, wherever its name is."""
    real, root = os.path.realpath(path), os.path.realpath(project)
    return Path(real).is_relative_to(root)
