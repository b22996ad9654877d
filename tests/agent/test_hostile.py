"""Whatever comes on the run socket: it is refused, nothing of it is left, and the agent goes on."""

import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import hatch_build
from dx import protocol
from dx.protocol import HEAD, START, frame
from tests.agent.link import Agent, Reply, Start, mount_of, opened, receive, send, stdio
from tests.house import DEADLINE_S

MANY = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
UNKNOWN = Start(1, bytes(16))

NOT_FRAMES = {
    "nothing": b"",
    "one byte": b"\0",
    "half a head": HEAD.pack(0, START, 0, 0)[:5],
    "HTTP": b"GET / HTTP/1.0\r\n\r\n",
    "zeros": bytes(4096),
    "ones": b"\xff" * 4096,
    "a head and no more": HEAD.pack(300, START, 0, 0),
    "a payload cut short": frame(START, UNKNOWN.payload())[:-1],
    "a length past every limit": HEAD.pack(2**32 - 1, START, 0, 0) + bytes(1000),
    "a length just past the limit": HEAD.pack(protocol.MAX_RUN_FRAME + 1, START, 0, 0) + bytes(70000),
    "a length at the limit": HEAD.pack(protocol.MAX_RUN_FRAME, START, 0, 0) + bytes(protocol.MAX_RUN_FRAME),
    "no payload": frame(START),
    "a payload too short": frame(START, bytes(8)),
    "a payload too long": frame(START, UNKNOWN.payload() + b"\0"),
    "flags": HEAD.pack(0, START, 1, 0),
    "a type that is not known": frame(200, UNKNOWN.payload()),
    "a type of the agent's": frame(protocol.EXIT, bytes(32)),
    "a type of the daemon's": frame(protocol.SETUP, bytes(32)),
    "a signal before any run": frame(protocol.SIGNAL, protocol.SIGNAL_BODY.pack(9, 1)),
    "more targets than can be": frame(START, replace(UNKNOWN, targets=(0,) * 254).payload()),
    "a count of targets that is a lie": frame(START, replace(UNKNOWN, nstd=65535).payload()),
    "descriptors that did not come": frame(START, UNKNOWN.payload(), nfds=3),
}


@pytest.mark.parametrize("data", NOT_FRAMES.values(), ids=NOT_FRAMES)
def test_what_is_no_start_is_refused(agent: Agent, data: bytes) -> None:
    """With and without descriptors, in one piece and byte after byte."""
    assert agent.say(data).refused
    if not data:
        return
    with stdio() as fds:
        assert agent.say(data, fds).refused
    with stdio(protocol.MAX_FDS) as fds:
        assert agent.say(data, fds).refused
    assert agent.say(data[:1], more=[data[at : at + 1] for at in range(1, min(len(data), 64))]).refused


def test_another_version_is_told_both(agent: Agent) -> None:
    """And what to do."""
    reply = agent.say(frame(START, replace(UNKNOWN, version=99).payload()))
    assert reply.failed is not None
    assert "version 1 " in reply.failed
    assert "version 99;" in reply.failed
    assert "dx stop --all" in reply.failed


def test_a_lease_is_good_for_its_token_once(agent: Agent) -> None:
    """A wrong token and a wrong run get nothing, and spoil nothing; the right one works, then never again."""
    lease = agent.lease("sh", "-c", "exit 5")
    wrong = bytes([lease.token[0] ^ 1]) + lease.token[1:]
    with stdio() as fds:
        assert "no such lease" in (agent.start(replace(lease, token=wrong), fds).failed or "")
        assert "no such lease" in (agent.start(replace(lease, token=bytes(16)), fds).failed or "")
        assert "no such lease" in (agent.start(replace(lease, run=lease.run + 2048), fds).failed or "")
        assert "no such lease" in (agent.start(replace(lease, run=2**64 - 1), fds).failed or "")
        assert agent.start(lease, fds).status == 5 << 8
        assert agent.start(lease, fds).refused


def test_a_lease_claimed_twice_at_once_runs_once(agent: Agent, tmp_path: Path) -> None:
    """Of twenty that show the same token one runs."""
    for _ in range(5):
        lease = agent.lease()
        data = frame(START, lease.payload(), nfds=3)
        with stdio() as fds, ExitStack() as stack:
            socks = [stack.enter_context(agent.connect()) for _ in range(20)]
            for sock in socks:
                send(sock, data, fds)
            replies = [receive(sock) for sock in socks]
        assert [reply.status for reply in replies].count(0) == 1
        assert sum(reply.refused for reply in replies) == 19


TARGETS = {
    "negative": (0, 1, -1),
    "the lowest": (0, 1, -(2**31)),
    "twice": (0, 1, 1),
    "huge": (0, 1, 2**31 - 1),
    "past the limit": (0, 1, 1 << 20),
}


@pytest.mark.parametrize("targets", TARGETS.values(), ids=TARGETS)
def test_target_numbers_that_cannot_be(agent: Agent, targets: tuple[int, ...]) -> None:
    """They are refused, not used."""
    with stdio() as fds:
        assert "the launcher named" in (agent.start(replace(agent.lease(), targets=targets), fds).failed or "")


def test_as_many_descriptors_as_a_message_holds(agent: Agent) -> None:
    """None at all, and 253, are allowed; each count that does not match is not."""
    assert agent.start(replace(agent.lease(), targets=()), []).status == 0
    with stdio(253) as fds:
        assert agent.start(replace(agent.lease(), targets=tuple(range(253))), fds).status == 0
        lease = replace(agent.lease(), targets=tuple(range(253)))
        assert agent.start(lease, fds[:252]).refused
        assert agent.start(lease, fds[:252], nfds=253).refused
        assert agent.start(lease, fds, nfds=252).refused
        assert agent.start(replace(lease, grants=1), fds).refused
        assert agent.start(replace(lease, grants=65535), fds).refused
        assert agent.start(lease, fds).status == 0, "what was refused did not use the lease up"


def test_descriptors_may_only_come_with_the_first_byte(agent: Agent) -> None:
    """Later ones are refused and closed."""
    data = frame(START, agent.lease().payload(), nfds=3)
    with stdio() as fds, agent.connect() as sock:
        send(sock, data[:1], fds)
        send(sock, data[1:20], fds)
        assert receive(sock).refused


def test_doors_on_stdio(agent: Agent) -> None:
    """A directory and a path without access are refused by what they are."""
    for flags, words in ((os.O_RDONLY | os.O_DIRECTORY, "a directory"), (os.O_PATH, "a directory")):
        with stdio() as fds, opened("/", flags) as door:
            for place in range(3):
                given = [*fds[:place], door, *fds[place + 1 :]]
                assert words in (agent.start(agent.lease(), given).failed or "")
    with stdio() as fds, opened("/etc/passwd", os.O_PATH) as door:
        assert "a path without access" in (agent.start(agent.lease(), [door, *fds[1:]]).failed or "")


@pytest.fixture
def place(agent: Agent) -> bytes:
    """A directory that is granted when it is the current one."""
    return agent.house.place("project")


def test_grants_that_are_not_what_was_leased(agent: Agent, place: bytes) -> None:
    """Only a detached mount of the right kind is attached; nothing else gets anywhere."""

    def reply(fd: int) -> Reply:
        lease = agent.lease(cwd=os.fsdecode(place))
        assert lease.grants == 1
        with stdio() as fds:
            return agent.start(lease, [*fds, fd])

    (file := Path(os.fsdecode(place)) / "file").write_text("")
    with mount_of(place) as fd:
        assert reply(fd).status == 0
        with stdio() as fds:
            for count in (0, 2):
                lease = replace(agent.lease(cwd=os.fsdecode(place)), grants=count)
                assert f"granted {count} paths" in (agent.start(lease, [*fds, *[fd] * count]).failed or "")
    with mount_of(os.fsencode(file)) as fd:
        assert "changed while it was granted" in (reply(fd).failed or "")
    with opened("/", os.O_PATH) as fd:
        assert "mount_setattr" in (reply(fd).failed or ""), "an attached mount of the host"
    with opened(os.fsdecode(place), os.O_RDONLY) as fd:
        assert "mount_setattr" in (reply(fd).failed or "")
    with opened("/dev/null", os.O_RDWR) as fd:
        assert reply(fd).refused
    ends = os.pipe()
    try:
        assert reply(ends[0]).refused
    finally:
        for end in ends:
            os.close(end)
    with socket.socket(socket.AF_UNIX) as sock:
        assert reply(sock.fileno()).refused


def test_slow_launchers_hold_up_nobody(agent: Agent) -> None:
    """Silence, half a head, half a payload: each is given five seconds, while others are served at once."""
    data = frame(START, UNKNOWN.payload())
    with ExitStack() as stack:
        slow = [stack.enter_context(agent.connect()) for _ in range(200)]
        for number, sock in enumerate(slow):
            if begun := data[: (0, 4, 8, 100)[number % 4]]:
                sock.sendall(begun)
        for _ in range(20):
            done = agent.house.run([agent.image, "true"], timeout=4)
            assert done.returncode == 0
        assert all(receive(sock).refused for sock in slow)


def test_a_run_ends_when_its_launcher_breaks_the_rules(agent: Agent) -> None:
    """Frames that no launcher sends to a run count as hanging up."""
    for data in (b"\xff" * 8, frame(START, UNKNOWN.payload()), frame(protocol.SIGNAL, b"short"), HEAD.pack(8, 2, 0, 1)):
        lease = agent.lease("sleep", "1000")
        with stdio() as fds:
            reply = agent.say(frame(START, lease.payload(), nfds=3), fds, more=[data], hang_up=False)
        assert [kind for kind, _ in reply.frames] == [protocol.STARTED, protocol.EXIT], reply
        assert reply.status == 1, "HUP ended it"


def test_signals_that_are_none_change_nothing(agent: Agent) -> None:
    """Numbers from nowhere are left out; a real one arrives after them."""
    numbers = (0, 64, 65, 2**31, 2**32 - 1, 2**32 - 9)
    more = [frame(protocol.SIGNAL, protocol.SIGNAL_BODY.pack(number, group)) for number in numbers for group in (0, 1)]
    lease = agent.lease("sleep", "1000")
    with stdio() as fds:
        last = frame(protocol.SIGNAL, protocol.SIGNAL_BODY.pack(15, 0))
        reply = agent.say(frame(START, lease.payload(), nfds=3), fds, more=[*more, last], hang_up=False)
    assert reply.status == 15


@pytest.fixture
def stranger(agent: Agent) -> Path:
    """A program that anyone can run anywhere, and that says how an agent treats it."""
    program = agent.house.work / "stranger"
    source = Path(__file__).with_name("stranger.c")
    command = [*hatch_build.compiler(os.uname().machine), "-static", "-Wall", "-Wextra", "-Werror"]
    subprocess.run([*command, source, "-o", program], check=True, timeout=DEADLINE_S)
    return program


@contextmanager
def open_to_all(agent: Agent) -> Iterator[None]:
    """The mode of the socket, and of the directories above it, as they should never be."""
    paths = [agent.house.root, agent.house.runtime, agent.socket.parent, agent.socket]
    modes = [path.stat().st_mode & 0o7777 for path in paths]
    try:
        for path in paths:
            path.chmod(0o777)
        yield
    finally:
        for path, mode in zip(paths, modes, strict=True):
            path.chmod(mode)


def test_another_user_is_refused(agent: Agent, stranger: Path) -> None:
    """Even where the modes let everyone in: the connection is closed without a word."""
    become = ["setpriv", "--reuid=1234", "--regid=1234", "--clear-groups"]
    sudo = [] if os.geteuid() == 0 else ["sudo", "-n"]
    with open_to_all(agent):
        assert subprocess.run([*sudo, *become, stranger, agent.socket], timeout=DEADLINE_S).returncode == 42
    assert subprocess.run([*sudo, *become, stranger, agent.socket], timeout=DEADLINE_S).returncode == 44


def test_the_container_is_refused(agent: Agent, stranger: Path) -> None:
    """A run that is given the sockets on purpose cannot use them: who is inside is turned away."""
    doors = f"--mount={agent.socket.parent}:/doors"
    done = agent.house.run([doors, agent.image, f"./{stranger.name}", f"/doors/{agent.socket.name}"])
    assert done.returncode == 42, done


@MANY
@given(
    length=st.integers(0, 2**32 - 1) | st.integers(0, 400),
    kind=st.integers(0, 255) | st.just(START),
    flags=st.sampled_from([0, 0, 0, 1, 255]),
    claimed=st.integers(0, 65535) | st.integers(0, 3),
    carried=st.integers(0, 4),
    payload=st.binary(max_size=400),
)
def test_generated_frames(
    one_agent: Agent, length: int, kind: int, flags: int, claimed: int, carried: int, payload: bytes
) -> None:
    """Heads and payloads from nowhere never start anything."""
    with stdio(carried) as fds:
        assert one_agent.say(HEAD.pack(length, kind, flags, claimed) + payload, fds).refused


@MANY
@given(
    changes=st.lists(st.tuples(st.integers(0, protocol.START_HEAD.size + 11), st.integers(0, 255)), max_size=4),
    cut=st.integers(0, 30),
)
def test_a_good_start_with_bytes_changed(one_agent: Agent, changes: list[tuple[int, int]], cut: int) -> None:
    """It is refused, or it is a run that ends; never silence, never a broken agent."""
    payload = bytearray(one_agent.lease().payload())
    for at, value in changes:
        payload[at] = value
    data = frame(START, bytes(payload), nfds=3)
    with stdio() as fds:
        reply = one_agent.say(data[: len(data) - cut] if cut > 20 else data, fds)
    assert reply.refused or reply.frames[-1][0] in (protocol.EXIT, protocol.FAILED)


def test_after_all_that_it_still_serves(agent: Agent) -> None:
    """What the generated ones left, if anything."""
