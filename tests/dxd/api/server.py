"""The edge in a process of its own: `server.py DIRECTORY`; says `ready`, serves `DIRECTORY/s`, logs to stderr."""

import asyncio
import sys
from pathlib import Path

from dxd import telemetry
from dxd.lifecycle.listener import bind
from tests.dxd.api.conftest import QUICK
from tests.dxd.api.rooms import Rooms, make_app


async def serve(directory: Path) -> None:
    """Serve until killed."""
    telemetry.configure(directory / "log")
    await make_app(Rooms(), directory, QUICK).front.listen(bind(directory / "s"))
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


asyncio.run(serve(Path(sys.argv[1])))
