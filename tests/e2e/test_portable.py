"""An engine out of reach: runs by way of the daemon and the engine, in frames. The contract has `--rung portable`."""

import asyncio
import hashlib
import os
import pty
import re
import select
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.e2e.test_reach import free_port
from tests.fakes.proxy import ENGINE
from tests.house import DEADLINE_S, ME, PEOPLE, House, Person, docker
from tests.waiting import until

pytestmark = pytest.mark.timeout(120)
LARGE = 3_000_001
"""Bytes: far more than all that may be under way."""


@pytest.fixture(scope="module", params=PEOPLE, ids=lambda person: person.name)
def far(request: pytest.FixtureRequest, image: str) -> Iterator[House]:
    """A house whose daemon is told that it cannot reach agents."""
    person: Person = request.param
    with House(person, DX_FORCE="portable") as house:
        house.define(f"[tools.busy]\nimage = '{image}'\ncommands = ['cat', 'sh', 'head']\n")
        house.start()
        yield house


@contextmanager
def by_tcp(upstream: str) -> Iterator[str]:
    """The engine's socket as a port of this machine."""
    loop = asyncio.new_event_loop()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_unix_connection(upstream)
        await asyncio.gather(pump(reader, back), pump(there, writer))

    server = loop.run_until_complete(asyncio.start_server(serve, "127.0.0.1", 0))
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield f"tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        loop.call_soon_threadsafe(server.close)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(DEADLINE_S)
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()


def test_files_are_the_callers(far: House, image: str) -> None:
    """What a run writes to the current directory is there, and its caller's; the agent's own directory is not seen."""
    place = far.place()
    done = far.run([image, "sh", "-c", "echo said; id -u; echo text > file; test -e /.dx; exit $?"], cwd=place)
    assert (done.returncode, done.stdout, done.stderr) == (1, f"said\n{far.person.uid}\n".encode(), b"")
    path = os.path.join(place, b"file")
    with open(path, "rb") as file:
        assert file.read() == b"text\n"
    assert os.stat(path).st_uid == far.person.uid


@pytest.mark.parametrize("shim", [True, False])
def test_all_bytes_come_through_both_ways(far: House, shim: bool) -> None:
    """More than may be under way at a time, with both ends closing, by a shim and by `dx run`."""
    data = os.urandom(LARGE)
    line = [str(far.shim("cat"))] if shim else [str(far.bin / "dx"), "run", "cat"]
    done = subprocess.run(line, input=data, capture_output=True, timeout=DEADLINE_S, **far.options({}))
    assert (done.returncode, done.stderr) == (0, b"")
    assert hashlib.sha256(done.stdout).digest() == hashlib.sha256(data).digest()


def test_the_order_of_two_streams_that_are_one(far: House, image: str) -> None:
    """Where stdout and stderr are one file, what is written to them stays in order."""
    script = "for i in 1 2 3 4 5 6 7 8; do echo out $i; echo err $i >&2; done"
    done = far.run([image, "sh", "-c", script], stderr=subprocess.STDOUT)
    assert done.stdout.decode().split("\n")[:-1] == [f"{name} {i}" for i in range(1, 9) for name in ("out", "err")]


def test_a_run_waits_for_a_slow_reader(far: House, image: str) -> None:
    """What nobody reads is not gathered anywhere: the run stands still."""
    with far.popen(["run", image, "sh", "-c", f"head -c {LARGE} /dev/zero; echo done >&2"],
                   stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.read(1) == b"\0"
        assert not select.select([process.stderr], [], [], 0.5)[0]
        assert len(process.stdout.read()) == LARGE - 1
        assert process.stderr.read() == b"done\n"
        assert process.wait(DEADLINE_S) == 0


def test_what_a_run_does_not_read_of_a_file_is_left(far: House, image: str) -> None:
    """As natively: the next command goes on where the run stopped, and a loop over lines is not eaten up."""
    place = far.place()
    script = (
        f"printf '1\\n2\\n3\\n' > lines; while read line; do '{far.bin}/dx' run {image} echo got $line; done < lines"
    )
    done = subprocess.run(
        ["/bin/sh", "-c", script], capture_output=True, timeout=DEADLINE_S, **far.options({"cwd": place})
    )
    assert (done.stdout, done.stderr) == (b"got 1\ngot 2\ngot 3\n", b"")


def test_a_reader_that_goes_ends_the_run(far: House, image: str) -> None:
    """SIGPIPE reaches the tool, and the launcher dies of it as well."""
    script = f"'{far.bin}/dx' run {image} yes | head -n 1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["/bin/bash", "-c", script], capture_output=True, timeout=DEADLINE_S, **far.options({}))
    assert (done.stdout, done.stderr) == (b"y\n141\n", b"")


def test_other_descriptors_are_told_of(far: House, image: str) -> None:
    """What cannot be had is said, and not silently missing."""
    with open(__file__, "rb") as extra:
        done = far.run([image, "echo", "there"], pass_fds=[extra.fileno()])
        assert done.stdout == b"there\n"
        assert re.fullmatch(rb"dx: descriptors .*: %d\n" % extra.fileno(), done.stderr)


def test_a_terminal_that_a_run_does_not_get_is_told_of(far: House, image: str) -> None:
    """Where stdout is one and stdin is not; where neither is, nothing is said."""
    for at_terminal in (True, False):
        master, slave = pty.openpty()
        done = far.run([image, "sh", "-c", "test -t 1"], stdout=slave if at_terminal else subprocess.PIPE)
        os.close(master)
        os.close(slave)
        assert done.returncode == 1
        assert done.stderr.count(b"dx: stdout is a terminal") == at_terminal


def test_what_cannot_be_written_is_no_success(far: House, image: str) -> None:
    """The tool has ended by then, and cannot know."""
    with open("/dev/full", "wb") as full:
        done = far.run([image, "echo", "text"], stdout=full)
    assert done.returncode == 125
    assert done.stderr == b"dx: cannot write to descriptor 1: No space left on device\n"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=lambda number: number.name)
def test_nothing_is_left_of_a_launcher_that_dies(far: House, image: str, number: signal.Signals) -> None:
    """The run goes with it."""
    with far.popen(["run", image, "sh", "-c", "echo begun; sleep 1000"], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"begun\n"
        process.send_signal(number)
        assert process.wait(DEADLINE_S) == -number
    until(lambda: not _processes(far, "sleep 1000"), "the run has ended")
    until(lambda: not _processes(far, "agent attach"), "what stood for the launcher has ended")


def test_a_new_daemon_adopts_the_container(far: House, image: str) -> None:
    """And does not start another."""
    assert far.run([image, "true"]).returncode == 0
    before = far.containers()
    far.stop(signal.SIGKILL)
    assert far.run([image, "echo", "again"]).stdout == b"again\n"
    assert far.containers() == before


def test_a_container_that_goes_is_told_of(far: House, image: str) -> None:
    """Mid-run; and the next run has another."""
    with far.popen(["run", image, "sh", "-c", "echo begun; sleep 1000"],
                   stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b"begun\n"
        docker("rm", "--force", *far.containers())
        assert process.wait(DEADLINE_S) == 125
        assert b"was stopped" in process.stderr.read()
    assert far.run([image, "echo", "again"]).stdout == b"again\n"


def test_an_engine_that_is_reached_by_tcp(image: str) -> None:
    """Nobody has to force it: such an engine is elsewhere, as far as can be known."""
    upstream = os.environ.get("DOCKER_HOST", f"unix://{ENGINE}").removeprefix("unix://")
    with by_tcp(upstream) as address, House(ME, DOCKER_HOST=address) as house:
        said = f"dx: the engine is at {address}: of {house.work} the run sees what is there\n".encode()
        for told in (said, b""):  # once for a container
            done = house.run([image, "sh", "-c", "cat; exit 3"], input=b"text")
            assert (done.returncode, done.stdout, done.stderr) == (3, b"text", told)
        port = free_port()
        done = house.run(["--port", f"{port}:80", image, "true"])
        assert f"of its machine, not of this one, is port 127.0.0.1:{port}\n".encode() in done.stderr
        house.stop()


def _processes(house: House, words: str) -> list[str]:
    """Those in the house's containers with these words in their command lines."""
    lines = [line for each in house.containers() for line in docker("top", each, "-eo", "pid,args").split("\n")]
    return [line for line in lines if words in line]
