"""`dx.Client` in a program of one's own: runs that begin, stream and end as with `subprocess`."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

import dx
from tests.contract.twin import tool
from tests.house import DEADLINE_S, ME, PEOPLE, House, Person
from tests.waiting import until


@pytest.fixture(scope="module", params=["", "portable"], ids=["near", "far"])
def house(request: pytest.FixtureRequest, image: str) -> Iterator[House]:
    """A daemon whose tool offers the image's commands, and whose agents are within reach or not."""
    with House(ME, **({"DX_FORCE": request.param} if request.param else {})) as house:
        house.define(tool(image))
        house.start()
        yield house


@pytest.fixture
def client(house: House, monkeypatch: pytest.MonkeyPatch) -> dx.Client:
    """Of that daemon, for a program in a directory of the house."""
    monkeypatch.chdir(os.fsdecode(house.place()))
    return dx.Client(house.socket)


def test_output_and_status(client: dx.Client) -> None:
    """As `subprocess.run` gives them."""
    done = client.run(["sh", "-c", "echo out; echo err >&2; exit 3"], capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (3, b"out\n", b"err\n")
    ended = client.run(["sh", "-c", "kill -TERM $$"])
    assert ended.returncode == -signal.SIGTERM
    assert not ended.stdout
    with pytest.raises(subprocess.CalledProcessError) as caught:
        client.run(["sh", "-c", "echo why >&2; exit 9"], check=True, stderr=subprocess.PIPE)
    assert (caught.value.returncode, caught.value.stderr) == (9, b"why\n")


def test_input_of_any_size(client: dx.Client) -> None:
    """What goes in comes out, more than any pipe holds, on both streams at once."""
    data = os.urandom(3 << 20)
    done = client.run(["tee", "/dev/stderr"], input=data, capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, data, data)


def test_a_reader_that_does_not_read(client: dx.Client) -> None:
    """Is no error, as with `subprocess`."""
    assert client.run(["true"], input=os.urandom(1 << 20)).returncode == 0


def is_far(house: House) -> bool:
    """Whether its agents are out of reach."""
    return "DX_FORCE" in house.env


def test_streams(client: dx.Client, tmp_path: Path) -> None:
    """A file, nothing, and both in one."""
    with (tmp_path / "out").open("wb") as out:
        client.run(["sh", "-c", "echo a; echo b >&2; echo c"], stdout=out, stderr=subprocess.STDOUT, check=True)
    assert (tmp_path / "out").read_bytes() == b"a\nb\nc\n"
    with (tmp_path / "out").open("rb") as into:
        assert client.run(["cat"], stdin=into, stdout=subprocess.PIPE).stdout == b"a\nb\nc\n"
    assert client.run(["wc", "-c"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE).stdout == b"0\n"
    with (tmp_path / "out").open("rb", buffering=0) as into:
        assert client.run(["sh", "-c", "read it; echo $it"], stdin=into, capture_output=True).stdout == b"a\n"
        assert into.read() == b"b\nc\n", "what was not read is left"


def test_another_descriptor(client: dx.Client, house: House) -> None:
    """Keeps its number; where the agent is out of reach it is refused."""
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as end, os.fdopen(writer, "wb") as to:
        done = partial(client.run, ["sh", "-c", f"echo hello >&{writer}"], pass_fds=[writer], check=True)
        if is_far(house):
            with pytest.raises(dx.RunFailed, match="only 0 to 2 can be passed"):
                done()
            return
        done()
        to.close()
        assert end.read() == b"hello\n"


def test_output_that_cannot_be_written(client: dx.Client, house: House) -> None:
    """Is no success, though out of reach the command has ended by then."""
    with open("/dev/full", "wb") as full:
        done = client.popen(["echo", "text"], stdout=full)
        with done:
            assert done.wait(DEADLINE_S) == (125 if is_far(house) else 1)
        assert done.notes == ["cannot write to descriptor 1: No space left on device"] * is_far(house)


def test_a_run_that_closes_its_input(client: dx.Client) -> None:
    """Its writer hears of it, though the run goes on."""
    with client.popen(["sh", "-c", "exec <&-; sleep 1000"], stdin=subprocess.PIPE) as process:
        assert process.stdin
        data = memoryview(bytes(64 << 20))
        with pytest.raises(BrokenPipeError):
            process.stdin.write(data)
        process.kill()


def test_nothing_of_the_program_leaks(client: dx.Client) -> None:
    """A run has the streams it was given, and the program keeps no descriptor of a run that is over."""
    before = set(os.listdir("/proc/self/fd"))
    inheritable, other = os.pipe()
    os.set_inheritable(inheritable, True)
    seen = client.run(["ls", "/proc/self/fd"], capture_output=True).stdout
    os.close(inheritable)
    os.close(other)
    assert seen == b"0\n1\n2\n3\n"
    with pytest.raises(dx.RunFailed):
        client.run(["no-such-command"], capture_output=True, input=b"x")
    assert set(os.listdir("/proc/self/fd")) == before


def test_it_streams(client: dx.Client) -> None:
    """A line is there when it was written, and each answer when it was asked for."""
    with client.popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin
        assert process.stdout
        for word in (b"one\n", b"two\n"):
            process.stdin.write(word)
            process.stdin.flush()
            assert process.stdout.readline() == word
        assert process.poll() is None
        assert process.run in [each["id"] for each in client.runs("live")]
        process.stdin.close()
        assert process.wait(DEADLINE_S) == 0
        assert process.stdout.read() == b""
    assert process.returncode == process.poll() == 0


def test_signals(client: dx.Client) -> None:
    """To the command, which may handle them; KILL takes all with it."""
    script = 'trap "echo caught" USR1; echo ready; while :; do sleep 1000 & wait; done'
    with client.popen(["sh", "-c", script], stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGUSR1)
        assert process.stdout.readline() == b"caught\n"
        process.kill()
        assert process.wait(DEADLINE_S) == -signal.SIGKILL
        assert process.stdout.read() == b""
        process.terminate()
    with client.popen(["cat"], stdin=subprocess.PIPE) as process:
        process.terminate()
        assert process.wait(DEADLINE_S) == -signal.SIGTERM


def test_a_timeout(client: dx.Client) -> None:
    """Ends the run, and what came is in the exception."""
    with pytest.raises(subprocess.TimeoutExpired) as caught:
        client.run(["sh", "-c", "echo began; sleep 1000"], stdout=subprocess.PIPE, timeout=0.3)
    assert caught.value.output == b"began\n"
    with client.popen(["cat"], stdin=subprocess.PIPE) as process, pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.01)
    until(lambda: not client.runs("live"), "no run is left")


def test_a_block_that_is_left_early(client: dx.Client) -> None:
    """Takes the run with it; and so does letting go of it."""
    with pytest.raises(KeyError), client.popen(["sleep", "1000"]):
        raise KeyError
    client.popen(["sleep", "1000"]).close()
    until(lambda: not client.runs("live"), "no run is left")


def test_what_does_not_begin(client: dx.Client) -> None:
    """Is an exception with the words and the status of `dx run`."""
    for line, code, word in (
        (["no-such-command"], 127, "not found in the image"),
        (["no-such-tool-at-all"], 125, "dx ls"),
        (["sh/"], 125, ""),
    ):
        with pytest.raises(dx.RunFailed) as caught:
            client.popen(line)
        assert caught.value.exit_code == code
        assert word in caught.value.message
    with pytest.raises(TypeError):
        client.popen("true")
    with pytest.raises(ValueError, match="null byte"):
        client.popen(["echo", "\0"])
    door = os.open("/", os.O_RDONLY)
    with pytest.raises(dx.RunFailed, match="directory"):
        client.popen(["true"], stdin=door)
    os.close(door)


def test_options_and_environment(client: dx.Client, house: House, tmp_path: Path) -> None:
    """Those of `dx run`; the environment is what the tool's patterns choose from."""
    (tmp_path / "file").write_text("shown")
    done = client.run(
        ["sh", "-c", f'echo "$A $LANG $SECRET"; cat {tmp_path}/file; pwd; ls /sys/class/net'],
        capture_output=True,
        env={"LANG": "de", "SECRET": "x"},
        variables=["A=b c"],
        mounts=[f"{tmp_path}:ro"],
        network="none",
        cwd=(place := house.place("a place" if is_far(house) else b"\xff")),
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == b"b c de \nshown" + place + b"\nlo\n"


def test_many_threads(client: dx.Client) -> None:
    """Share a client, and each has its own run."""
    outputs: dict[int, bytes] = {}

    def work(number: int) -> None:
        outputs[number] = client.run(["echo", str(number)], stdout=subprocess.PIPE).stdout

    threads = [threading.Thread(target=work, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_S)
    assert outputs == {number: b"%d\n" % number for number in range(16)}


def test_it_does_not_wait_for_a_signal_in_another_thread(client: dx.Client) -> None:
    """One may wait while another ends the run."""
    with client.popen(["sleep", "1000"]) as process:
        waiter = threading.Thread(target=process.wait)
        waiter.start()
        assert process.poll() is None
        process.terminate()
        waiter.join(DEADLINE_S)
        assert process.returncode == -signal.SIGTERM


def test_a_container_that_is_removed(client: dx.Client, house: House) -> None:
    """Is told as such."""
    with client.popen(["sleep", "1000"]) as process:
        (container,) = [each["container"] for each in client.runs("live") if each["id"] == process.run]
        subprocess.run(["docker", "rm", "--force", container], check=True, capture_output=True)
        with pytest.raises(dx.RunFailed, match="container of this run was stopped"):
            process.wait(DEADLINE_S)
        process.returncode = 125
    until(lambda: client.run(["true"]).returncode == 0, "there is another container")


def test_an_agent_that_hangs(client: dx.Client, house: House) -> None:
    """Is given up, as the launcher does it; the run is in another container. Far away the next one is."""
    client.run(["true"])
    container = client.runs("finished")[0]["container"]
    subprocess.run(["docker", "pause", container], check=True, capture_output=True)
    if is_far(house):
        with pytest.raises(dx.RunFailed, match="try again"):
            client.run(["true"])
    assert client.run(["echo", "elsewhere"], capture_output=True).stdout == b"elsewhere\n"
    until(lambda: container not in house.containers(), "the hung container is removed")


def test_events(client: dx.Client) -> None:
    """Tell of a run as it begins and ends."""
    seen = []

    def watch() -> None:
        for event in client.events():
            seen.append((event["kind"], event.get("id")))
            if event["kind"] == "run.finished":
                return

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    began = time.monotonic()
    while watcher.is_alive() and time.monotonic() - began < DEADLINE_S:  # until it listens
        client.run(["true"])
        watcher.join(0.1)
    assert "run.finished" in [kind for kind, _ in seen]


@pytest.mark.parametrize("person", PEOPLE, ids=lambda person: person.name)
def test_a_client_of_ones_own_daemon(image: str, person: Person) -> None:
    """Without a word where it is: found by the environment, and started; with threads, which a namespace refuses."""
    script = (
        "import sys, threading, dx\n"
        "threading.Thread(target=threading.Event().wait, daemon=True).start()\n"
        "client = dx.Client()\n"
        "line = [sys.argv[1], 'sh', '-c', 'id -u; pwd; echo made > made']\n"
        "print(client.run(line, capture_output=True, check=True).stdout.decode(), end='')\n"
        "print(client.status()['pid'], len(client.containers()))\n"
    )
    with House(person) as house:
        place = house.place()
        done = subprocess.run(
            [*house.python[:-2], "-c", script, image],
            capture_output=True,
            timeout=DEADLINE_S,
            **house.options({"cwd": place}),
        )
        assert done.stderr == b""
        expected = f"{house.person.uid}\n{os.fsdecode(place)}\n{house.daemon} 1\n"
        assert (done.returncode, done.stdout) == (0, expected.encode())
        assert (Path(os.fsdecode(place)) / "made").stat().st_uid == house.person.uid


def test_importing_the_package_imports_little() -> None:
    """What is asked for, when it is asked for."""
    script = "import sys, dx; before = 'dx.api' in sys.modules; dx.Client; print(before, 'dx.api' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "False True\n"
    with pytest.raises(AttributeError):
        dx.no_such_name  # noqa: B018 - looking it up is what fails
