"""What capturing a flood costs, beside `docker logs -f > file`, turn by turn; and reading it back.

`python -m tests.bench.logs [MEGABYTES [BYTES]]` prints the figures. Each turn has a container of its own that prints
lines of 100, or of BYTES, as fast as it can. One of the two follows it from its beginning to its end, as a process of
its own.
"""

import asyncio
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from dxd.engine.docker import Engine
from dxd.engine.model import ContainerId
from dxd.logs.logs import Logs
from dxd.logs.model import Instance, Line, Query, ServiceId
from tests.fakes.proxy import ENGINE
from tests.house import image

TURNS = 3
TEXT = "2026-11-24 10:00:00 INFO a line as services print them, all day and all night long. "
MAX_BYTES = 30_000_000
SERVICE = ServiceId("bench", "flood")


def flood(of: str, megabytes: int, line: int) -> str:
    """A container that prints so much."""
    text = (TEXT * (line // len(TEXT) + 1))[: line - 1]
    script = f"yes '{text}' | head -c {megabytes}000000"
    command = ["docker", "run", "-d", "--network", "none", "--label", "dx.bench=logs", of, "/bin/busybox", "sh", "-c"]
    return subprocess.run([*command, script], check=True, capture_output=True, text=True).stdout.strip()


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


def ours(*arguments: str) -> list[float]:
    """What this program prints as a process of its own."""
    command = [sys.executable, "-m", "tests.bench.logs", *arguments]
    return [float(each) for each in subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()]


def theirs(container: str, file: Path) -> list[float]:
    """`docker logs -f > file`: seconds, CPU seconds, peak KiB."""
    began = time.perf_counter()
    with file.open("wb") as sink:
        process = subprocess.Popen(["docker", "logs", "-f", container], stdout=sink)
        _, _, used = os.wait4(process.pid, 0)
    process.returncode = 0
    return [time.perf_counter() - began, used.ru_utime + used.ru_stime, float(used.ru_maxrss)]


def compare(of: str, megabytes: int, line: int, top: Path) -> None:
    """Print it all."""
    mine: list[list[float]] = []
    docker: list[list[float]] = []
    reads: list[list[float]] = []
    for turn in range(TURNS):
        for which in ("ours", "theirs") if turn % 2 else ("theirs", "ours"):
            container = flood(of, megabytes, line)
            try:
                if which == "ours":
                    directory = top / f"turn{turn}"
                    mine.append(ours("capture", container, str(directory)))
                    reads.append(ours("read", str(directory)))
                else:
                    docker.append(theirs(container, top / "docker.txt"))
                    assert (top / "docker.txt").stat().st_size == megabytes * 1_000_000
            finally:
                subprocess.run(["docker", "rm", "-f", container], check=True, capture_output=True)
    print(f"{megabytes} MB in lines of {line} bytes, medians of {TURNS} turns")
    for name, rows in (("dx", mine), ("docker logs -f", docker)):
        seconds, cpu, peak = (median(row[column] for row in rows) for column in range(3))
        print(f"{name:16}{megabytes / seconds:7.1f} MB/s, CPU {cpu / seconds * 100:4.0f} % of a core, ", end="")
        print(f"{cpu / megabytes * 1000:5.0f} ms a MB, peak {peak / 1024:4.0f} MiB")
    print(f"the loop was held for {max(row[3] for row in mine) * 1000:.0f} ms at most")
    rows = sorted(reads, key=lambda row: row[1])
    size, seconds, _, peak = rows[len(rows) // 2]
    print(f"read back       {size / seconds / 1e6:7.1f} MB/s, peak {peak / 1024:4.0f} MiB; kept {size / 1e6:.0f} MB")


def main() -> None:
    """Measure, or be one of the two that are measured."""
    match sys.argv[1:]:
        case ["capture", container, directory]:
            asyncio.run(capture(container, Path(directory)))
        case ["read", directory]:
            asyncio.run(read(Path(directory)))
        case given:
            with image() as of, tempfile.TemporaryDirectory() as top:
                compare(of, int(given[0]) if given else 50, int(given[1]) if given[1:] else 100, Path(top))


if __name__ == "__main__":
    main()
