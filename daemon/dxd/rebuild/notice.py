"""A word on the desktop, where there is one."""

import asyncio
import shutil
from asyncio.subprocess import DEVNULL
from contextlib import suppress

PROGRAM = "notify-send"
PATIENCE_S = 5.0


async def tell(title: str, text: str) -> None:
    """Show a notification; nothing where that cannot be, and never an error."""
    program = shutil.which(PROGRAM)
    if program is None:
        return
    with suppress(OSError, TimeoutError):
        line = (program, "--app-name=dx", "--", title, text)
        process = await asyncio.create_subprocess_exec(*line, stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL)
        try:
            async with asyncio.timeout(PATIENCE_S):
                await process.wait()
        finally:
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
