"""Following real containers, over all that can end a connection: no byte is lost, none is there twice."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from dxd.engine.docker import Engine
from dxd.engine.model import ContainerId
from dxd.logs.logs import Logs
from dxd.logs.model import Instance, Line, Query, Told, Unkept
from dxd.logs.weave import Entry
from tests.dxd.logs.made import ALL, WEB
from tests.fakes.private_engine import PrivateEngine
from tests.fakes.proxy import ENGINE, Proxy
from tests.fakes.real_engine import EngineMaker, Workshop
from tests.waiting import until_turned

COUNT = "i=0; while [ $i -lt %d ]; do echo line $i; i=$((i+1)); done"
SLOWLY = (
    "i=0; while [ $i -lt %d ]; do echo line $i; [ $((i%%2)) = 0 ] || echo err $i >&2; i=$((i+1)); usleep 3000; done"
)


def instance(container: ContainerId) -> Instance:
    return Instance(container, f"shop-web-{container[:3]}")


@asynccontextmanager
async def logs_in(engine: Engine, directory: Path, max_bytes: int = ALL) -> AsyncIterator[Logs]:
    logs = Logs(engine=engine, directory=directory, max_bytes=max_bytes)
    try:
        yield logs
    finally:
        await logs.close()


async def entries(logs: Logs, **more: Any) -> list[Entry]:
    """All that is kept of the service."""
    return [each async for some in await logs.read(Query((WEB,), **more)) for each in some]


def printed(told: list[Entry], *, stderr: bool = False) -> bytes:
    """The bytes of one stream."""
    lines = (each for each in told if isinstance(each, Line) and each.stderr is stderr)
    return b"".join(each.data + b"\n" * each.whole for each in lines)


def kinds(told: list[Entry]) -> list[str]:
    return [each.mark.kind.value for each in told if isinstance(each, Told)]


async def container_of(workshop: Workshop, script: str, *options: str) -> ContainerId:
    """A started container that runs this script, with options of `docker run`; its output is kept without a limit."""
    await workshop.image()
    command = ["docker", "--host", f"unix://{ENGINE}", "run", "--detach", "--network", "none"]
    command += ["--label", f"dx.test={workshop.word}", *options, workshop.name(), "/bin/busybox", "sh", "-c", script]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, check=True, timeout=60)
    return ContainerId(done.stdout.decode().strip())


def bytes_below(directory: Path) -> int:
    """Of the files in it, which come and go meanwhile."""
    size = 0
    for each in directory.rglob("*.log*"):
        with suppress(FileNotFoundError):
            size += each.stat().st_size
    return size


def resident() -> int:
    """Bytes of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def counted(word: str, numbers: range) -> bytes:
    return b"".join(b"%s %d\n" % (word.encode(), number) for number in numbers)


async def has(logs: Logs, wanted: Callable[[bytes], bool]) -> bool:
    return wanted(printed(await entries(logs)))


async def test_both_streams_are_kept_byte_for_byte(workshop: Workshop, tmp_path: Path) -> None:
    """A line of many pieces, and no newline at the end."""
    script = r"printf 'a\n\000\n'; printf 'b\r\n' >&2; head -c 100000 /dev/zero | tr '\0' x; echo; printf end"
    container = await container_of(workshop, script)
    async with logs_in(workshop.engine, tmp_path) as logs:
        logs.follow(WEB, instance(container))
        await until_turned(lambda: not logs.followed())
        told = await entries(logs)
        assert printed(told) == b"a\n\x00\n" + b"x" * 100000 + b"\nend"
        assert printed(told, stderr=True) == b"b\r\n"
        assert kinds(told) == ["ended"]


async def test_the_driver_local_forgets_the_newline_of_a_long_line(workshop: Workshop, tmp_path: Path) -> None:
    """Of an engine 20.10. It is a line of its own all the same, since its pieces have a time of their own."""
    script = "head -c 40000 /dev/zero | tr '\\0' x; echo; echo next"
    container = await container_of(workshop, script, "--log-driver", "local")
    async with logs_in(workshop.engine, tmp_path) as logs:
        logs.follow(WEB, instance(container))
        await until_turned(lambda: not logs.followed())
        told = [each.data for each in await entries(logs) if isinstance(each, Line)]
        assert told == [b"x" * 40000, b"next"]


async def test_random_bytes(workshop: Workshop, tmp_path: Path) -> None:
    """A megabyte of them, of which the container has told the digest."""
    script = "head -c 1000000 /dev/urandom > /r; md5sum < /r >&2; cat /r"
    container = await container_of(workshop, script, "--log-driver", "local")
    async with logs_in(workshop.engine, tmp_path) as logs:
        logs.follow(WEB, instance(container))
        await until_turned(lambda: not logs.followed(), deadline_s=60)
        told = await entries(logs)
        done = subprocess.run(["md5sum"], input=printed(told), capture_output=True, check=True)
        assert done.stdout == printed(told, stderr=True)


async def test_what_the_driver_json_file_makes_of_bytes_that_are_no_text(workshop: Workshop, tmp_path: Path) -> None:
    """The engine itself puts U+FFFD in their place, before anybody can read them."""
    container = await container_of(workshop, r"printf '\377\n'", "--log-driver", "json-file")
    async with logs_in(workshop.engine, tmp_path) as logs:
        logs.follow(WEB, instance(container))
        await until_turned(lambda: not logs.followed())
        assert printed(await entries(logs)) == "\N{REPLACEMENT CHARACTER}\n".encode()


async def test_a_container_with_a_terminal(workshop: Workshop, tmp_path: Path) -> None:
    """One stream; a timestamp in the middle of a line, and a long line, change nothing."""
    script = "echo at 2026-11-24T10:00:00.000000000Z ok; echo err >&2; head -c 40000 /dev/zero | tr '\\0' x"
    container = await container_of(workshop, script + "; echo; printf end", "--tty")
    async with logs_in(workshop.engine, tmp_path) as logs:
        logs.follow(WEB, instance(container))
        await until_turned(lambda: not logs.followed())
        expected = b"at 2026-11-24T10:00:00.000000000Z ok\r\nerr\r\n" + b"x" * 40000 + b"\r\nend"
        assert printed(await entries(logs)) == expected


async def test_connections_that_are_cut_lose_and_double_nothing(
    workshop: Workshop, proxy: Proxy, make_engine: EngineMaker, tmp_path: Path
) -> None:
    """Twenty times, in the middle of what is printed."""
    container = await container_of(workshop, SLOWLY % 1000)
    proxy.piece_bytes = 700
    async with logs_in(make_engine(proxy.address), tmp_path) as logs:
        logs.follow(WEB, instance(container))
        for _ in range(20):
            kept = logs._services[WEB].keeper.end
            await until_turned(lambda kept=kept: logs._services[WEB].keeper.end != kept)  # type: ignore[misc]
            await proxy.cut()
        proxy.piece_bytes = 65536
        await until_turned(lambda: not logs.followed(), deadline_s=60)
        told = await entries(logs)
        assert printed(told) == counted("line", range(1000))
        assert printed(told, stderr=True) == counted("err", range(1, 1000, 2))
        assert kinds(told) == ["ended"]


async def test_a_follower_that_is_killed_goes_on_where_it_was(workshop: Workshop, tmp_path: Path) -> None:
    """A process of its own, with SIGKILL, again and again."""
    container = await container_of(workshop, SLOWLY % 1500)
    program = Path(__file__).with_name("follower.py")
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(each for each in sys.path if each)}
    for _ in range(6):
        async with logs_in(workshop.engine, tmp_path) as logs:
            before = len(await entries(logs)) if logs.kept("shop") else 0
        process = await asyncio.create_subprocess_exec(
            sys.executable, program, tmp_path, container, stdout=asyncio.subprocess.PIPE, env=environ
        )
        assert process.stdout is not None
        while int((await process.stdout.readline()) or b"-1") < before + 40:
            assert process.returncode is None
        process.kill()
        await process.wait()
    async with logs_in(workshop.engine, tmp_path) as logs:
        logs.follow(WEB, instance(container))
        await until_turned(lambda: not logs.followed(), deadline_s=60)
        told = await entries(logs)
        assert printed(told) == counted("line", range(1500))
        assert printed(told, stderr=True) == counted("err", range(1, 1500, 2))
        assert set(kinds(told)) <= {"ended", "torn"}


async def test_following_goes_over_a_container_that_is_made_anew(workshop: Workshop, tmp_path: Path) -> None:
    """A reader that follows the service sees the lines of both, once, in their order."""
    first = await container_of(workshop, COUNT % 200 + "; sleep 60")
    async with logs_in(workshop.engine, tmp_path) as logs:
        logs.follow(WEB, instance(first))
        seen: list[Entry] = []

        async def read() -> None:
            async for some in await logs.read(Query((WEB,), follow=True)):
                seen.extend(some)

        reader = asyncio.create_task(read())
        await until_turned(lambda: printed(seen) == counted("line", range(200)))
        await workshop.engine.remove(first)
        await until_turned(lambda: not logs.followed())
        second = await container_of(workshop, COUNT % 100)
        logs.follow(WEB, instance(second))
        await until_turned(lambda: not logs.followed())
        await until_turned(lambda: len(printed(seen)) >= len(counted("line", range(200)) + counted("line", range(100))))
        reader.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reader
        assert printed(seen) == counted("line", range(200)) + counted("line", range(100))
        names = {each.instance.name for each in seen if isinstance(each, Line)}
        assert names == {instance(first).name, instance(second).name}


async def test_a_container_that_is_started_again_goes_on(workshop: Workshop, tmp_path: Path) -> None:
    container = await container_of(workshop, "echo again")
    async with logs_in(workshop.engine, tmp_path) as logs:
        for number in range(1, 4):
            logs.follow(WEB, instance(container))
            logs.follow(WEB, instance(container))
            await until_turned(lambda: not logs.followed())
            assert printed(await entries(logs)) == b"again\n" * number
            await workshop.engine.start(container)
            await workshop.docker.containers.container(container).wait()


async def test_a_flood_is_bounded_and_holds_up_nobody(workshop: Workshop, tmp_path: Path) -> None:
    """On the disk, and in memory; the loop goes on turning."""
    container = await container_of(
        workshop, "yes 'INFO a line as services print them, of some length' | head -c 20000000"
    )
    async with logs_in(workshop.engine, tmp_path, 4_000_000) as logs:
        logs.follow(WEB, instance(container))
        longest, loop = 0.0, asyncio.get_running_loop()
        peak, memory, begun = 0, 0, resident()
        while logs.followed():
            before = loop.time()
            await asyncio.sleep(0.005)
            longest = max(longest, loop.time() - before)
            memory = max(memory, resident() - begun)
            peak = max(peak, bytes_below(tmp_path))
        assert longest < 0.5
        assert peak < 5_500_000
        assert memory < 40 << 20
        told = await entries(logs, tail=5)
        assert [each.data for each in told if isinstance(each, Line)][-1].startswith(b"INFO a line")


@pytest.fixture
def small_disk(tmp_path: Path) -> Path:
    """A file system of three megabytes."""
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    place = tmp_path / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", place], check=True)
    return place


async def test_a_full_disk_is_waited_for(workshop: Workshop, small_disk: Path) -> None:
    """What is printed meanwhile is with the engine, and is there afterwards; one reader and the daemon go on."""
    try:
        (small_disk / "other").write_bytes(bytes(2_800_000))
        container = await container_of(workshop, COUNT % 60000)
        async with logs_in(workshop.engine, small_disk / "logs", 30_000_000) as logs:
            logs.follow(WEB, instance(container))
            await until_turned(logs.unkept)
            assert logs.unkept() == {
                WEB: Unkept("its output is not kept: No space left on device", f"make room in {small_disk / 'logs'}")
            }
            assert logs.followed()
            assert printed(await entries(logs)).startswith(b"line 0\nline 1\n")
            (small_disk / "other").unlink()
            await until_turned(lambda: not logs.followed(), deadline_s=60)
            told = await entries(logs)
            assert printed(told) == counted("line", range(60000))
            assert kinds(told) == ["ended"]
            assert not logs.unkept()
    finally:
        subprocess.run(["umount", small_disk], check=True)


async def test_what_the_engine_threw_away_is_marked(workshop: Workshop, tmp_path: Path) -> None:
    """It keeps half a megabyte here, and three were printed while nobody read."""
    script = (
        COUNT % 10 + "; sleep 1; yes 'a line that is of some length, but not of much' | head -c 3000000; echo; echo end"
    )
    container = await container_of(workshop, script, "--log-opt", "max-size=500k")
    async with logs_in(workshop.engine, tmp_path) as logs:
        logs.follow(WEB, instance(container))
        await until_turned(lambda: has(logs, lambda data: b"line 9\n" in data) if logs.kept("shop") else False)
    await workshop.docker.containers.container(container).wait()
    async with logs_in(workshop.engine, tmp_path) as logs:
        logs.follow(WEB, instance(container))
        await until_turned(lambda: not logs.followed(), deadline_s=60)
        told = await entries(logs)
        assert printed(told).startswith(counted("line", range(10)))
        assert printed(told).endswith(b"\nend\n")
        assert kinds(told)[0] == "gap"


async def test_what_the_engine_tells_twice_is_kept_once(workshop: Workshop, tmp_path: Path) -> None:
    """As engine 20.10 does where its files are rotated faster than it follows them: some of this in each try."""
    container = await container_of(
        workshop, "sleep 1; " + COUNT % 60000, "--log-opt", "max-size=10k", "--log-opt", "max-file=5"
    )
    async with logs_in(workshop.engine, tmp_path) as logs:
        logs.follow(WEB, instance(container))
        await until_turned(lambda: not logs.followed(), deadline_s=60)
        found = [int(each.split()[1]) for each in printed(await entries(logs)).splitlines()]
    assert found[-1] == 59999
    assert len(found) > 200
    assert found == sorted(set(found))


async def test_a_container_that_is_removed_while_the_engine_is_away_is_a_gap(
    workshop: Workshop, proxy: Proxy, make_engine: EngineMaker, tmp_path: Path
) -> None:
    container = await container_of(workshop, "echo one; sleep 60")
    async with logs_in(make_engine(proxy.address), tmp_path) as logs:
        logs.follow(WEB, instance(container))
        await until_turned(lambda: has(logs, lambda data: data == b"one\n") if logs.kept("shop") else False)
        await proxy.stop()
        await workshop.engine.remove(container)
        await proxy.start()
        await until_turned(lambda: not logs.followed())
        assert kinds(await entries(logs)) == ["gap"]


async def test_a_container_that_is_removed_while_it_runs_may_have_printed_more(
    workshop: Workshop, tmp_path: Path
) -> None:
    """Of one that had stopped, all is there."""
    container = await container_of(workshop, "echo one; sleep 60")
    stopped = await container_of(workshop, "echo two")
    async with logs_in(workshop.engine, tmp_path) as logs:
        for each in (stopped, container):
            logs.follow(WEB, instance(each))
        await until_turned(lambda: stopped not in logs.followed())
        await until_turned(lambda: has(logs, lambda data: b"one\n" in data))
        for each in (stopped, container):
            await workshop.engine.remove(each)
        await until_turned(lambda: not logs.followed())
        told = [each.mark for each in await entries(logs) if isinstance(each, Told)]
        assert [each.kind for each in told] == ["ended", "gap"]
        assert [each.instance for each in told] == [instance(stopped), instance(container)]


async def test_a_container_that_is_removed_while_nobody_looks_may_have_printed_more(
    workshop: Workshop, tmp_path: Path
) -> None:
    """Said once, by the next who keeps something of the service, and not of one whose end is told."""
    gone = [await container_of(workshop, "echo one; sleep 60"), await container_of(workshop, "echo two")]
    async with logs_in(workshop.engine, tmp_path) as logs:
        for each in gone:
            logs.follow(WEB, instance(each))
        await until_turned(lambda: logs.followed() == {gone[0]})
        await until_turned(lambda: has(logs, lambda data: b"one\n" in data))
    for each in gone:
        await workshop.engine.remove(each)
    for _ in range(2):
        async with logs_in(workshop.engine, tmp_path) as logs:
            logs.follow(WEB, instance(await container_of(workshop, "echo next")))
            await until_turned(lambda: not logs.followed())
            told = [each.mark for each in await entries(logs) if isinstance(each, Told)]
            assert [each.reason for each in told if each.instance == instance(gone[0])] == [
                "the container was removed while it ran: its last lines may be missing"
            ]
            assert len([each for each in told if each.instance == instance(gone[1])]) == 1


async def test_what_is_kept_of_a_project_is_forgotten(workshop: Workshop, tmp_path: Path) -> None:
    container = await container_of(workshop, "echo one; sleep 60")
    async with logs_in(workshop.engine, tmp_path) as logs:
        logs.follow(WEB, instance(container))
        await until_turned(lambda: has(logs, bool) if logs.kept("shop") else False)
        reader = asyncio.create_task(entries(logs, follow=True))
        await until_turned(lambda: logs._services[WEB].readers)
        await logs.forget("shop")
        assert printed(await asyncio.wait_for(reader, 20)) in {b"", b"one\n"}
        assert not logs.followed()
        assert logs.projects() == []
        logs.follow(WEB, instance(container))
        await until_turned(lambda: has(logs, bool) if logs.kept("shop") else False)
        assert printed(await entries(logs)) == b"one\n"


async def test_an_engine_that_starts_again(workshop: Workshop, make_engine: EngineMaker, tmp_path: Path) -> None:
    """Its containers live on, and print while it is away."""
    await workshop.image()
    with PrivateEngine() as private:
        private.load(workshop.name())
        script = SLOWLY % 2000
        options = ["--detach", "--network", "none", workshop.name(), "/bin/busybox", "sh", "-c", script]
        container = ContainerId(private.docker("run", *options))
        async with logs_in(make_engine(private.address), tmp_path) as logs:
            logs.follow(WEB, instance(container))
            for number in (100, 400):
                await until_turned(
                    lambda number=number: has(logs, lambda data: b"line %d\n" % number in data)  # type: ignore[misc]
                )
                await asyncio.to_thread(private.stop)
                await asyncio.to_thread(private.start)
            await until_turned(lambda: not logs.followed(), deadline_s=60)
            told = await entries(logs)
            assert printed(told) == counted("line", range(2000))
            assert printed(told, stderr=True) == counted("err", range(1, 2000, 2))
