"""What it costs the daemon to follow 20 tools of 5,000 files each. Prints; nothing fails by time."""

import os
import time
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from statistics import median

import pytest

from tests.e2e.project import BUILD_S, Project
from tests.house import House
from tests.waiting import until

TOOLS = 20
DIRECTORIES = 500
FILES = 10
IDLE_S = 30.0
EDITS = 5


def fill(project: Project) -> None:
    """Put 500 directories with ten files into the context."""
    for number in range(DIRECTORIES):
        directory = project.path / f"package{number // 25}" / f"module{number}"
        directory.mkdir(parents=True)
        for file in range(FILES):
            (directory / f"file{file}").write_text("x")


def watches(pid: int) -> int:
    """How many directories the kernel watches for a process."""
    found = 0
    for each in Path(f"/proc/{pid}/fdinfo").iterdir():
        with suppress(FileNotFoundError):
            found += each.read_text().count("inotify wd:")
    return found


def cpu_s(pid: int) -> float:
    """The processor's time that a process had so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_mib(pid: int) -> float:
    """Of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


@pytest.mark.timeout(1200)
def test_twenty_tools_of_five_thousand_files(house: House, image: str) -> None:
    """The daemon's start until all are watched, its rest, and an edit until it is built."""
    projects = [Project(house, image) for _ in range(TOOLS)]
    try:
        for each in projects:
            fill(each)
        house.define("".join(each.definition() for each in projects))
        bare = resident_mib(pid := house.start())
        print(f"\nidle for {IDLE_S:.0f} s without a tool that was built: {idle(pid):.3f} % of a core")
        for each in projects:
            assert each.run() == "first"
        house.stop()

        wanted = TOOLS * (DIRECTORIES + DIRECTORIES // 25 + 1)
        begun = time.monotonic()
        pid = house.start()
        until(lambda: watches(pid) >= wanted, "all of it is watched", deadline_s=BUILD_S)
        took = time.monotonic() - begun
        print(f"{TOOLS * DIRECTORIES * FILES} files: {watches(pid)} watches {took:.2f} s after the daemon's start")

        at_rest(pid, "the files are read")
        print(f"memory {resident_mib(pid):.1f} MiB, {bare:.1f} without a tool")
        print(f"idle for {IDLE_S:.0f} s: {idle(pid):.3f} % of a core")

        waits = []
        for number in range(EDITS):
            edited = time.time()
            projects[7].write(f"word {number}")
            projects[7].becomes(f"word {number}")
            began = projects[7].builds()[0]["began_at"]
            waits.append(datetime.fromisoformat(began).timestamp() - edited)
        print(f"edit to the build's beginning: median {median(waits):.3f} s, longest {max(waits):.3f} s")
    finally:
        for each in projects:
            each.close()


def idle(pid: int) -> float:
    """How much of a core a process takes, in percent."""
    before, begun = cpu_s(pid), time.monotonic()
    until(lambda: time.monotonic() - begun > IDLE_S, "some time has passed", deadline_s=2 * IDLE_S)
    return 100 * (cpu_s(pid) - before) / (time.monotonic() - begun)


def at_rest(pid: int, what: str) -> None:
    """Wait until the process has next to nothing to do for five seconds."""

    def rests() -> bool:
        before, begun = cpu_s(pid), time.monotonic()
        until(lambda: time.monotonic() - begun > 5, what)
        return cpu_s(pid) - before < 0.05

    until(rests, what, deadline_s=600)
