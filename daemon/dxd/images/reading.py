"""Naming a build while others wait: in a thread, which says how far it is and ends with the task that wants to know."""

import asyncio
from collections.abc import Mapping

from dxd.images.identity import Identity, Memory, Reading, identify
from dxd.kit.progress import Progress
from dxd.tools.model import Build

TELL_S = 1.0
"""Who waits is told after so long, and every so often. Most contexts are read by then."""


async def identified(
    name: str, build: Build, *, platform: str, bases: Mapping[str, str], memory: Memory, progress: Progress
) -> Identity:
    """`identify`, of a tool's build; raises the same."""
    reading = Reading()
    work = asyncio.ensure_future(
        asyncio.to_thread(identify, build, platform=platform, bases=bases, memory=memory, reading=reading)
    )
    try:
        while not (await asyncio.wait({work}, timeout=TELL_S))[0]:
            progress.progress(f"reading the build context of {name}: {reading.read_bytes >> 20} MiB so far")
        return work.result()
    finally:
        if not work.done():
            reading.stop = True
            await asyncio.wait({work})  # a thread cannot be cancelled; it looks at each MiB whether it is to go on
            work.exception()  # seen
