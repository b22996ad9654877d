"""Projects: what their tools ask for, and allowing it."""

import asyncio
from pathlib import Path

import msgspec
from aiohttp import web

from dxd.api import errors, reading, trust_types, types
from dxd.api.ports import Projects, Shims
from dxd.api.route import Answer, Parameter, Route
from dxd.errors import BadDefinition, BadRequest, Conflict, DxError, NotFound
from dxd.telemetry import get_logger
from dxd.trust.projects import Review

log = get_logger("api")

_BODY = msgspec.json.Decoder(trust_types.TrustBody)
_DIRECTORY = Parameter(
    "directory", "The project's, absolute; without it the answer is about all", reading.ABSOLUTE_PATH
)


class TrustRoutes:
    """The routes of projects and what they may."""

    def __init__(self, *, projects: Projects, shims: Shims) -> None:
        self._projects = projects
        self._shims = shims

    def routes(self) -> tuple[Route, ...]:
        """What there is, for the server and the document."""
        return (
            Route(
                id="reviewProjects",
                method="GET",
                path="/v1/trust",
                handler=self._review,
                summary="What projects ask for, and what of that is not allowed yet",
                description="Of one, which may be unknown, or of all of which something is allowed.",
                tag="projects",
                answers=(Answer(200, "In order", trust_types.Reviews),),
                query=(_DIRECTORY,),
                errors=(NotFound,),
            ),
            Route(
                id="trustProject",
                method="POST",
                path="/v1/trust",
                handler=self._allow,
                summary="Allow a project what a review showed",
                description="And nothing else: what was allowed before and is not asked for any more is forgotten.",
                tag="projects",
                answers=(Answer(204, "It is allowed, and the shims agree"),),
                body=trust_types.TrustBody,
                errors=(NotFound, BadDefinition, Conflict),
            ),
            Route(
                id="distrustProject",
                method="DELETE",
                path="/v1/trust",
                handler=self._forget,
                summary="Allow a project nothing any more",
                tag="projects",
                answers=(Answer(204, "Its tools are none"),),
                query=(_DIRECTORY,),
                errors=(NotFound,),
            ),
        )

    async def _review(self, request: web.Request) -> web.StreamResponse:
        directory = _directory(request)
        wanted = self._projects.known() if directory is None else [directory]
        found = []
        for each in wanted:
            try:
                found.append(review_json(await asyncio.to_thread(self._projects.review, each)))
            except NotFound:
                if directory is not None:
                    raise
                found.append(trust_types.Review(str(each), [], [], "", "its dx.toml is gone"))
        return web.Response(body=types.encode(trust_types.Reviews(found)), content_type=errors.JSON)

    async def _allow(self, request: web.Request) -> web.StreamResponse:
        reading.read_query(request)
        body = await reading.read_json(request, _BODY)
        directory = reading.absolute_path(body.directory, "directory")
        assert directory is not None
        await self._projects.allow(directory, body.digest)
        await self._follow()
        return web.Response(status=204)

    async def _forget(self, request: web.Request) -> web.StreamResponse:
        directory = _directory(request)
        if directory is None:
            raise BadRequest("the query has no directory")
        await self._projects.forget(directory)
        await self._follow()
        return web.Response(status=204)

    async def _follow(self) -> None:
        """Make the shims agree. The change itself stands, whatever comes of them."""
        try:
            await asyncio.to_thread(self._shims)
        except DxError as error:
            log.warning("shims not made", reason=error.line())


def _directory(request: web.Request) -> Path | None:
    return reading.absolute_path(reading.read_query(request, "directory").get("directory"), "directory")


def review_json(it: Review) -> trust_types.Review:
    """A review, as JSON."""
    return trust_types.Review(str(it.directory), list(it.asks), list(it.new), it.digest, it.problem)
