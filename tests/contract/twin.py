"""One command, done twice: natively by this machine's busybox, and by the same busybox in an image through dx."""

import os
import re
import shutil
import stat
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.house import BUSYBOX, DEADLINE_S, House, applets

Argument = str | bytes


@dataclass(frozen=True)
class Entry:
    """What can be seen of a file without reading it as a program would."""

    mode: str
    uid: int
    gid: int
    content: bytes


@dataclass(frozen=True)
class Outcome:
    """Everything that a command leaves for others to see."""

    status: int
    """Negative: the signal that it died of."""
    out: bytes
    err: bytes
    files: dict[bytes, Entry] = field(default_factory=dict)


class Side:
    """A way to run an applet."""

    def __init__(self, name: str, house: House) -> None:
        self.name = name
        self.house = house

    def line(self, argv: Sequence[Argument]) -> list[Argument]:
        """What to execute for it."""
        raise NotImplementedError

    def options(self, argv: Sequence[Argument], given: dict[str, Any]) -> dict[str, Any]:
        """For `subprocess`: as the house's person, in its environment with what `environ` adds."""
        options = self.house.options(given)
        options["env"] = {**options["env"], **options.pop("environ", {})}
        return options

    def popen(self, argv: Sequence[Argument], **options: Any) -> "subprocess.Popen[bytes]":
        """Begin it."""
        return subprocess.Popen(self.line(argv), **self.options(argv, options))

    def through(self, script: str, argv: Sequence[Argument], **options: Any) -> "subprocess.Popen[bytes]":
        """Begin it by a shell script of the host's, where it is `"$@"`."""
        options = self.options(argv, options)
        options.pop("executable", None)
        # Natively a bare name, which must not become the shell's own command of that name.
        script = f"enable -n echo printf kill pwd test true false; {script}"
        return subprocess.Popen(["/bin/bash", "-c", script, "bash", *self.line(argv)], **options)


class Native(Side):
    """On the host."""

    def line(self, argv: Sequence[Argument]) -> list[Argument]:
        """The name itself: its PATH leads to links like those in the image."""
        return list(argv)

    def options(self, argv: Sequence[Argument], given: dict[str, Any]) -> dict[str, Any]:
        """In an environment as a run has it."""
        options = super().options(argv, given)
        options["env"] = {"PATH": str(links(self.house)), "HOME": str(self.house.home), **given.get("environ", {})}
        return {"executable": BUSYBOX, **options}


class Run(Side):
    """Through `dx run IMAGE`."""

    def __init__(self, name: str, house: House, image: str) -> None:
        super().__init__(name, house)
        self._image = image

    def line(self, argv: Sequence[Argument]) -> list[Argument]:
        """The launcher by its own name."""
        return [str(self.house.bin / "dx"), "run", self._image, *argv]


class Python(Side):
    """Through `python -m dx run IMAGE`."""

    def __init__(self, name: str, house: House, image: str) -> None:
        super().__init__(name, house)
        self._image = image

    def line(self, argv: Sequence[Argument]) -> list[Argument]:
        """The interpreter, which does all that the launcher does."""
        return [*self.house.python, "run", self._image, *argv]


class Shim(Side):
    """Through a link to the launcher that has the command's name."""

    def line(self, argv: Sequence[Argument]) -> list[Argument]:
        """The launcher by the command's name; what dx.toml does not offer is none of a test's business."""
        return [str(self.house.shim(os.fsdecode(argv[0]))), *argv[1:]]


def links(house: House) -> Path:
    """A directory like the image's /bin."""
    path = house.root / "bin"
    if not path.exists():
        path.mkdir()
        for name in applets():
            (path / name).symlink_to(BUSYBOX)
    return path


def tool(image: str) -> str:
    """A dx.toml whose one tool offers the image's commands."""
    names = [name for name in applets() if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+-]*", name)]
    return f"[tools.busy]\nimage = '{image}'\ncommands = {[*names, 'no-such-command']!r}\n"


class Twin:
    """The native side and one of dx's, to be compared."""

    def __init__(self, native: Side, dx: Side) -> None:
        self.native = native
        self.dx = dx
        self.house = dx.house
        self.person = dx.house.person

    def same(self, argv: Sequence[Argument], **how: Any) -> Outcome:
        """Do it both ways, each in a new directory of the same name, and see that nobody could tell; see `perform`."""
        place = how.pop("place", None) or self.house.place()
        native, dx = (self.perform(side, argv, place=place, **how) for side in (self.native, self.dx))
        assert dx == native
        return native

    def perform(
        self,
        side: Side,
        argv: Sequence[Argument],
        *,
        place: bytes,
        script: str = "",
        feed: bytes = b"",
        prepare: Callable[[bytes], None] | None = None,
        **options: Any,
    ) -> Outcome:
        """Do it in a directory that is emptied before and looked at afterwards.

        `feed` goes to its stdin; `script` is one of the host's shell to begin it with; `prepare` gets the directory,
        whose content is given to the person afterwards.
        """
        with fresh(place, prepare, self.house):
            how = {
                "stdin": subprocess.PIPE,
                "stdout": subprocess.PIPE,
                "stderr": subprocess.PIPE,
                "cwd": place,
                **options,
            }
            with side.through(script, argv, **how) if script else side.popen(argv, **how) as process:
                try:
                    out, err = process.communicate(feed if how["stdin"] is subprocess.PIPE else None, DEADLINE_S)
                except subprocess.TimeoutExpired:
                    process.kill()
                    raise
            return Outcome(process.returncode, out, err, tree(place))

    def do(self, argv: Sequence[Argument], **how: Any) -> Outcome:
        """Do it through dx only, where there is nothing native to compare with."""
        place = how.pop("place", None) or self.house.place()
        return self.perform(self.dx, argv, place=place, **how)

    def refused(self, outcome: Outcome, status: int = 125) -> str:
        """See that dx said no in one line on stderr; the line."""
        assert outcome.status == status, outcome
        assert outcome.out == b""
        text = outcome.err.decode()
        assert text.startswith("dx: ")
        assert text.count("\n") == 1
        assert text.endswith("\n")
        return text


@contextmanager
def fresh(place: bytes, prepare: Callable[[bytes], None] | None, house: House) -> Iterator[None]:
    """The directory, empty but for what `prepare` makes; whatever is in it belongs to the person."""
    for name in os.listdir(place):
        path = os.path.join(place, name)
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path)
        else:
            os.unlink(path)
    if prepare:
        prepare(place)
        for at, directories, files in os.walk(place):
            for name in (*directories, *files):
                house.own(Path(os.fsdecode(os.path.join(at, name))))
    yield


def tree(place: bytes) -> dict[bytes, Entry]:
    """All that is below a directory."""
    found = {}
    for at, directories, files in os.walk(place):
        for name in (*directories, *files):
            path = os.path.join(at, name)
            status = os.lstat(path)
            content = b""
            if stat.S_ISLNK(status.st_mode):
                content = os.readlink(path)
            elif stat.S_ISREG(status.st_mode):
                with suppress(PermissionError), open(path, "rb") as file:
                    content = file.read()
            found[os.path.relpath(path, place)] = Entry(
                stat.filemode(status.st_mode), status.st_uid, status.st_gid, content
            )
    return found
