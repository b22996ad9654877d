"""Building an image over the engine's API, without its command line: BuildKit where the engine has it.

A build is done when its image's id has come, and is really cancelled with the task that waits for it.
"""

import asyncio
import json
import math
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from dxd.engine.answer import Answer
from dxd.engine.buildlog import BuildLog
from dxd.engine.connection import Connection
from dxd.engine.model import ImageId
from dxd.errors import BuildFailed, DxError, EngineDown
from dxd.kit.progress import Progress

SILENCE_S = math.inf
"""A step may compute without a word for as long as its caller lets it, while the engine goes on answering pings."""
CANCEL_DEADLINE_S = 3.0


@dataclass(frozen=True, slots=True)
class BuildRequest:
    """What to build."""

    dockerfile: str
    """Its name in the context."""
    tag: str | None
    """None: it has no name but its id."""
    target: str | None = None
    args: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    classic: bool = False
    """With the classic builder, which alone takes an image's id after FROM."""
    path: str | None = None
    """Of the Dockerfile, as the user knows it, where its name in the context is another one."""
    secrets: Mapping[str, Path] = field(default_factory=dict)
    """Files that steps may read, by id."""
    ssh: Path | bool = False
    """What steps may log in with by SSH: the agent of this process, or an agent's socket or a key."""

    def params(self, build_id: str, *, classic: bool) -> dict[str, str]:
        """The query of `POST /build`."""
        params = {
            "dockerfile": self.dockerfile,
            "buildargs": json.dumps(dict(self.args)),
            "labels": json.dumps(dict(self.labels)),
            "version": "1" if classic else "2",
            "buildid": build_id,
            "rm": "1",
            "forcerm": "1",
        }
        params |= {"t": self.tag} if self.tag else {}
        return params | {"target": self.target} if self.target else params

    @property
    def shown(self) -> str:
        """Its name for people."""
        return self.tag or self.labels.get("dev.dx.tool") or self.path or self.dockerfile

    def log(self, progress: Progress) -> BuildLog:
        """For what the engine says of it."""
        return BuildLog(self.shown, self.dockerfile, progress, path=self.path)


class Context:
    """The bytes of a build context, on their way; remembers what reading them failed with.

    aiohttp would only say that the connection broke.
    """

    def __init__(self, chunks: AsyncIterator[bytes]) -> None:
        self._chunks = chunks
        self.failure: DxError | None = None

    def __aiter__(self) -> "Context":
        return self

    async def __anext__(self) -> bytes:
        try:
            return await anext(self._chunks)
        except DxError as error:
            self.failure = error
            raise


async def build(
    connection: Connection, chunks: AsyncIterator[bytes], request: BuildRequest, progress: Progress
) -> ImageId:
    """Carry the build out; raises `BuildFailed`, and what reading the context raised."""
    if request.secrets or request.ssh:
        raise BuildFailed(
            f"{request.shown} is built with secrets or ssh, which only docker buildx can give it, and none is here",
            "install docker-buildx (docker-buildx-plugin in Docker's own packages), 0.13 or newer",
        )
    context = Context(chunks)
    try:
        try:
            if not request.classic:
                return await _attempt(connection, context, request, progress, classic=False)
        except Answer as answer:
            if "buildkit" not in answer.reason.lower():
                raise
        return await _attempt(connection, context, request, progress, classic=True)
    except Exception as error:
        if context.failure:
            raise context.failure from None
        if isinstance(error, Answer):  # in this way the classic builder refuses a Dockerfile that it cannot parse
            raise request.log(progress).failure(error.reason) from None
        raise


async def _attempt(
    connection: Connection, context: Context, request: BuildRequest, progress: Progress, *, classic: bool
) -> ImageId:
    log = request.log(progress)
    build_id = uuid.uuid4().hex
    try:
        async with connection.stream(
            "POST",
            "build",
            params=request.params(build_id, classic=classic),
            data=context,
            headers={"Content-Type": "application/x-tar"},
            silence_s=SILENCE_S,
        ) as records:
            async for record in records:
                log.take(record)
    except asyncio.CancelledError:
        with suppress(Exception):
            async with asyncio.timeout(CANCEL_DEADLINE_S):
                await connection.post("build/cancel", {"id": build_id})
        raise
    if log.image is None:
        raise EngineDown(f"the engine broke off building {request.shown}", "try again")
    return log.image
