"""What the images of builds are called. Several daemons may share an engine, and have tools of the same name.

A build is `dx/NAME:` and twelve digits of its digest, whoever made it, from whichever clone of a project. Which of them
serves a tool's runs, and which is pinned, is each daemon's own tag, and for a project's tool each project's.
`dx/NAME:latest` is for people and for FROM: the one that was promoted last. An image that was pulled is kept by a name
of the daemon's own, too.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from dxd.images.images import tag_of
from dxd.tools.model import MARK

_SERVING, _PINNED, _KEPT = "is-", "at-", "as-"
_DIGITS = 9
"""Of the daemon."""


@dataclass(frozen=True, slots=True)
class Names:
    """The names that one daemon gives."""

    instance: str
    """The daemon: hexadecimal digits."""

    def serving(self, tool: str) -> str:
        """Of the build that the tool's runs take."""
        return self._own(tool, _SERVING)

    def pinned(self, tool: str) -> str:
        """Of the build that serves whatever changes."""
        return self._own(tool, _PINNED)

    def build(self, tool: str, digest: str) -> str:
        """Of a build."""
        return tag_of(word(tool), digest[:12])

    def kept(self, tool: str, digest: str) -> str:
        """Of an image that was pulled, by its digest at its registry: so that the engine keeps it."""
        hexadecimal = digest.removeprefix("sha256:")
        return tag_of(word(tool), f"{_KEPT}{self.instance[:_DIGITS]}-{hexadecimal[:12]}")

    def is_kept(self, tag: str) -> bool:
        """Whether this daemon keeps an image by that tag that was pulled."""
        return self._is_own(tag, _KEPT)

    def is_pin(self, tag: str) -> bool:
        """Whether this daemon holds an image by that tag."""
        return self._is_own(tag, _PINNED)

    def bases(self, tool: str) -> tuple[str, str]:
        """By which a Dockerfile may name the tool's build."""
        latest = tag_of(word(tool))
        return latest, latest.removesuffix(":latest")

    def is_anothers(self, tag: str) -> bool:
        """Whether another daemon holds the image by that tag."""
        mark = tag.rpartition(":")[2]
        return mark.startswith((_SERVING, _PINNED)) and not mark[3:].startswith(self.instance[:_DIGITS])

    def is_mark(self, name: str, tag: str) -> bool:
        """Whether this daemon holds a build of a tool that is called so by that tag."""
        repository = tag.rpartition(":")[0]
        return f"{repository}:latest" == tag_of(name) and self._is_own(tag, _SERVING, _PINNED)

    def holders(self, name: str, tags: Iterable[str]) -> set[str]:
        """The tools that hold an image by these tags, of those that are called `name` where they are defined."""
        own = tuple(kind + self.instance[:_DIGITS] for kind in (_SERVING, _PINNED))
        marks = [mark for tag in tags if (mark := tag.rpartition(":")[2]).startswith(own)]
        return {name + (MARK + mark[_DIGITS + 4 :] if mark[_DIGITS + 3 :] else "") for mark in marks}

    def _is_own(self, tag: str, *kinds: str) -> bool:
        repository, _, mark = tag.rpartition(":")
        return repository.startswith("dx/") and mark.startswith(tuple(kind + self.instance[:_DIGITS] for kind in kinds))

    def _own(self, tool: str, kind: str) -> str:
        name, _, project = tool.partition(MARK)
        return tag_of(name, kind + self.instance[:_DIGITS] + (f"-{project}" if project else ""))


def word(tool: str) -> str:
    """What a tool is called where it is defined, from its whole name."""
    return tool.partition(MARK)[0]
