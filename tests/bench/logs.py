"""One of the two that tests/bench/test_logs.py measures: follows a container to its end, or reads back what was kept.

`python -m tests.bench.logs capture CONTAINER DIRECTORY`, and `... read DIRECTORY`, print figures.
"""

import asyncio
import resource
import sys
import time
from pathlib import Path

from dxd.engine.docker import Engine
from dxd.engine.model import ContainerId
from dxd.logs.logs import Logs
from dxd.logs.model import Instance, Line, Query, ServiceId
from tests.fakes.proxy import ENGINE

MAX_BYTES = 30_000_000
SERVICE = ServiceId("bench", "flood")


def figures(began: float) -> tuple[float, float, int]:
    """Seconds, CPU seconds and peak KiB of this process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return time.perf_counter() - began, used.ru_utime + used.ru_stime, used.ru_maxrss


async def capture(container: str, directory: Path) -> None:
    """Follow it to its end; print the figures."""
    engine = Engine(f"unix://{ENGINE}")
    logs = Logs(engine=engine, directory=directory, max_bytes=MAX_BYTES)
    began = time.perf_counter()
    logs.follow(SERVICE, Instance(ContainerId(container), "flood"))
    longest = 0.0
    while logs.followed():
        before = time.perf_counter()
        await asyncio.sleep(0.002)
        longest = max(longest, time.perf_counter() - before - 0.002)
    print(*figures(began), longest)
    await logs.close()
    await engine.close()


async def read(directory: Path) -> None:
    """Read everything back; print how many bytes, and the figures."""
    engine = Engine(f"unix://{ENGINE}")
    logs = Logs(engine=engine, directory=directory, max_bytes=MAX_BYTES)
    began = time.perf_counter()
    size = 0
    async for entries in await logs.read(Query((SERVICE,))):
        size += sum(len(each.data) + 1 for each in entries if isinstance(each, Line))
    print(size, *figures(began))
    await logs.close()
    await engine.close()


def main() -> None:
    """Do the one or the other."""
    match sys.argv[1:]:
        case ["capture", container, directory]:
            asyncio.run(capture(container, Path(directory)))
        case ["read", directory]:
            asyncio.run(read(Path(directory)))


if __name__ == "__main__":
    main()
