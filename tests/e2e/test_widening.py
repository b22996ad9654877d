"""Upgrades to images that say something else of themselves than those before."""

import json
import secrets
from collections.abc import Iterator
from pathlib import Path

import pexpect
import pytest

from tests.fakes.real_registry import RealRegistry
from tests.house import House, docker

pytestmark = pytest.mark.timeout(240)

MORE = """LABEL dev.dx.network=none dev.dx.commands='["cat", "env"]' dev.dx.env='["WIDER_*"]'"""


class Shelf:
    """A registry with one image, which says its version, and a house that has a tool of it."""

    def __init__(self, house: House, registry: RealRegistry, image: str) -> None:
        self.house, self.registry, self.image = house, registry, image
        self.name = f"n{secrets.token_hex(4)}"
        self.ref = registry.ref(f"{self.name}:1")
        self.digests: list[str] = []
        self.push("first", "LABEL dev.dx.network=none")
        done = house.dx(["add", self.name, self.ref])
        assert done.returncode == 0, done.stderr

    def push(self, word: str, labels: str) -> str:
        """Have the tag mean another image, at the registry only; returns its digest."""
        before = self.held
        text = f'FROM {self.image}\nENV WORD={word}\nENTRYPOINT ["sh", "-c", "echo $WORD"]\n{labels}\n'
        digest = self.registry.push(text, f"{self.name}:1")
        self.digests.append(self.at(digest))
        self.registry.forget(self.ref)
        if before:
            docker("tag", before, self.ref)
        return digest

    def at(self, digest: str) -> str:
        """The name of the image that has the digest."""
        return f"{self.ref.rpartition(':')[0]}@{digest}"

    @property
    def held(self) -> str:
        """The id of what the engine has under the tag."""
        return docker("image", "ls", "--quiet", "--no-trunc", self.ref)

    def has(self, digest: str) -> bool:
        """Whether the engine has the image with the digest."""
        repository = self.ref.rpartition(":")[0]
        return digest in docker("image", "ls", "--digests", "--format", "{{.Digest}}", repository)

    def says(self) -> str:
        """What a run says, with the entrypoint of the image."""
        done = self.house.run([self.name])
        assert done.returncode == 0, done.stderr
        return done.stdout.decode().strip()

    def shown(self) -> dict[str, object]:
        """The definition."""
        tool: dict[str, object] = json.loads(self.house.dx(["show", self.name, "--json"]).stdout)
        return tool


@pytest.fixture
def shelf(house: House, image: str, tmp_path: Path) -> Iterator[Shelf]:
    with RealRegistry(tmp_path) as registry:
        made = Shelf(house, registry, image)
        yield made
        house.dx(["stop", "--all"])
        registry.forget(made.ref, *made.digests)


def test_an_image_that_asks_for_more_is_taken_when_that_is_allowed(shelf: Shelf) -> None:
    """Until then the one before runs, as it was defined, and the new one is not kept."""
    wider = shelf.push("second", MORE)
    done = shelf.house.dx(["upgrade"])
    assert done.returncode == 125
    assert b"see your variables WIDER_*; the image before stays in use; allow it with --yes" in done.stderr
    assert (shelf.says(), shelf.shown()["env"], shelf.has(wider)) == ("first", [], False)
    done = shelf.house.dx(["upgrade", "--yes"])
    assert (done.returncode, done.stdout.decode()) == (0, f"{shelf.name} is up to date\n"), done.stderr
    shown = shelf.shown()
    assert (shown["env"], shown["commands"]) == (["WIDER_*"], ["cat", "env"])
    assert shelf.house.shim("cat").exists()
    assert shelf.house.dx(["upgrade"]).stdout == b"Everything is up to date.\n"


def test_an_image_can_be_had_without_what_it_says(shelf: Shelf) -> None:
    """The definition stays as it is."""
    before = shelf.shown()
    shelf.push("second", MORE)
    done = shelf.house.dx(["upgrade", "--no-labels"])
    assert done.returncode == 0, done.stderr
    assert (shelf.says(), shelf.shown()) == ("second", before)


def test_an_image_that_says_something_else_and_not_more_is_taken(shelf: Shelf) -> None:
    """With what it says, but for what the user has set otherwise; nothing is asked."""
    shelf.house.define(shelf.house.file.read_text() + 'paths = "none"\n')
    shelf.push("second", "LABEL dev.dx.network=bridge dev.dx.memory=64m dev.dx.paths=project")
    done = shelf.house.dx(["upgrade"])
    assert done.returncode == 0, done.stderr
    assert b"has another network and memory now" in done.stderr
    shown = shelf.shown()
    assert (shown["network"], shown["memory"], shown["paths"]) == ("bridge", "64m", "none")
    assert shelf.says() == "second"


def test_an_image_whose_labels_are_wrong_is_not_taken(shelf: Shelf) -> None:
    """And the line names the label."""
    wrong = shelf.push("second", "LABEL dev.dx.network=any")
    done = shelf.house.dx(["upgrade"])
    assert (done.returncode, b"dev.dx.network" in done.stderr) == (125, True)
    assert (shelf.says(), shelf.has(wrong)) == ("first", False)


def test_what_is_allowed_is_the_image_that_asked(shelf: Shelf) -> None:
    """One that came in between asks anew: consent is to a digest."""
    first = shelf.push("second", MORE)
    answers = [json.loads(shelf.house.dx(["upgrade", "--json"]).stdout.splitlines()[-1])["upgraded"][0]]
    assert answers[0]["digest"] == first
    assert [each["key"] for each in answers[0]["asks"]] == ["env"]
    shelf.push("third", MORE.replace("WIDER", "WIDEST"))
    from dx import Client

    lines = list(Client(shelf.house.socket).upgrade([shelf.name], allow=[first]))
    assert [each["text"] for each in lines[-1]["upgraded"][0]["asks"]] == ["see your variables WIDEST_*"]
    assert shelf.says() == "first"


def test_a_terminal_is_asked_for_what_a_new_image_asks(shelf: Shelf) -> None:
    """With no the image before stays in use, and the new one is let go of; yes takes it, and asks no more."""
    wider = shelf.push("second", MORE)
    for answer, status in (("n", 125), ("y", 0)):
        terminal = pexpect.spawn(
            str(shelf.house.bin / "dx"), ["upgrade"], cwd=str(shelf.house.work), env=shelf.house.env, timeout=60
        )
        terminal.expect_exact(f"Allow {shelf.name} that? [y/N] ")
        assert b"  - see your variables WIDER_*" in terminal.before
        terminal.sendline(answer)
        terminal.expect(pexpect.EOF)
        terminal.close()
        assert terminal.exitstatus == status, terminal.before
        taken = status == 0
        assert (shelf.says(), shelf.shown()["env"]) == (("second", ["WIDER_*"]) if taken else ("first", []))
        assert shelf.has(wider) is taken
    assert shelf.house.dx(["upgrade"]).stdout == b"Everything is up to date.\n"
