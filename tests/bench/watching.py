"""What watching 100,000 files in 20 contexts costs: start, memory, idle CPU, an edit, a storm of 20,000 changes.

`python -m tests.bench.watching` prints the figures, and those of walking through the same trees, as for what is polled.
"""

import asyncio
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from dxd.watch.model import Tree
from dxd.watch.poll import digest
from dxd.watch.watcher import Watcher

CONTEXTS = 20
DIRECTORIES = 500
FILES = 10
IDLE_S = 10.0


def make(top: Path) -> list[str]:
    """The contexts: each of 500 directories with ten files."""
    contexts = [top / f"context{number}" for number in range(CONTEXTS)]
    for context in contexts:
        for number in range(DIRECTORIES):
            directory = context / f"package{number // 25}" / f"module{number}"
            directory.mkdir(parents=True)
            for file in range(FILES):
                (directory / f"file{file}").touch()
    return [str(each) for each in contexts]


def storm(context: str) -> None:
    """20,000 changes."""
    for number in range(10_000):
        path = Path(context, "package0", f"new{number}")
        path.touch()
        path.unlink()


def resident_kib() -> int:
    """Of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024


async def until(look: Callable[[], object]) -> None:
    """Let the loop turn until there is something."""
    while not look():
        await asyncio.sleep(0.001)


async def longest_pause(stop: asyncio.Event) -> float:
    """How long the loop did not come round, at most."""
    longest = 0.0
    while not stop.is_set():
        began = time.perf_counter()
        await asyncio.sleep(0.001)
        longest = max(longest, time.perf_counter() - began - 0.001)
    return longest


async def measure(contexts: list[str]) -> None:
    """Print it all."""
    calls: list[str] = []

    def changed(key: str) -> None:
        calls.append(key)
        watcher.settled(key)

    stop = asyncio.Event()
    pause = asyncio.create_task(longest_pause(stop))
    await asyncio.sleep(0.01)
    memory, cpu, began = resident_kib(), time.process_time(), time.perf_counter()
    watcher = Watcher(changed)
    for context in contexts:
        watcher.set(context, [Tree(context)])
    await until(lambda: not watcher.busy)
    took, used = time.perf_counter() - began, time.process_time() - cpu
    stop.set()
    print(f"start       {took * 1000:8.0f} ms, CPU {used * 1000:.0f} ms, loop held {await pause * 1000:.0f} ms at most")
    print(f"memory      {resident_kib() - memory:8d} KiB, of this process, for {watcher.watches} watches")
    await until(lambda: len(calls) == CONTEXTS)

    cpu = time.process_time()
    await asyncio.sleep(IDLE_S)
    print(f"idle        {(time.process_time() - cpu) / IDLE_S * 100:8.3f} % of a core")

    began = time.perf_counter()
    for _ in range(1000):
        watcher.dirty(contexts[0])
    print(f"dirty()     {(time.perf_counter() - began) * 1000:8.2f} us")

    calls.clear()
    began = time.perf_counter()
    Path(contexts[7], "package3/module75/file1").write_text("x")
    assert watcher.dirty(contexts[7])
    await until(lambda: calls)
    print(f"one edit    {(time.perf_counter() - began) * 1000:8.0f} ms until it is told of")

    calls.clear()
    stop = asyncio.Event()
    pause = asyncio.create_task(longest_pause(stop))
    began, cpu = time.perf_counter(), time.thread_time()
    await asyncio.to_thread(storm, contexts[0])
    took = time.perf_counter() - began
    await asyncio.sleep(0.5)
    stop.set()
    used = time.thread_time() - cpu
    print(f"storm       {took * 1000:8.0f} ms, loop's CPU {used * 1000:.0f} ms, told of {len(calls)} times, ", end="")
    print(f"loop held {await pause * 1000:.0f} ms at most")

    began = time.perf_counter()
    for context in contexts:
        watcher.drop(context)
    held = time.perf_counter() - began
    await until(lambda: not watcher.busy)
    print(f"drop all    {(time.perf_counter() - began) * 1000:8.0f} ms, loop held {held * 1000:.0f} ms")
    await watcher.close()

    began = time.perf_counter()
    for context in contexts:
        digest(Tree(context), threading.Event())
    print(f"a walk      {(time.perf_counter() - began) * 1000:8.0f} ms, if all of it were polled")


def main() -> None:
    """Make the trees, measure, remove them."""
    with tempfile.TemporaryDirectory() as top:
        contexts = make(Path(top).resolve())
        sys.stdout.write(f"{CONTEXTS * DIRECTORIES * FILES} files in {CONTEXTS} contexts\n")
        asyncio.run(measure(contexts))


if __name__ == "__main__":
    main()
