"""Answers that are told bit by bit, by code that must not wait for the reader.

`Stream` is the mechanism: what it is told is written by one task of its own, which exists from the first word on.
`Lines` is a `Progress` over it, in JSON lines. A reader that goes away cancels the request, and the stream with it.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Self

import msgspec
from aiohttp import hdrs, web

from dxd.api import errors, types
from dxd.api.route import NDJSON, VERSION, VERSION_HEADER
from dxd.errors import DxError
from dxd.kit.progress import Step
from dxd.telemetry import get_logger

log = get_logger("api")

MAX_PENDING = 1000
"""How many bits wait for a reader that is slow; beyond that the oldest are lost. Some 100 KiB."""
MAX_STEP_LINES = 200
"""Of what one step printed, for a reader that is slow."""


def stream_headers(request: web.Request, media_type: str) -> dict[str, str]:
    """The headers of an answer that is sent before its handler returns."""
    return {hdrs.CONTENT_TYPE: media_type, VERSION_HEADER: request.app[VERSION]}


class Stream:
    """A response that begins with the first `tell`. Owned by the handler of its request, which ends it."""

    def __init__(self, request: web.Request, media_type: str, waiting: Callable[[], bytes] = lambda: b"") -> None:
        """`waiting` gives what else is to be written, before what was told, each time something is."""
        self._request = request
        self._waiting = waiting
        self._media_type = media_type
        self._pending: deque[tuple[bytes, bool]] = deque(maxlen=MAX_PENDING)
        self._more: asyncio.Event | None = None
        self._writer: asyncio.Task[web.StreamResponse] | None = None
        self._ended = False

    @property
    def begun(self) -> bool:
        """Whether something was told, and the status 200 with it."""
        return self._writer is not None

    def tell(self, data: bytes, *, passing: bool = False) -> None:
        """Write this soon. `passing` takes the place of a passing one before it that was not written yet."""
        if self._ended:
            return
        if passing and self._pending and self._pending[-1][1]:
            self._pending.pop()
        self._pending.append((data, passing))
        if self._more is None:
            self._more = asyncio.Event()
            self._writer = asyncio.create_task(self._write(self._more), name=f"stream {self._request.path}")
            self._writer.add_done_callback(lambda task: task.cancelled() or task.exception())
        self._more.set()

    async def finish(self, last: bytes) -> web.StreamResponse:
        """Write the last bit, and return the response once everything is written."""
        self.tell(last)
        self._ended = True
        assert self._writer is not None
        return await self._writer

    def abandon(self) -> None:
        """Write nothing more: the request was cancelled, or failed before anything was told."""
        self._ended = True
        if self._writer is not None:
            self._writer.cancel()

    async def _write(self, more: asyncio.Event) -> web.StreamResponse:
        response = web.StreamResponse(headers=stream_headers(self._request, self._media_type))
        response.force_close()
        await response.prepare(self._request)
        while True:
            await more.wait()
            more.clear()
            ended = self._ended
            data = self._waiting() + b"".join(each for each, _ in self._pending)
            self._pending.clear()
            await response.write(data)
            if ended:
                return response


class Lines:
    """A `Progress` that tells a stream of JSON lines."""

    def __init__(self, request: web.Request) -> None:
        self._steps: dict[tuple[str, str], Step] = {}
        self._stream = Stream(request, NDJSON, self._take_steps)
        self._stream.tell(b"")  # so that the status is out before the work begins

    def note(self, text: str) -> None:
        """Tell a line that lasts."""
        self._stream.tell(types.encode(types.NoteLine(_one_line(text))))

    def progress(self, text: str) -> None:
        """Tell a line that takes the place of the one before."""
        self._stream.tell(types.encode(types.ProgressLine(_one_line(text))), passing=True)

    def step(self, step: Step) -> None:
        """Tell a step; what was not written yet of an earlier telling goes into this one."""
        key = step.of, step.id
        self._steps[key] = step.after(self._steps.get(key), max_lines=MAX_STEP_LINES)
        self._stream.tell(b"", passing=True)

    def _take_steps(self) -> bytes:
        steps = [types.encode(types.StepLine(step_json(each))) for each in self._steps.values()]
        self._steps.clear()
        return b"".join(steps)

    async def finish(self, last: msgspec.Struct) -> web.StreamResponse:
        """Tell the last line."""
        return await self._stream.finish(types.encode(last))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        """Whatever was not finished is abandoned."""
        self._stream.abandon()


async def told(request: web.Request, work: Callable[[Lines], Awaitable[msgspec.Struct]]) -> web.StreamResponse:
    """Do the work, and tell a stream of lines of it."""
    with Lines(request) as lines:
        try:
            last = await work(lines)
        except DxError as error:
            last = types.Problem(errors.shape(error))
        except Exception:
            log.exception("request failed", path=request.path)
            last = types.Problem(errors.shape(errors.unexpected()))
        return await lines.finish(last)


def step_json(step: Step) -> types.StepState:
    """A step as JSON."""
    return types.StepState(
        id=step.id,
        kind=step.kind.value,
        of=step.of,
        name=_one_line(step.name),
        started_at=_moment(step.started_s),
        ended_at=_moment(step.ended_s),
        duration_s=None if step.took_s is None else round(step.took_s, 3),
        cached=step.cached,
        error=_one_line(step.error),
        state=step.state,
        current_bytes=step.current_bytes,
        total_bytes=step.total_bytes,
        lines=[each.encode(errors="backslashreplace").decode() for each in step.lines],
    )


def _moment(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def _one_line(text: str) -> str:
    return " ".join(text.split()).encode(errors="backslashreplace").decode()
