"""Tools: define them, see them, get their images ready; and the shims that follow from them."""

import asyncio
import os
from pathlib import Path

import msgspec
from aiohttp import web

from dxd.api import errors, reading, tool_types, types
from dxd.api.ports import Images, Shims
from dxd.api.route import NDJSON, Answer, Parameter, Route
from dxd.api.stream import Lines
from dxd.errors import (
    BadDefinition,
    BadName,
    Conflict,
    DxError,
    EngineTrouble,
    ImageTrouble,
    NotTrusted,
    Refused,
    TooLarge,
    UnknownTool,
)
from dxd.telemetry import get_logger
from dxd.tools.model import Tool
from dxd.tools.names import TOOL_PATTERN, check_name
from dxd.tools.parse import parse_tool, to_table
from dxd.tools.shims import Changes
from dxd.trust.tools import Tools

log = get_logger("api")

_BODY = msgspec.json.Decoder(tool_types.ToolBody)
_CHECK = msgspec.json.Decoder(tool_types.CheckBody)
_NAME = Parameter(
    "name", "Of the tool", {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._+-]{0,127}$", "maxLength": 128}
)
_TOOL = Parameter(
    "name", "Of the tool; a project's, wherever it is, by its whole name", {"type": "string", "pattern": TOOL_PATTERN}
)
_CWD = Parameter(
    "cwd",
    "Where names are to mean something: inside a project its tools come first",
    reading.ABSOLUTE_PATH,
)


class ToolRoutes:
    """The routes of tools and shims."""

    def __init__(self, *, tools: Tools, images: Images, shims: Shims) -> None:
        self._tools = tools
        self._images = images
        self._shims = shims

    def routes(self) -> tuple[Route, ...]:
        """What there is, for the server and the document."""
        one = (_NAME,)
        return (
            Route(
                id="listTools",
                method="GET",
                path="/v1/tools",
                handler=self._list,
                summary="The tools that are defined",
                tag="tools",
                answers=(Answer(200, "In the order of dx.toml", tool_types.Tools),),
                query=(_CWD,),
            ),
            Route(
                id="showTool",
                method="GET",
                path="/v1/tools/{name}",
                handler=self._show,
                summary="One tool",
                tag="tools",
                answers=(Answer(200, "The tool", tool_types.Tool),),
                path_parameters=(_TOOL,),
                query=(_CWD,),
                errors=(UnknownTool, NotTrusted, BadDefinition),
            ),
            Route(
                id="putTool",
                method="PUT",
                path="/v1/tools/{name}",
                handler=self._put,
                summary="Define a tool, in place of one of this name",
                description="Writes dx.toml, where comments and everything else stay, and makes the shims agree.",
                tag="tools",
                answers=(
                    Answer(201, "It is new", tool_types.Tool),
                    Answer(200, "It took the place of another", tool_types.Tool),
                ),
                path_parameters=one,
                body=tool_types.ToolBody,
                errors=(BadName, BadDefinition, Conflict, Refused, TooLarge),
            ),
            Route(
                id="deleteTool",
                method="DELETE",
                path="/v1/tools/{name}",
                handler=self._delete,
                summary="Remove a tool's definition",
                description="Its shims and its pin go too, and its images stay.",
                tag="tools",
                answers=(Answer(204, "It is gone"),),
                path_parameters=one,
                errors=(UnknownTool, BadDefinition, Refused),
            ),
            Route(
                id="prepareTool",
                method="POST",
                path="/v1/tools/{name}/prepare",
                handler=self._prepare,
                summary="Pull or build a tool's image where it is missing",
                description=(
                    "A stream of JSON values, one on each line: `{note}` is a line that lasts, `{progress}` takes the "
                    "place of the one before, `{step}` is how a part of a pull or a build is, and the last is "
                    "`{image}` or `{error}`."
                ),
                tag="tools",
                answers=(Answer(200, "It has begun; the last line says how it ended", media_types=(NDJSON,)),),
                path_parameters=(_TOOL,),
                query=(Parameter("rebuild", "Build even if it is there", {"enum": ["true", "false"]}),),
                errors=(UnknownTool, NotTrusted, BadDefinition, Conflict, ImageTrouble, EngineTrouble),
            ),
            Route(
                id="makeShims",
                method="POST",
                path="/v1/shims",
                handler=self._make_shims,
                summary="Make the shims agree with the tools",
                tag="tools",
                answers=(Answer(200, "What was done", tool_types.Shims),),
                errors=(BadName, Refused),
            ),
            Route(
                id="checkFile",
                method="POST",
                path="/v1/check",
                handler=self._check,
                summary="Whether a text would do as dx.toml",
                description="Writes nothing. The error has the place of the first complaint. Paths are not looked at.",
                tag="tools",
                answers=(Answer(204, "It would"),),
                body=tool_types.CheckBody,
                errors=(BadDefinition,),
            ),
        )

    async def _check(self, request: web.Request) -> web.StreamResponse:
        reading.read_query(request)
        body = await reading.read_json(request, _CHECK)
        await asyncio.to_thread(self._tools.user.check, body.text.encode(errors="replace"))
        return web.Response(status=204)

    async def _list(self, request: web.Request) -> web.StreamResponse:
        cwd = _cwd(request)
        tools = self._tools.all() if cwd is None else self._tools.here(cwd)
        every = tool_types.Tools([tool_json(each) for each in tools])
        return web.Response(body=types.encode(every), content_type=errors.JSON)

    async def _show(self, request: web.Request) -> web.StreamResponse:
        name, cwd = reading.path_value(request, "name"), _cwd(request)
        tool = self._tools.get(name) if cwd is None else self._tools.named(name, cwd)
        return web.Response(body=types.encode(tool_json(tool)), content_type=errors.JSON)

    async def _put(self, request: web.Request) -> web.StreamResponse:
        reading.read_query(request)
        name = check_name(reading.path_value(request, "name"))
        body = await reading.read_json(request, _BODY)
        tool = parse_body(name, body)
        # In a thread, as everything that waits for the disk: leases go on meanwhile.
        new = await asyncio.to_thread(self._tools.user.put, tool)
        await self._follow()
        return web.Response(status=201 if new else 200, body=types.encode(tool_json(tool)), content_type=errors.JSON)

    async def _delete(self, request: web.Request) -> web.StreamResponse:
        reading.read_query(request)
        name = reading.path_value(request, "name")
        await asyncio.to_thread(self._tools.user.delete, name)
        await self._images.removed(name)
        await self._follow()
        return web.Response(status=204)

    async def _follow(self) -> None:
        """Make the shims agree after a change. The change itself stands, whatever comes of them."""
        try:
            await asyncio.to_thread(self._shims)
        except DxError as error:
            log.warning("shims not made", reason=error.line())

    async def _prepare(self, request: web.Request) -> web.StreamResponse:
        rebuild = reading.one_of(reading.read_query(request, "rebuild"), "rebuild", "true", "false")
        tool = self._tools.get(reading.path_value(request, "name"))
        with Lines(request) as lines:
            try:
                image = await self._images.resolve(tool, lines, rebuild=rebuild == "true")
            except DxError as error:
                return await lines.finish(types.Problem(errors.shape(error)))
            except Exception:
                log.exception("request failed", path=request.path)
                return await lines.finish(types.Problem(errors.shape(errors.unexpected())))
            return await lines.finish(types.ImageLine(image.id))

    async def _make_shims(self, request: web.Request) -> web.StreamResponse:
        reading.read_query(request)
        changes = await asyncio.to_thread(self._shims)
        return web.Response(body=types.encode(shims_json(changes)), content_type=errors.JSON)


def parse_body(name: str, body: tool_types.ToolBody) -> Tool:
    """The tool that a body defines; raises `BadName` or `BadDefinition`.

    It has no directory that a relative path could be relative to, and no home that `~` could be: those are the
    client's.
    """
    if body.name is not None and body.name != name:
        raise BadName(f"the body is about {body.name!r}, the path about {name!r}", "leave the name out of the body")
    for where, path in _paths(body):
        if not path.startswith("/"):
            raise BadDefinition(f"{where}: {path!r} is not an absolute path", "write it from / on")
    table = {key: value for key, value in msgspec.to_builtins(body).items() if key != "name" and value is not None}
    if body.pids is not None and body.pids.is_integer():
        table["pids"] = int(body.pids)
    if isinstance(build := table.get("build"), dict):
        table["build"] = {key: value for key, value in build.items() if value is not None}
    return parse_tool(name, table, base=Path("/"))


def _cwd(request: web.Request) -> bytes | None:
    given = reading.absolute_path(reading.read_query(request, "cwd").get("cwd"), "cwd")
    return None if given is None else os.fsencode(given)


def _paths(body: tool_types.ToolBody) -> list[tuple[str, str]]:
    paths: list[tuple[str, str]] = []
    if body.build is not None:
        paths.append(("build.context", body.build.context))
        if body.build.file is not None:
            paths.append(("build.file", body.build.file))
        paths += [(f"build.secrets.{name}", file) for name, file in body.build.secrets.items()]
        if isinstance(body.build.ssh, str):
            paths.append(("build.ssh", body.build.ssh))
    for each in body.mounts:
        if isinstance(each, str):
            source, _, rest = each.partition(":")
            paths.append(("mounts", source))
            if rest and not rest.startswith(("/", "ro", "rw")):
                paths.append(("mounts", rest))
        else:
            paths += [("mounts", each.source), ("mounts", each.target)]
    paths += [("caches", each) for each in body.caches]
    return paths


def tool_json(tool: Tool) -> tool_types.Tool:
    """A tool as JSON: every key, those too that have their default."""
    project = None if tool.project is None else str(tool.project)
    return msgspec.convert({**EVERY_KEY, **to_table(tool), "name": tool.name, "project": project}, tool_types.Tool)


EVERY_KEY: dict[str, object] = msgspec.to_builtins(tool_types.ToolBody())
"""What a body means that says nothing."""


def shims_json(changes: Changes) -> tool_types.Shims:
    """What was done to the shims as JSON."""
    return tool_types.Shims(
        directory=str(changes.directory),
        added=list(changes.added),
        removed=list(changes.removed),
        foreign=list(changes.foreign),
        kept=list(changes.kept),
    )
