"""What capturing a flood costs, beside `docker logs -f > file`, turn by turn; and reading it back.

Each turn has a container of its own that prints lines as fast as it can. One of the two follows it from its beginning
to its end, as a process of its own. Then a whole project, whose daemon has other things to do. Prints; nothing fails by
time.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

import pytest

from tests.e2e.shop import Shop
from tests.house import House
from tests.waiting import until

TURNS = 3
TEXT = "2026-11-24 10:00:00 INFO a line as services print them, all day and all night long. "
MEGABYTES = 50


def flood(of: str, megabytes: int, line: int) -> str:
    """A container that prints so much."""
    text = (TEXT * (line // len(TEXT) + 1))[: line - 1]
    script = f"yes '{text}' | head -c {megabytes}000000"
    command = ["docker", "run", "-d", "--network", "none", "--label", "dx.bench=logs", of, "/bin/busybox", "sh", "-c"]
    return subprocess.run([*command, script], check=True, capture_output=True, text=True).stdout.strip()


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
    ratio = median(row[0] for row in docker) / median(row[0] for row in mine)
    print(f"ratio {ratio:.2f}: above 1 dx is faster; ", end="")
    print(f"the loop was held for {max(row[3] for row in mine) * 1000:.0f} ms at most")
    rows = sorted(reads, key=lambda row: row[1])
    size, seconds, _, peak = rows[len(rows) // 2]
    print(f"read back       {size / seconds / 1e6:7.1f} MB/s, peak {peak / 1024:4.0f} MiB; kept {size / 1e6:.0f} MB")


@pytest.mark.parametrize("line", [100, 8000])
def test_a_flood_beside_docker_logs(image: str, tmp_path: Path, line: int) -> None:
    """The engine is the limit of both."""
    print()
    compare(image, MEGABYTES, line, tmp_path)


def test_a_flood_through_a_whole_daemon(house: House) -> None:
    """While `dx services` is asked again and again."""
    script = f"yes '{TEXT * 20}' | head -c {MEGABYTES}000000"
    with Shop(house, flood={"command": ["sh", "-c", script], "restart": "no"}) as shop:
        house.start()
        begun = time.monotonic()
        shop.dx("up")
        took = []

        def is_read() -> bool:
            asked = time.monotonic()
            shop.dx("services")
            took.append(time.monotonic() - asked)
            lines = shop.dx("logs", "--json", "--tail", "1", ok=False).stdout.splitlines()
            return bool(lines) and json.loads(lines[-1]).get("mark") == "ended"

        until(is_read, "all of it is read", deadline_s=300)
        rate = MEGABYTES / (time.monotonic() - begun)
    print(f"\nthrough a daemon: {rate:.1f} MB/s; dx services: median {median(took):.2f} s, longest {max(took):.2f} s")
