"""A process that follows one container and tells how many entries it has read back; a test kills it.

`python follower.py DIRECTORY CONTAINER`.
"""

import asyncio
import sys
from pathlib import Path

from dxd.engine.docker import Engine
from dxd.engine.model import ContainerId
from dxd.logs.logs import Logs
from dxd.logs.model import Instance, Query
from tests.dxd.logs.made import ALL, WEB
from tests.fakes.proxy import ENGINE


async def main(directory: Path, container: ContainerId) -> None:
    """Follow it, until somebody kills this."""
    logs = Logs(engine=Engine(f"unix://{ENGINE}"), directory=directory, max_bytes=ALL)
    logs.follow(WEB, Instance(container, f"shop-web-{container[:3]}"))
    while WEB not in logs.kept("shop"):
        await asyncio.sleep(0.01)
    count = 0
    async for entries in await logs.read(Query((WEB,), follow=True)):
        count += len(entries)
        print(count, flush=True)


asyncio.run(main(Path(sys.argv[1]), ContainerId(sys.argv[2])))
