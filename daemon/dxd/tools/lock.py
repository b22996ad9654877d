"""The lock beside dx.toml: which bytes run, whatever tags mean by now.

    version = 1

    [tools.jq]
    image = "example.org/jq:1.7"
    digests = { "linux/amd64" = "sha256:..." }
    labels = { "linux/amd64" = "sha256:..." }

    [tools.lint]                      # one that is built
    inputs = { "linux/amd64" = "..." }
    labels = { "linux/amd64" = "sha256:..." }

    [tools.lint.bases]
    "alpine:3" = { "linux/amd64" = "sha256:..." }

`Lock` owns what was read; every look-up asks stat(2) whether it is still the same file. A lock that cannot be read is
an error of every look-up, because nobody knows then what it pins. Writers wait for the
disk, so they belong in a thread.
"""

import re
import time
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dxd.errors import BadDefinition, Refused
from dxd.kit import atomic, toml
from dxd.kit.toml import Spot
from dxd.tools.model import Tool

NAME = "dx.lock"
VERSION = 1
MAX_BYTES = 1 << 20
MAX_LOCKS = 1000
"""That are remembered; one more costs reading it again."""
_FRESH_NS = 100_000_000
"""As in `catalogue`."""
_HEAD = "# Written by `dx lock`: which bytes run, whatever tags mean by now. Keep it beside dx.toml.\n"
_KEYS = ("image", "digests", "inputs", "labels", "bases")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}", re.ASCII)
_INPUTS = re.compile(r"[0-9a-f]{64}", re.ASCII)
_BARE = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)

ByPlatform = Mapping[str, str]
"""A digest for each `os/architecture`."""


@dataclass(frozen=True, slots=True)
class Locked:
    """What is locked of one tool."""

    image: str | None = None
    """As dx.toml had it; None for a tool that is built."""
    digests: ByPlatform = field(default_factory=dict)
    inputs: ByPlatform = field(default_factory=dict)
    """Of all that a build is made of."""
    labels: ByPlatform = field(default_factory=dict)
    """Of what the image says of itself."""
    bases: Mapping[str, ByPlatform] = field(default_factory=dict)
    """By name, the images that the tool is built on."""


class Lock:
    """One lock file; where there is none, nothing is locked. Constructing never fails."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._path = str(file)
        self._stamp: atomic.Stamp | None = None
        self._fresh = False
        self._tools: Mapping[str, Locked] = {}
        self._problem: BadDefinition | None = None

    def get(self, tool: str) -> Locked | None:
        """What is locked of a tool; raises `BadDefinition` where the lock cannot be read."""
        return self.all().get(tool)

    def all(self) -> Mapping[str, Locked]:
        """Everything, by tool; raises `BadDefinition`."""
        self._refresh()
        if self._problem is not None:
            raise self._problem
        return self._tools

    def exists(self) -> bool:
        """Whether there is a lock."""
        self._refresh()
        return self._stamp is not None or self._problem is not None

    def write(self, tools: Mapping[str, Locked]) -> None:
        """Have the file say that, and nothing else; raises `Refused`."""
        try:
            atomic.write(self.file, render(tools).encode(), mode=0o644)
        except OSError as error:
            raise Refused(f"{self.file}: cannot be written: {error.strerror}", "nothing was changed") from error
        self._fresh = True

    def _refresh(self) -> None:
        try:
            stamp = atomic.stamp(self._path)
            if stamp == self._stamp and not self._fresh and self._problem is None:
                return
            self._tools, self._problem, self._fresh = {}, None, False
            if stamp is not None:
                content, stamp = atomic.read(self.file, limit_bytes=MAX_BYTES)
                self._fresh = 0 <= time.time_ns() - max(stamp[3:]) < _FRESH_NS
            self._stamp = stamp
            if stamp is not None:
                self._tools = read(content, self.file)
        except FileNotFoundError:  # it went just now
            self._stamp = None
        except OSError as error:
            self._problem = BadDefinition(f"{self.file}: cannot be read: {error.strerror}", "mend it")
        except toml.BadToml as error:
            self._problem = BadDefinition(error.message, error.hint or "mend it, or remove it and run: dx lock")


class Locks:
    """The locks beside the user's dx.toml and beside those of projects."""

    def __init__(self, own: Path) -> None:
        """`own` is the user's."""
        self._own = Lock(own)
        self._of_projects: OrderedDict[Path, Lock] = OrderedDict()

    def at(self, project: Path | None) -> Lock:
        """That of a project by its directory, or the user's."""
        if project is None:
            return self._own
        lock = self._of_projects.get(project)
        if lock is None:
            lock = self._of_projects[project] = Lock(project / NAME)
            while len(self._of_projects) > MAX_LOCKS:
                self._of_projects.popitem(last=False)
        self._of_projects.move_to_end(project)
        return lock

    def get(self, tool: Tool) -> Locked | None:
        """What is locked of a tool; raises `BadDefinition` where its lock cannot be read."""
        return self.at(tool.project).get(tool.word)

    def of(self, tools: Iterable[Tool]) -> tuple[dict[str, Locked], dict[str, str]]:
        """What is locked of these tools, by name; and why nobody knows that of others, whose lock cannot be read."""
        locked: dict[str, Locked] = {}
        unsure: dict[str, str] = {}
        for tool in tools:
            try:
                found = self.get(tool)
            except BadDefinition as error:
                unsure[tool.name] = error.line()
                continue
            if found is not None:
                locked[tool.name] = found
        return locked, unsure


def read(content: bytes, file: Path) -> dict[str, Locked]:
    """What a lock says, by tool; raises `BadToml`."""
    document = toml.parse(content, file)
    spot = Spot(document)
    given = toml.table(document.data, ("version", "tools"), spot)
    if given.get("version") != VERSION:
        raise spot.at("version").bad(f"must be {VERSION}", "it was written by another dx; remove it and run: dx lock")
    tables = given.get("tools", {})
    if not isinstance(tables, dict):
        raise spot.at("tools").bad("must be a table")
    return {name: _locked(value, spot.at("tools", name)) for name, value in tables.items()}


def render(tools: Mapping[str, Locked]) -> str:
    """The inverse: sorted, a line for each thing that can change."""
    lines = [_HEAD, f"version = {VERSION}\n"]
    for name, locked in sorted(tools.items()):
        lines.append(f"\n[tools.{_key(name)}]\n")
        if locked.image is not None:
            lines.append(f"image = {_text(locked.image)}\n")
        for key, value in (("digests", locked.digests), ("inputs", locked.inputs), ("labels", locked.labels)):
            if value:
                lines.append(f"{key} = {_inline(value)}\n")
        if locked.bases:
            lines.append(f"\n[tools.{_key(name)}.bases]\n")
            lines += [f"{_text(base)} = {_inline(value)}\n" for base, value in sorted(locked.bases.items())]
    return "".join(lines)


def _locked(value: object, spot: Spot) -> Locked:
    given = toml.table(value, _KEYS, spot)
    image = given.get("image")
    if image is not None and not isinstance(image, str):
        raise spot.at("image").bad("must be text")
    bases = given.get("bases", {})
    if not isinstance(bases, dict):
        raise spot.at("bases").bad("must be a table")
    return Locked(
        image=image,
        digests=_digests(given.get("digests", {}), _DIGEST, spot.at("digests")),
        inputs=_digests(given.get("inputs", {}), _INPUTS, spot.at("inputs")),
        labels=_digests(given.get("labels", {}), _DIGEST, spot.at("labels")),
        bases={name: _digests(each, _DIGEST, spot.at("bases", name)) for name, each in bases.items()},
    )


def _digests(value: object, pattern: re.Pattern[str], spot: Spot) -> dict[str, str]:
    if not isinstance(value, dict):
        raise spot.bad("must be a table of digests")
    for platform, digest in value.items():
        if not isinstance(digest, str) or not pattern.fullmatch(digest):
            raise spot.at(platform).bad("is no digest")
    return value


def _inline(value: ByPlatform) -> str:
    return "{ " + ", ".join(f"{_text(key)} = {_text(each)}" for key, each in sorted(value.items())) + " }"


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else _text(name)


def _text(text: str) -> str:
    """A basic string; names of images and tools need no escapes but these."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
