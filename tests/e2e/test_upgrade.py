"""Tools whose tags move at a real registry, locked and not."""

import json
import platform
import secrets
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.project import BUILD_S
from tests.fakes.real_buildx import with_buildx
from tests.fakes.real_registry import RealRegistry
from tests.house import ME, House, docker
from tests.waiting import until

pytestmark = pytest.mark.timeout(240)


class Shop:
    """A registry with a tool's image and one to build on, and a house that has both."""

    def __init__(self, house: House, registry: RealRegistry, image: str) -> None:
        self.house = house
        self.registry = registry
        self.image = image
        self.word = secrets.token_hex(4)
        self.name, self.own, self.top = f"n{self.word}", f"o{self.word}", f"t{self.word}"
        self.pushed: list[str] = []
        self.push("first")
        self.project = Path(house.place("own").decode())
        (self.project / "Dockerfile").write_text(
            f'FROM {registry.ref("base:1")}\nENTRYPOINT ["sh", "-c", "echo $WORD"]\n'
        )
        self.above = Path(house.place("top").decode())
        (self.above / "Dockerfile").write_text(f'FROM dx/{self.own}\nENTRYPOINT ["sh", "-c", "echo $WORD"]\n')
        self.define()

    def define(self) -> None:
        """The tools: of the image, built on the other, and built on the one that is built."""
        self.house.define(
            f"[tools.{self.name}]\nimage = '{self.registry.ref('tool:1')}'\nnetwork = 'none'\n"
            f"[tools.{self.own}]\nbuild = '{self.project}'\nnetwork = 'none'\n"
            f"[tools.{self.top}]\nbuild = '{self.above}'\nnetwork = 'none'\n"
        )

    def push(self, word: str) -> None:
        """Have both tags mean images that say the word, at the registry only."""
        self.house.stop()  # so that nothing follows what they mean here meanwhile
        held = {name: self.image_id(name) for name in ("tool:1", "base:1")}
        for name, before in held.items():
            text = f'FROM {self.image}\nENV WORD={word}\nENTRYPOINT ["sh", "-c", "echo $WORD"]\n'
            digest = self.registry.push(text, name)
            ref = self.registry.ref(name)
            self.pushed += [ref, f"{ref.rpartition(':')[0]}@{digest}"]
            self.registry.forget(ref)
            if before:
                docker("tag", before, ref)

    def image_id(self, name: str) -> str:
        """Of what the engine holds of that name; empty where it has none."""
        return docker("image", "ls", "--quiet", "--no-trunc", self.registry.ref(name))

    def run(self, tool: str) -> str:
        """What a run says."""
        done = self.house.run([tool])
        assert done.returncode == 0, done.stderr
        return done.stdout.decode().strip()

    def json(self, *words: str) -> Any:
        """What dx answers."""
        return json.loads(self.house.dx([*words, "--json"]).stdout)

    def upgrade(self, *words: str) -> Any:
        """What became of the tools, after all that is told meanwhile."""
        lines = self.house.dx(["upgrade", *words, "--json"]).stdout.splitlines()
        return [json.loads(each) for each in lines][-1]["upgraded"]

    def builds(self, tool: str) -> Any:
        """The latest first."""
        return self.json("builds", tool)["builds"]

    def said(self, tool: str) -> str:
        """What a run is told in a terminal of its own."""
        done = self.house.run([tool], start_new_session=True)
        assert done.returncode == 0, done.stderr
        return done.stderr.decode()

    def close(self) -> None:
        """Remove what was made."""
        self.house.dx(["stop", "--all"])
        self.house.stop()
        kept = docker("image", "ls", "--format", "{{.Repository}}:{{.Tag}}", f"dx/{self.name}").split()
        self.registry.forget(*kept)
        for tool in (self.top, self.own):
            for image in {*docker("image", "ls", "--quiet", "--filter", f"label=dev.dx.tool={tool}").split()}:
                docker("image", "rm", "--force", image)
        self.registry.forget(*self.pushed)


@pytest.fixture
def house(request: pytest.FixtureRequest, image: str, tmp_path: Path) -> Iterator[House]:
    """With `docker buildx` where a test wants it."""
    with House(ME, **(with_buildx(tmp_path) if getattr(request, "param", "") == "buildx" else {})) as made:
        yield made


@pytest.fixture
def shop(house: House, image: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Shop]:
    with RealRegistry(tmp_path, login=getattr(request, "param", False)) as registry:
        if registry.login:
            registry.docker_config(house.home / ".docker")
        made = Shop(house, registry, image)
        try:
            yield made
        finally:
            made.close()


@pytest.mark.parametrize("shop", [False, True], indirect=True, ids=["open", "with a login"])
def test_a_moved_tag_is_seen_and_taken(shop: Shop) -> None:
    """Only when somebody asks; then tools that are built on it follow, in order."""
    tools = (shop.name, shop.own, shop.top)
    assert [shop.run(each) for each in tools] == ["first"] * 3
    assert {each["standing"] for each in shop.json("outdated")["images"]} == {"current"}
    shop.push("second")
    assert [shop.run(each) for each in tools] == ["first"] * 3
    moved = shop.json("outdated")["images"]
    assert [(each["tool"], each["is_base"], each["standing"]) for each in moved] == [
        (shop.name, False, "outdated"),
        (shop.own, True, "outdated"),
    ]
    done = shop.upgrade()
    assert [(each["tool"], each["error"]) for each in done] == [(each, "") for each in tools]
    assert [shop.run(each) for each in tools] == ["second"] * 3
    assert shop.house.dx(["upgrade"]).stdout == b"Everything is up to date.\n"


def test_a_registry_that_is_gone_takes_no_tool_down(shop: Shop) -> None:
    """It is told of with every tool of its, and what is here runs."""
    assert shop.run(shop.name) == "first"
    assert shop.run(shop.own) == "first"
    shop.registry.kill()
    for verb in ("outdated", "upgrade"):
        done = shop.house.dx([verb])
        assert done.returncode == 125
        assert done.stderr.count(b"cannot be reached") == 2
    assert shop.run(shop.name) == "first"


def test_what_is_locked_runs_wherever_its_tag_moves(shop: Shop) -> None:
    """Here and at the registry, with images that are gone from here, until somebody upgrades the lock."""
    tools = (shop.name, shop.own, shop.top)
    shop.house.dx(["lock"])
    assert [shop.run(each) for each in tools] == ["first"] * 3
    assert shop.house.dx(["lock", "--check"]).returncode == 0
    file = shop.house.config / "dx.lock"
    text = file.read_text()
    assert shop.house.dx(["lock"]).returncode == 0
    assert file.read_text() == text
    shop.push("second")
    shop.registry.forget(*shop.pushed)
    assert shop.run(shop.name) == "first"
    for each in ("tool:1", "base:1"):
        docker("pull", "--quiet", shop.registry.ref(each))
    assert shop.house.dx(["stop", "--all"]).returncode == 0  # an answer after what the engine has told
    assert [shop.run(each) for each in tools] == ["first"] * 3
    assert all(each["result"] == "good" for each in shop.json("builds", shop.own)["builds"])
    docker("image", "rm", "--force", shop.registry.ref("base:1"))
    upgraded = shop.house.dx(["upgrade", shop.name])
    assert b"is locked" in upgraded.stderr
    assert shop.run(shop.name) == "first"
    assert shop.house.dx(["lock", "--check"]).returncode == 0
    done = shop.house.dx(["lock", "--upgrade"])
    assert (done.returncode, done.stdout) == (0, b"Everything is locked.\n"), done.stderr
    assert [shop.run(each) for each in tools] == ["second"] * 3
    assert shop.house.dx(["lock", "--check"]).returncode == 0
    assert file.read_text() != text


@pytest.mark.parametrize("house", ["api", "buildx"], indirect=True)
def test_builds_take_the_bases_that_are_locked(shop: Shop) -> None:
    """A tag that has moved here changes nothing, nor does the registry, which is gone; nothing is tagged for it."""
    assert shop.house.dx(["lock"]).returncode == 0
    shop.push("second")
    docker("pull", "--quiet", shop.registry.ref("base:1"))
    moved = shop.image_id("base:1")
    shop.registry.kill()
    file = shop.project / "Dockerfile"
    file.write_text(f"{file.read_text()}ENV MORE=1\n")
    until(lambda: len(shop.builds(shop.own)) == 2, "it is built anew", deadline_s=BUILD_S)
    until(lambda: shop.builds(shop.own)[0]["result"] == "good", "the build is good", deadline_s=BUILD_S)
    assert [shop.run(each) for each in (shop.own, shop.top)] == ["first"] * 2
    assert shop.image_id("base:1") == moved
    docker("image", "rm", shop.registry.ref("base:1"))
    file.write_text(f"{file.read_text()}ENV MORE=2\n")
    until(lambda: len(shop.builds(shop.own)) == 3, "it is built anew", deadline_s=BUILD_S)
    until(lambda: shop.builds(shop.own)[0]["result"] == "good", "the build is good", deadline_s=BUILD_S)
    assert (shop.run(shop.own), shop.image_id("base:1")) == ("first", "")


def test_a_base_that_is_not_locked_beside_others_is_an_error(shop: Shop) -> None:
    """So is one that is locked for another platform only. The build before serves, and locking it mends it."""
    assert shop.house.dx(["lock"]).returncode == 0
    lock = shop.house.config / "dx.lock"
    text = lock.read_text()
    lock.write_text(text.replace('"linux/', '"plan9/'))
    lines = [f"is not locked for linux/{platform.machine()}".replace("x86_64", "amd64"), "run: dx lock"]
    assert shop.run(shop.own) == "first"
    until(lambda: all(each in shop.said(shop.own) for each in lines), "it says so", deadline_s=BUILD_S)
    assert shop.house.dx(["lock", "--check"]).returncode == 1
    assert shop.house.dx(["lock"]).returncode == 0
    until(lambda: shop.said(shop.own) == "", "it follows again", deadline_s=BUILD_S)


def test_a_tool_that_is_locked_as_an_image_is_not_built(shop: Shop) -> None:
    """Nor the other way round; the error says what to type."""
    assert shop.house.dx(["lock"]).returncode == 0
    before = shop.house.file.read_text()
    image, build = f"image = '{shop.registry.ref('tool:1')}'", f"build = '{shop.project}'"
    shop.house.define(before.replace(image, build))
    done = shop.house.run([shop.name])
    assert (done.returncode, f"dx lock --upgrade {shop.name}".encode() in done.stderr) == (125, True)
    shop.house.define(before.replace(build, image))
    done = shop.house.run([shop.own])
    assert (done.returncode, f"dx lock --upgrade {shop.own}".encode() in done.stderr) == (125, True)


def test_a_lock_that_does_not_fit_is_an_error(shop: Shop) -> None:
    """Which says what to type; so does one that cannot be read, and `--check` for all of them."""
    done = shop.house.dx(["lock", "--check"])
    assert (done.returncode, b"there is no" in done.stderr) == (1, True)
    assert shop.house.dx(["lock"]).returncode == 0
    assert shop.run(shop.name) == "first"
    shop.house.define(shop.house.file.read_text().replace("/tool:1", "/base:1"))
    done = shop.house.run([shop.name])
    assert done.returncode == 125
    assert f"dx lock --upgrade {shop.name}".encode() in done.stderr
    done = shop.house.dx(["lock", "--check"])
    assert (done.returncode, done.stderr.count(b"dx: ")) == (1, 1)
    assert shop.house.dx(["lock", "--upgrade", shop.name]).returncode == 0
    assert shop.run(shop.name) == "first"
    file = shop.house.config / "dx.lock"
    file.write_text("<<<<<<< ours\n" + file.read_text())
    assert b"dx.lock:1" in shop.house.run([shop.name]).stderr


def test_a_lock_that_cannot_be_read_is_told_and_the_others_go_on(shop: Shop) -> None:
    """That of a project, which has nothing to do with them."""
    project = Path(shop.house.place("elsewhere").decode())
    (project / "dx.toml").write_text(f"[tools.{shop.name}]\nimage = '{shop.registry.ref('tool:1')}'\n")
    assert shop.house.dx(["trust", str(project), "--yes"]).returncode == 0
    (project / "dx.lock").write_text("<<<<<<< ours\n")
    assert shop.run(shop.name) == "first"
    shop.push("second")
    done = shop.house.dx(["upgrade"])
    assert (done.returncode, done.stderr.count(b"dx.lock:1")) == (125, 1)
    assert shop.run(shop.name) == "second"


def test_what_was_pulled_is_kept_and_taken_back_to(shop: Shop) -> None:
    """As builds are: listed with when, why, how long and for whom, out of reach of the engine's own prune, until it is
    unpinned, and whatever the daemon lives through.
    """
    assert shop.run(shop.name) == "first"
    old = shop.image_id("tool:1")
    refused = shop.house.dx(["rollback", shop.name])
    assert (refused.returncode, b"no image before this one" in refused.stderr) == (125, True)
    shop.push("second")
    assert shop.house.dx(["upgrade"]).returncode == 0
    assert shop.run(shop.name) == "second"
    new, before = shop.builds(shop.name)
    assert (new["asked_by"], new["cause"], new["current"], new["pinned"]) == ("upgrade", "its tag moved", True, False)
    assert (new["duration_s"] > 0, new["size_bytes"] > 0, new["digest"][:7]) == (True, True, "sha256:")
    assert (before["asked_by"], before["image_id"], before["current"]) == ("run", old, False)
    assert docker("image", "ls", "--quiet", "--no-trunc", "--filter", "dangling=true").split().count(old) == 0
    assert f"dx/{shop.name}:as-" in docker("image", "inspect", "--format", "{{.RepoTags}}", old)

    assert shop.house.dx(["rollback", shop.name]).returncode == 0
    assert shop.run(shop.name) == "first"
    assert [(each["current"], each["pinned"]) for each in shop.builds(shop.name)] == [(False, False), (True, True)]
    shop.push("third")
    upgraded = shop.house.dx(["upgrade"])
    assert (upgraded.returncode, f"dx unpin {shop.name}".encode() in upgraded.stderr) == (0, True)
    shop.house.stop(signal.SIGKILL)
    assert shop.run(shop.name) == "first"
    assert shop.house.run(["--image", shop.registry.ref("base:1"), shop.name]).stdout == b"third\n"
    assert shop.house.dx(["unpin", shop.name]).returncode == 0
    assert shop.run(shop.name) == "third"
    assert shop.house.dx(["rollback", shop.name, str(new["id"])]).returncode == 0
    assert shop.run(shop.name) == "second"
    assert shop.house.dx(["unpin", shop.name]).returncode == 0
    assert shop.run(shop.name) == "third"


def test_what_was_pulled_goes_in_its_time(shop: Shop) -> None:
    """But for what runs take, and what somebody gave a name of his own or had before."""
    assert shop.run(shop.name) == "first"
    first = shop.image_id("tool:1")
    named = f"{shop.word}:mine"
    words = ("second", "third", "fourth")
    for word in words:
        shop.push(word)
        assert shop.house.dx(["upgrade"]).returncode == 0
    ids = [each["image_id"] for each in reversed(shop.builds(shop.name))]
    assert (len(ids), ids[0]) == (4, first)
    docker("tag", ids[1], named)
    shop.pushed.append(named)
    shop.house.define(shop.house.file.read_text() + "[daemon]\nkeep_builds = 1\n")
    shop.house.dx(["stop", "--all"])
    shop.house.stop()
    assert json.loads(shop.house.dx(["prune", "--json"]).stdout)["images"] == 2
    left = docker("image", "ls", "--all", "--quiet", "--no-trunc").split()
    assert [each in left for each in ids] == [False, True, False, True]
    assert len(shop.builds(shop.name)) == 1
    assert f"dx/{shop.name}" not in docker("image", "inspect", "--format", "{{.RepoTags}}", ids[1])
    assert shop.run(shop.name) == "fourth"
