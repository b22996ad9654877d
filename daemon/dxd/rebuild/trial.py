"""Trying a build before anybody runs it: a container of it starts, and what the tool wants tried ends well."""

import asyncio
import os
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from dxd.engine.buildlog import Tail
from dxd.engine.model import Image
from dxd.errors import AgentFailed, BuildFailed, EngineError
from dxd.kit.progress import Progress
from dxd.runs.sharing import key_of
from dxd.tools.model import Network, Tool
from dxd.warm.model import Key
from dxd.warm.pool import Pool

SMOKE_S = 60.0
FAILED_HERE = 125
"""Of a run: dx or the engine failed, as for a device that is not there. That says nothing of the build."""


class Trial:
    """Tries the builds of tools."""

    def __init__(self, *, pool: Pool, launcher: Callable[[], Path]) -> None:
        self._pool = pool
        self._launcher = launcher

    async def __call__(self, tool: Tool, image: Image, progress: Progress) -> None:
        """Afterwards a container waits for the first run, where that is possible.

        Raises `BuildFailed`, and `EngineTrouble` where that it cannot be tried is no fault of the build.
        """
        progress.progress(f"trying the new {tool.name}")
        try:
            await self._tried(tool, image, progress)
        except BaseException:
            await asyncio.shield(self._pool.discard(image.id))
            raise

    async def _tried(self, tool: Tool, image: Image, progress: Progress) -> None:
        key = key_of(image, tool, _network(tool))
        if key.ports or key.has_kept_root or key.devices or key.gpus:
            # The build before may have them just now, and a device may not be there.
            key = Key(image=image.id, network="none")
        try:
            await self._pool.prepare(key, image=f"{tool.name} (build)", tool=tool.name)
        except AgentFailed as error:
            raise BuildFailed(f"no container of it starts: {error.message}", error.hint) from None
        if tool.smoke:
            await self._smoke(tool, image, progress)

    async def _smoke(self, tool: Tool, image: Image, progress: Progress) -> None:
        line = [str(self._launcher()), "run", "--image", image.id, "--network", _network(tool), tool.name, *tool.smoke]
        process = await asyncio.create_subprocess_exec(
            *line, stdin=DEVNULL, stdout=PIPE, stderr=STDOUT, cwd="/", env=os.environ, limit=1 << 20
        )
        shown = " ".join((tool.name, *tool.smoke))
        try:
            async with asyncio.timeout(SMOKE_S):
                lines = await _last_lines(process)
                status = await process.wait()
        except TimeoutError:
            raise BuildFailed(f"{shown} takes more than {SMOKE_S:.0f} s", "see the tool's smoke in dx.toml") from None
        finally:
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        for text in lines:
            progress.note(text)
        if status == FAILED_HERE:
            why = lines[-1].removeprefix("dx: ") if lines else f"status {status}"
            raise EngineError(f"{shown} cannot be tried: {why}")
        if status:
            raise BuildFailed(f"{shown} ended with status {status}", "mend it, or the tool's smoke")


async def _last_lines(process: Process) -> list[str]:
    """Of all that it prints, however much that is."""
    assert process.stdout is not None
    tail = Tail()
    while data := await process.stdout.read(1 << 16):
        tail.take(data.decode(errors="replace"))
    return tail.lines


def _network(tool: Tool) -> str:
    """On which it is tried: a build is tried in no project, and without the services that its runs need."""
    return (Network.BRIDGE if tool.network is Network.PROJECT else tool.network).value
