"""The JSON of the API about upgrades and the lock; what all of it has in common is in `types`."""

from typing import Annotated

from msgspec import Meta, Struct

from dxd.api.types import AbsolutePath, Ask
from dxd.rebuild.comparison import Standing


class ComparedImage(Struct, frozen=True):
    """An image of a tool, or one that it is built on, and what its registry has of that name."""

    tool: str
    image: Annotated[str, Meta(description="Empty where a Dockerfile cannot be read")]
    is_base: Annotated[bool, Meta(description="The tool is built on it")]
    standing: Standing
    held: Annotated[str | None, Meta(description="The digest here")]
    offered: Annotated[str | None, Meta(description="The registry's")]
    reason: Annotated[str, Meta(description="Why it is unknown, on one line")]


class Compared(Struct, frozen=True):
    """In the order of dx.toml."""

    images: list[ComparedImage]


class UpgradeBody(Struct, frozen=True, forbid_unknown_fields=True):
    """What to upgrade."""

    tools: Annotated[list[str], Meta(description="By name; none means all")] = []
    labels: Annotated[bool, Meta(description="Definitions follow what new images say of themselves")] = True
    allow: Annotated[list[str], Meta(description="Digests of images whose asks are allowed")] = []
    keep: Annotated[bool, Meta(description="Keep an image that asks for more, to be allowed in a second request")] = (
        False
    )


class UpgradedTool(Struct, frozen=True):
    """What became of one tool."""

    tool: str
    images: Annotated[list[str], Meta(description="Those that were pulled for it")]
    error: Annotated[str, Meta(description="Why it was not upgraded, on one line; empty where it was")]
    asks: Annotated[list[Ask], Meta(description="What its new image asks for beyond what was allowed")] = []
    digest: Annotated[str, Meta(description="Of the image that asks, to allow it by")] = ""


class UpgradedLine(Struct, frozen=True):
    """The end: what became of the tools that had something new, and of those that could not be asked about."""

    upgraded: list[UpgradedTool]


class LockBody(Struct, frozen=True, forbid_unknown_fields=True):
    """What to do with the lock."""

    project: Annotated[AbsolutePath | None, Meta(description="Directory of the project; null is the user's own")] = None
    check: Annotated[bool, Meta(description="Only say what is not as it is locked")] = False
    upgrade: Annotated[
        list[str] | None, Meta(description="Tools to lock to what their tags mean now; an empty list is all")
    ] = None


class LockComplaint(Struct, frozen=True):
    """Why a tool is not locked, or not as it is."""

    tool: Annotated[str, Meta(description="Empty for the lock as a whole")]
    reason: str


class LockedLine(Struct, frozen=True):
    """The end: what is not locked, or not as it is."""

    complaints: list[LockComplaint]
