"""What the images of builds are called. Several daemons may share an engine, and have tools of the same name.

A build is `dx/NAME:` and twelve digits of its digest, whoever made it. Which of them serves a tool's runs, and which is
pinned, is each daemon's own tag. `dx/NAME:latest` is for people and for FROM: the one that was promoted last.
"""

from dataclasses import dataclass

from dxd.images.images import tag_of

_SERVING, _PINNED = "is-", "at-"


@dataclass(frozen=True, slots=True)
class Names:
    """The names that one daemon gives."""

    instance: str
    """The daemon: hexadecimal digits."""

    def serving(self, tool: str) -> str:
        """Of the build that the tool's runs take."""
        return tag_of(tool, _SERVING + self.instance)

    def pinned(self, tool: str) -> str:
        """Of the build that serves whatever changes."""
        return tag_of(tool, _PINNED + self.instance)

    def build(self, tool: str, digest: str) -> str:
        """Of a build."""
        return tag_of(tool, digest)

    def bases(self, tool: str) -> tuple[str, str]:
        """By which a Dockerfile may name the tool's build."""
        return tag_of(tool), tag_of(tool).removesuffix(":latest")

    def is_anothers(self, tag: str) -> bool:
        """Whether another daemon holds the image by that tag."""
        mark = tag.rpartition(":")[2]
        return mark.startswith((_SERVING, _PINNED)) and not self.instance.startswith(mark[3:])
