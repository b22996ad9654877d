"""A directory with a Dockerfile, and the tool that is built from it, for the tests of builds."""

import json
import os
import secrets
from pathlib import Path
from typing import Any

import pytest

from tests.house import House, docker
from tests.waiting import until

BUILD_S = 60.0
TOLD_LINES = 30
"""Steps that took long, the last twenty lines of the one that failed, and what is to be done."""

PEAK_BYTES = 64 << 20
"""What a build may add to the daemon's memory: some MiB of the context, the log's 4, and what Python keeps."""

waiting = pytest.mark.parametrize("project", [{"on_change": "'wait'"}], indirect=True)
"""Runs of the tool wait for its build."""


class Project:
    """A directory with a Dockerfile, and the tool that is built from it."""

    def __init__(self, house: House, image: str, **settings: str) -> None:
        self.house = house
        self.image = image
        self.tool = f"t{secrets.token_hex(4)}"
        self.path = Path(os.fsdecode(house.place("project")))
        self.settings = settings
        self.witness: Project | None = None
        self.write("first")
        self.define()

    def define(self) -> None:
        """Make it a tool of the house's."""
        self.house.define(self.definition() + (self.witness.definition() if self.witness else ""))

    def definition(self) -> str:
        """Its table in dx.toml."""
        lines = "".join(f"{key} = {value}\n" for key, value in self.settings.items())
        return f"[tools.{self.tool}]\nbuild = '{self.path}'\nnetwork = 'none'\n{lines}"

    def rest(self) -> None:
        """Wait until what was edited before this has had its consequences: another tool that is edited now is built."""
        if self.witness is None:
            self.witness = Project(self.house, self.image)
            self.define()
            assert self.witness.run() == "first"
        word = secrets.token_hex(4)
        self.witness.write(word)
        self.witness.becomes(word)

    def write(self, word: str, *, broken: bool = False) -> None:
        """Have the build print that word, or fail."""
        more = "RUN false\n" if broken else ""
        text = f'FROM {self.image}\nCOPY word /word\n{more}ENTRYPOINT ["cat", "/word"]\n'
        self.put("word", f"{word}\n")
        self.put("Dockerfile", text)

    def put(self, name: str, text: str) -> None:
        """Replace a file as editors do."""
        if (self.path / name).exists() and (self.path / name).read_text() == text:
            return
        new = self.path / f".{name}.new"
        new.write_text(text)
        self.house.own(new)
        new.rename(self.path / name)

    def run(self, *words: str, **how: Any) -> str:
        """What a run prints; it has to end well."""
        done = self.house.run([self.tool, *words], timeout=BUILD_S, **how)
        assert done.returncode == 0, done.stderr
        return done.stdout.decode().strip()

    def builds(self) -> list[dict[str, Any]]:
        """Those that are remembered, the latest first."""
        listed: list[dict[str, Any]] = json.loads(self.house.dx(["builds", self.tool, "--json"]).stdout)["builds"]
        return listed

    def tags(self) -> set[str]:
        """Of the tool's images."""
        return set(docker("image", "ls", "--format", "{{.Tag}}", f"dx/{self.tool}").split())

    def images(self) -> list[str]:
        """The ids of all images that were built for the tool, with a name or without."""
        return docker("image", "ls", "--quiet", "--no-trunc", "--filter", f"label=dev.dx.tool={self.tool}").split()

    def ended(self, result: str) -> dict[str, Any]:
        """The latest build, once it has ended in that way."""
        until(lambda: self.builds()[0]["result"] == result, f"the latest build is {result}", deadline_s=BUILD_S)
        return self.builds()[0]

    def log(self, build: dict[str, Any]) -> str:
        """What a build said."""
        done = self.house.dx(["builds", "log", str(build["id"])])
        assert done.returncode == 0, done.stderr
        return done.stdout.decode()

    def still(self, word: str = "first", *said: str) -> None:
        """A run takes the old build, and its last word of the new one is a line that has these words in it."""
        done = self.house.run([self.tool], timeout=BUILD_S)
        assert (done.returncode, done.stdout.decode().strip()) == (0, word), done.stderr
        lines = done.stderr.decode().splitlines()
        assert len(lines) <= TOLD_LINES, lines
        assert bool(lines) == bool(said), lines
        for each in said:
            assert each in lines[-1], lines

    def is_tidy(self) -> bool:
        """Whether each image of the tool has a name, each of its containers the one that serves, each build an end."""
        try:
            ids = {
                tag: docker("image", "inspect", "--format", "{{.Id}}", f"dx/{self.tool}:{tag}") for tag in self.tags()
            }
            used = {docker("inspect", "--format", "{{.Image}}", each) for each in self.house.containers()}
        except AssertionError:  # one has gone just now
            return False
        images = set(self.images())
        serving = {image for tag, image in ids.items() if tag.startswith("is-")}
        return images == set(ids.values()) and used & images <= serving and all(b["result"] for b in self.builds())

    def becomes(self, word: str) -> None:
        """Runs print the word after a while, and nothing else than what they printed before meanwhile."""
        seen = self.run()
        until(lambda: self.run() == word, f"{self.tool} prints {word!r} and not {seen!r}", deadline_s=BUILD_S)

    def close(self) -> None:
        """Remove its images."""
        if self.witness is not None:
            self.witness.close()
        self.house.dx(["stop", "--all"])
        self.house.stop()
        for tag in self.tags():
            docker("image", "rm", "--force", f"dx/{self.tool}:{tag}")
        for image in set(self.images()):
            docker("image", "rm", "--force", image)


def peak_bytes(house: House) -> int:
    """The most memory that the daemon had so far."""
    lines = Path(f"/proc/{house.daemon}/status").read_text(encoding="ascii").splitlines()
    return int(next(each for each in lines if each.startswith("VmHWM:")).split()[1]) * 1024


def steps(project: Project, *lines: str) -> None:
    """Replace the Dockerfile."""
    whole = (f"FROM {project.image}", "COPY word /word", *lines, 'ENTRYPOINT ["cat", "/word"]\n')
    project.put("Dockerfile", "\n".join(whole))


def tidy(project: Project) -> None:
    """See that nothing half made is left."""
    until(project.is_tidy, "nothing is left of it", deadline_s=BUILD_S)
