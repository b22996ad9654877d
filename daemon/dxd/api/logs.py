"""What services print: read it, and follow it."""

import asyncio
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing

from aiohttp import hdrs, web

from dxd.api import log_types, reading
from dxd.api.ports import Logs, LogServices
from dxd.api.route import NDJSON, Answer, Parameter, Route
from dxd.api.stream import stream_headers
from dxd.errors import BadName, BadRequest, NotFound, Refused
from dxd.logs import moment
from dxd.logs.model import Level, Query
from dxd.logs.weave import Entry

KEEP_ALIVE_S = 15.0
MAX_TAIL = 1_000_000
CHUNK_BYTES = 1 << 18
"""What is handed to a connection at once."""

_STREAMS = ("stdout", "stderr")
_LEVELS = tuple(each.name.lower() for each in Level)
_MOMENT: dict[str, object] = {"type": "string", "pattern": moment.PATTERN}
_NAME = r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}"
_QUERY = (
    Parameter("directory", "Of the project, or below it", {"type": "string", "pattern": r"^/[^\u0000]*$"}),
    Parameter("project", "The project, by its name", {"type": "string", "pattern": f"^{_NAME}$"}),
    Parameter(
        "services", "Only these, with commas between them", {"type": "string", "pattern": f"^{_NAME}(,{_NAME})*$"}
    ),
    Parameter("since", "From then on: a time, or a duration before now", _MOMENT),
    Parameter("until", "Up to then", _MOMENT),
    Parameter(
        "tail", "At most so many of the latest of each service", {"type": "integer", "minimum": 0, "maximum": MAX_TAIL}
    ),
    Parameter("stream", "Only this one", {"enum": list(_STREAMS)}),
    Parameter("level", "Only lines that are as grave, or more so; it is guessed", {"enum": list(_LEVELS)}),
    Parameter("follow", "Go on with what comes", {"enum": ["true", "false"]}),
)


class LogRoutes:
    """The route of logs."""

    def __init__(
        self, *, logs: Logs, services: LogServices, ending: asyncio.Event, keep_alive_s: float = KEEP_ALIVE_S
    ) -> None:
        """`services` finds what a request means; `ending` is set when the daemon stops, which ends what is followed."""
        self._logs = logs
        self._services = services
        self._ending = ending
        self._keep_alive_s = keep_alive_s

    def routes(self) -> tuple[Route, ...]:
        """What there is, for the server and the document."""
        return (
            Route(
                id="readLogs",
                method="GET",
                path="/v1/logs",
                handler=self._read,
                summary="What services of a project printed, and print",
                description=(
                    "A stream of JSON objects, one on each line, in the order of their times: `{time, service, "
                    "container, stream, line}`, with `level` where that was asked for, and `partial` where no newline "
                    "came; or `{time, service, mark, reason}`, where `mark` is `gap`, `torn`, `damaged`, `dropped` or "
                    "`ended`. A line that is no UTF-8 is `{base64}`. What is followed has a blank line at least every "
                    "15 s, and ends when the daemon does; without `services` it has those, too, that begin to print. A "
                    "reader that is slow slows nobody; what was removed before it came that far is `dropped`."
                ),
                tag="logs",
                answers=(Answer(200, "It has begun", media_types=(NDJSON,)),),
                query=_QUERY,
                errors=(BadName, NotFound, Refused),
            ),
        )

    async def _read(self, request: web.Request) -> web.StreamResponse:
        query = await self._query(request)
        async with aclosing(await self._logs.read(query)) as batches:
            response = web.StreamResponse(headers=stream_headers(request, NDJSON))
            await response.prepare(request)
            if request.method != hdrs.METH_HEAD:
                await self._tell(response, batches, follow=query.follow)
        return response

    async def _tell(
        self, response: web.StreamResponse, batches: AsyncGenerator[list[Entry], None], *, follow: bool
    ) -> None:
        ending = asyncio.create_task(self._ending.wait(), name="end of logs")
        step: asyncio.Task[list[Entry] | None] | None = None
        try:
            while True:
                step = step or asyncio.create_task(_next(batches), name="next of logs")
                awaited = (step, ending) if follow else (step,)
                await asyncio.wait(awaited, timeout=self._keep_alive_s, return_when=asyncio.FIRST_COMPLETED)
                if not step.done():
                    if follow and ending.done():
                        return
                    await response.write(b"\n")
                    continue
                entries, step = step.result(), None
                if entries is None:
                    return
                for chunk in _chunks(entries):
                    await response.write(chunk)
        finally:
            ending.cancel()
            if step:
                step.cancel()
                await asyncio.wait({step})

    async def _query(self, request: web.Request) -> Query:
        """What a request asks for; raises what the services' owner does."""
        given = reading.read_query(request, *(each.name for each in _QUERY))
        now_ns = time.time_ns()
        since, until = given.get("since"), given.get("until")
        stream = reading.one_of(given, "stream", *_STREAMS)
        level = reading.one_of(given, "level", *_LEVELS)
        tail = given.get("tail")
        if tail is not None and not (tail.isascii() and tail.isdigit() and len(tail) <= 7 and int(tail) <= MAX_TAIL):
            raise BadRequest(f"the parameter tail has to be a number up to {MAX_TAIL}")
        directory, project = given.get("directory", ""), given.get("project", "")
        if bool(directory) == bool(project):
            raise Refused("which project is not said", "give its name, or a directory of it, and not both")
        names = [each for each in given.get("services", "").split(",") if each]
        services = await self._services(directory, project, names)
        return Query(
            services=tuple(services),
            since=b"" if since is None else moment.parse(since, now_ns),
            until=None if until is None else moment.parse(until, now_ns),
            tail=None if tail is None else int(tail),
            stderr=None if stream is None else stream == "stderr",
            level=None if level is None else Level[level.upper()],
            follow=reading.one_of(given, "follow", "true", "false") == "true",
            rest_of="" if names else services[0].project,
        )


async def _next(batches: AsyncGenerator[list[Entry], None]) -> list[Entry] | None:
    return await anext(batches, None)


def _chunks(entries: list[Entry]) -> Iterator[bytes]:
    lines: list[bytes] = []
    size = 0
    for each in entries:
        lines.append(log_types.log_entry(each))
        size += len(lines[-1])
        if size >= CHUNK_BYTES:
            yield b"".join(lines)
            lines, size = [], 0
    if lines:
        yield b"".join(lines)
