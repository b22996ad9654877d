"""The projects whose tools are known, and what the user has allowed them: the one owner of both.

A project's dx.toml asks, and never has anything by itself: until the user has allowed what its tools ask for nothing of
them runs, is built or is mounted. What was allowed is kept outside of the project, in the store; a tool that asks for
more waits until that is allowed, too, and the others go on. A file that belongs to somebody else is passed over unless
the user has named its project (CVE-2022-24765).
"""

import hashlib
import os
import stat
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dxd.errors import Conflict, NotFound, NotTrusted
from dxd.store.consents import Consents
from dxd.tools.catalogue import Catalogue
from dxd.tools.model import Tool
from dxd.tools.names import mark_of
from dxd.trust.asks import asks_of, asks_of_all

NAME = "dx.toml"
MAX_PROJECTS = 1000
"""Whose files are remembered; past that the one that nobody asked about for longest is forgotten, and read again."""
MAX_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Review:
    """What a project asks for, and what of that is allowed."""

    directory: Path
    asks: tuple[str, ...]
    new: tuple[str, ...]
    """What is not allowed yet."""
    digest: str
    """Of what it asks for: to allow it is to allow just that."""
    problem: str | None
    """What is wrong with its file, on one line."""


class Projects:
    """By directory. May be asked before `start`; then nothing is allowed yet."""

    def __init__(self, *, consents: Consents, own: Path, uid: int) -> None:
        """`own` is the user's own dx.toml, which is no project's; `uid` is the user."""
        self._consents = consents
        self._own = str(own)
        self._uid = uid
        self._allowed: dict[Path, frozenset[str]] = {}
        self._files: OrderedDict[Path, Catalogue] = OrderedDict()
        self._passed: set[str] = set()
        self._unsaid: list[str] = []

    async def start(self) -> None:
        """Read what was allowed."""
        self._allowed = await self._consents.all()

    def at(self, cwd: bytes) -> Path | None:
        """The directory of the nearest dx.toml from there up that counts."""
        at = os.fsdecode(cwd)
        while True:
            file = f"{at.rstrip('/')}/{NAME}"
            try:
                status = os.stat(file)  # noqa: PTH116 - some ten of these for each run
            except OSError:
                status = None
            if status is not None and stat.S_ISREG(status.st_mode) and file != self._own:
                directory = Path(at)
                if status.st_uid in {self._uid, 0} or directory in self._allowed:
                    return directory
                self._pass_over(file, status.st_uid)
            if at in {"/", ""}:
                return None
            at = at.rpartition("/")[0] or "/"

    def passed_over(self) -> list[str]:
        """What was found that is another user's and was not said yet, a line each."""
        lines, self._unsaid = self._unsaid, []
        return lines

    def tools(self, directory: Path) -> Catalogue:
        """What the project's file says, allowed or not."""
        file = self._files.get(directory)
        if file is None:
            file = self._files[directory] = Catalogue(directory / NAME, project=True)
            while len(self._files) > MAX_PROJECTS:
                self._files.popitem(last=False)
        self._files.move_to_end(directory)
        return file

    def check(self, tool: Tool) -> None:
        """Raise `NotTrusted` where a project's tool asks for what is not allowed."""
        if tool.project is None:
            return
        allowed = self._allowed.get(tool.project, frozenset())
        if new := [ask for ask in asks_of(tool) if ask not in allowed]:
            shown = ", ".join(new[:MAX_SHOWN]) + (f" and {len(new) - MAX_SHOWN} more" if len(new) > MAX_SHOWN else "")
            asks = "asks for more than you have allowed" if allowed else "is not trusted"
            raise NotTrusted(
                f"{tool.project / NAME} {asks} ({shown})", f"run: dx trust {tool.project}", project=tool.project
            )

    def allowed(self, directory: Path) -> list[Tool]:
        """The tools of a project that ask for nothing that is not allowed."""
        allowed = self._allowed.get(directory, frozenset())
        return [each for each in self.tools(directory).all() if allowed.issuperset(asks_of(each))]

    def known(self) -> Sequence[Path]:
        """Projects of which something is allowed, in order."""
        return sorted(self._allowed)

    def marked(self, mark: str) -> Path | None:
        """The project of that mark in its tools' names."""
        return next((each for each in (*self._files, *self._allowed) if mark_of(str(each)) == mark), None)

    def review(self, directory: Path) -> Review:
        """What there is to allow; raises `NotFound` where the directory has no dx.toml."""
        if not (directory / NAME).is_file():
            raise NotFound(f"there is no {NAME} in {directory}", "name the directory of a project that has one")
        file = self.tools(directory)
        asks = asks_of_all(file.all())
        allowed = self._allowed.get(directory, frozenset())
        new = tuple(each for each in asks if each not in allowed)
        return Review(directory, asks, new, _digest(asks), file.problem)

    async def allow(self, directory: Path, digest: str) -> None:
        """Allow what a review showed; raises `Conflict` where the file asks for something else by now."""
        review = self.review(directory)
        if review.digest != digest:
            raise Conflict(f"{directory / NAME} has changed meanwhile", f"run again: dx trust {directory}")
        await self._consents.put(directory, review.asks)
        self._allowed[directory] = frozenset(review.asks)

    async def forget(self, directory: Path) -> None:
        """Allow nothing any more; raises `NotFound` where nothing was allowed."""
        if directory not in self._allowed:
            raise NotFound(f"nothing is allowed in {directory}", "see: dx trust --list")
        await self._consents.remove(directory)
        del self._allowed[directory]

    def _pass_over(self, file: str, uid: int) -> None:
        if file not in self._passed and len(self._passed) < MAX_PROJECTS:
            self._passed.add(file)
            directory = file.removesuffix(NAME)
            self._unsaid.append(f"{file} belongs to uid {uid} and is not read; if you trust it: dx trust {directory}")


def _digest(asks: Sequence[str]) -> str:
    return hashlib.sha256("\0".join(asks).encode(errors="surrogateescape")).hexdigest()
