"""The JSON of the API about projects and what they may; what all of it has in common is in `types`."""

from typing import Annotated

from msgspec import Meta, Struct

from dxd.api.types import AbsolutePath


class Review(Struct, frozen=True):
    """What a project asks for."""

    directory: str
    asks: Annotated[list[str], Meta(description="What its tools ask for, a line each")]
    new: Annotated[list[str], Meta(description="What of that is not allowed yet")]
    digest: Annotated[str, Meta(description="Of what it asks for, to allow just that")]
    problem: Annotated[str | None, Meta(description="What is wrong with its dx.toml, on one line")]


class Reviews(Struct, frozen=True):
    """Of projects."""

    projects: list[Review]


class TrustBody(Struct, frozen=True, forbid_unknown_fields=True):
    """What to allow."""

    directory: AbsolutePath
    digest: Annotated[str, Meta(description="As the review had it")]
