"""Pulls from a real registry, as tools need them: what is asked of it, who waits, and who ends them."""

import json
import os
import secrets
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.real_registry import RealRegistry
from tests.house import House, docker
from tests.waiting import until

pytestmark = pytest.mark.timeout(240)

LAYERS, LAYER_BYTES = 5, 1 << 19
"""More than the engine has under way at a time, so that a pull which goes on asks for more."""
HELD_BYTES = 1 << 18
"""In the middle of a layer; nothing else is as large."""


class Ware:
    """An image that is at a registry and not in the engine, with layers that no other image has."""

    def __init__(self, registry: RealRegistry, image: str, directory: Path) -> None:
        self.registry, self.image, self.directory = registry, image, directory
        directory.mkdir(exist_ok=True)
        self.name = f"n{secrets.token_hex(4)}"
        self.ref = registry.ref(f"{self.name}:1")
        self.pushed = [self.ref]
        self.digest = self.push("first")

    @property
    def at(self) -> str:
        """Its name by digest."""
        return f"{self.ref.rpartition(':')[0]}@{self.digest}"

    @property
    def held(self) -> list[str]:
        """The ids of what the engine has of it, under any tag or digest."""
        return docker("image", "ls", "--quiet", "--no-trunc", self.ref.rpartition(":")[0]).split()

    def push(self, word: str) -> str:
        """Have the tag mean an image that says the word, at the registry only; returns its digest."""
        names = [f"layer{number}" for number in range(LAYERS)]
        for each in names:
            (self.directory / each).write_bytes(os.urandom(LAYER_BYTES))
        copies = "".join(f"COPY {each} /{each}\n" for each in names)
        text = f'FROM {self.image}\n{copies}ENTRYPOINT ["echo", "{word}"]\n'
        digest = self.registry.push(text, f"{self.name}:1", self.directory)
        self.pushed.append(f"{self.ref.rpartition(':')[0]}@{digest}")
        self.forget()
        return digest

    def forget(self) -> None:
        """Have the engine hold nothing of it."""
        self.registry.forget(*self.pushed)

    def asked(self, kind: str) -> int:
        """How many of its `manifests` or `blobs` the registry has sent, each time that it did."""
        return sum(f'"GET /v2/{self.name}/{kind}/' in line for line in self.registry.log.splitlines())


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[RealRegistry]:
    with RealRegistry(tmp_path) as registry:
        yield registry


@pytest.fixture
def ware(registry: RealRegistry, house: House, image: str, tmp_path: Path) -> Iterator[Ware]:
    made = Ware(registry, image, tmp_path / "ware")
    yield made
    house.dx(["stop", "--all"])
    house.stop()
    made.forget()


def define(house: House, ref: str) -> None:
    """Make the image the tool `it`."""
    house.define(f"[tools.it]\nimage = '{ref}'\nnetwork = 'none'\n")


def says(house: House) -> str:
    """What a run of the tool says; it has to end well."""
    done = house.run(["it"])
    assert done.returncode == 0, done.stderr
    return done.stdout.decode().strip()


def test_a_tag_that_vanished_takes_no_tool_down(house: House, registry: RealRegistry, ware: Ware) -> None:
    """Each verb says it on one line; what is here runs, and is locked. Only what is not here cannot be had."""
    define(house, ware.ref)
    assert says(house) == "first"
    registry.delete(ware.name, ware.digest)
    for verb in ("outdated", "upgrade"):
        done = house.dx([verb])
        assert (done.returncode, done.stderr.count(b"\n")) == (125, 1), done.stderr
        assert done.stderr.startswith(b"dx: it: the registry does not say what " + ware.ref.encode())
    assert says(house) == "first"
    done = house.dx(["lock"])
    assert (done.returncode, done.stderr) == (0, b"")
    assert says(house) == "first"
    house.dx(["stop", "--all"])
    (house.config / "dx.lock").unlink()
    ware.forget()
    for words in (["run", "it"], ["lock"]):
        done = house.dx(words)
        assert (done.returncode, done.stderr.count(b"\n")) == (125, 1), done.stderr
        assert b"check its name and tag" in done.stderr


def test_an_image_by_its_digest_is_never_another(house: House, ware: Ware) -> None:
    """Wherever the tag moves; and it is had again where it is gone from here."""
    define(house, ware.at)
    assert says(house) == "first"
    ware.registry.push(f'FROM {ware.image}\nENTRYPOINT ["echo", "second"]\n', f"{ware.name}:1")
    assert [each["standing"] for each in json.loads(house.dx(["outdated", "--json"]).stdout)["images"]] == ["local"]
    assert house.dx(["upgrade"]).stdout == b"Everything is up to date.\n"
    assert says(house) == "first"
    house.dx(["stop", "--all"])
    ware.forget()
    assert says(house) == "first"


def visitors(house: House) -> int:
    """How many connections the daemon has: by the name under which its socket was made, which is another one now."""
    lines = Path("/proc/net/unix").read_text(encoding="utf-8", errors="replace").splitlines()
    connected = [each.split()[-1] for each in lines if each.split()[5] == "03"]
    return sum(Path(each).parent == house.runtime for each in connected)


def pulling(house: House, registry: RealRegistry, *words: str) -> "subprocess.Popen[bytes]":
    """A command that has come into the middle of a pull, where the registry stands still."""
    registry.hold(HELD_BYTES)
    begun = house.popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    until(registry.is_held, "the layer is half there")
    return begun


def test_two_runs_wait_for_one_pull(house: House, registry: RealRegistry, ware: Ware) -> None:
    """Each layer is asked for once, as for one run alone, and both run. The engine may still know the manifest."""
    define(house, ware.ref)
    assert says(house) == "first"
    assert ware.asked("blobs") == LAYERS + 1  # and what says how they are run
    house.dx(["stop", "--all"])
    ware.forget()
    first = pulling(house, registry, "run", "it")
    before = visitors(house)
    second = house.popen(["run", "it"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    until(lambda: visitors(house) > before, "the second has asked the daemon")
    registry.release()
    for each in (first, second):
        out, err = each.communicate(timeout=60)
        assert (each.returncode, out) == (0, b"first\n"), err
    assert ware.asked("blobs") == 2 * (LAYERS + 1)


def ended(house: House, ware: Ware) -> None:
    """See that the pull comes to nothing: the engine, which can do others, has no image of it in the end.

    Of a layer that it waits for it lets go when more of it comes, and may have asked for the next ones by then.
    """
    until(lambda: visitors(house) == 0, "the daemon has seen that nobody waits")
    other(ware)
    ware.registry.release()
    until(lambda: not ware.registry.connections, "the engine has left the registry")
    other(ware)
    assert ware.held == []


def other(ware: Ware) -> None:
    """Have the engine pull a small image from the same registry."""
    name = f"o{secrets.token_hex(4)}:1"
    ref = ware.registry.ref(name)
    digest = ware.registry.push(f"FROM scratch\nLABEL token={name}\nCMD ['/none']\n", name)
    ware.registry.forget(ref)
    docker("pull", "--quiet", ref)
    ware.registry.forget(ref, f"{ref.rpartition(':')[0]}@{digest}")


def test_ctrl_c_of_an_add_ends_its_pull(house: House, registry: RealRegistry, ware: Ware) -> None:
    """In the engine too; there is no tool of that name afterwards."""
    adding = pulling(house, registry, "add", "it", ware.ref, "--no-labels")
    adding.send_signal(signal.SIGINT)
    _, said = adding.communicate(timeout=30)
    assert (adding.returncode, said.count(b"Traceback")) == (130, 0)
    ended(house, ware)
    assert not house.file.exists() or "it" not in house.file.read_text()
    assert house.dx(["add", "it", ware.ref]).returncode == 0
    assert says(house) == "first"


def test_ctrl_c_of_an_add_that_reads_labels_ends_its_pull(house: House, registry: RealRegistry, ware: Ware) -> None:
    """The image is had before there is a tool."""
    adding = pulling(house, registry, "add", "it", ware.ref)
    adding.send_signal(signal.SIGINT)
    adding.communicate(timeout=30)
    assert adding.returncode == 130
    ended(house, ware)
    assert not house.file.exists()


def test_ctrl_c_of_a_run_ends_its_pull(house: House, registry: RealRegistry, ware: Ware) -> None:
    """And is death by that signal; the next run pulls."""
    define(house, ware.ref)
    running = pulling(house, registry, "run", "it")
    running.send_signal(signal.SIGINT)
    running.communicate(timeout=30)
    assert running.returncode == -signal.SIGINT
    ended(house, ware)
    assert says(house) == "first"


def test_a_run_that_is_left_keeps_the_pull_of_another(house: House, registry: RealRegistry, ware: Ware) -> None:
    """Ctrl-C ends only what nobody else waits for."""
    define(house, ware.ref)
    first = pulling(house, registry, "run", "it")
    before = visitors(house)
    second = house.popen(["run", "it"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    until(lambda: visitors(house) > before, "the second has asked the daemon")
    first.send_signal(signal.SIGINT)
    first.communicate(timeout=30)
    registry.release()
    out, err = second.communicate(timeout=60)
    assert (second.returncode, out) == (0, b"first\n"), err


def test_a_run_outlives_its_daemon_in_a_pull(house: House, registry: RealRegistry, ware: Ware) -> None:
    """It asks the next one, which pulls; nothing half made is left."""
    define(house, ware.ref)
    running = pulling(house, registry, "run", "it")
    killed = house.daemon
    house.stop(signal.SIGKILL)
    until(lambda: house.daemon not in (None, killed), "the run has started another daemon")
    registry.release()
    out, said = running.communicate(timeout=60)
    assert (running.returncode, out) == (0, b"first\n"), said
    assert len(ware.held) == 1
    assert says(house) == "first"


def test_a_daemon_that_is_killed_in_a_pull_takes_the_pull_along(
    house: House, registry: RealRegistry, ware: Ware
) -> None:
    """`dx add` says so on a line, and there is no tool of that name; the next one pulls."""
    adding = pulling(house, registry, "add", "it", ware.ref, "--no-labels")
    house.stop(signal.SIGKILL)
    _, said = adding.communicate(timeout=60)
    assert (adding.returncode, said.count(b"\n")) == (125, 1), said
    ended(house, ware)
    assert "it" not in house.file.read_text()
    assert house.dx(["add", "it", ware.ref, "--network", "none"]).returncode == 0
    assert says(house) == "first"
    assert len(ware.held) == 1
