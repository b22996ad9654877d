"""Two terminals, one program on both, natively and through dx; and what a person at each would see.

    with pair.begin(["less", "text"]) as both:
        both.see("line 1")
        both.type("q")
        both.end()

Both are typed at in step. A screen is what a terminal emulator makes of the bytes, so that it does not matter in which
pieces or by which way they came.
"""

import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pexpect
import pyte

from tests.contract.terminals.terminal import COLUMNS, FRESH, ROWS, Terminal
from tests.contract.twin import Argument, Native, Run, Side, fresh, tree
from tests.house import House

DEADLINE_S = 20.0
PATH = "/usr/local/bin:/usr/bin:/bin"
Mask = Callable[[str], str]


class Here(Native):
    """This machine's own programs."""

    def options(self, argv: Sequence[Argument], given: dict[str, Any]) -> dict[str, Any]:
        """In an environment as a run has it."""
        options = Side.options(self, argv, given)
        options["env"] = {"PATH": PATH, "HOME": str(self.house.home), **given.get("environ", {})}
        return options


class Emulator(pyte.Screen):
    """A screen that answers what programs ask of a terminal."""

    def __init__(self, answer: Callable[[str], object]) -> None:
        super().__init__(COLUMNS, ROWS)
        self._answer = answer

    def write_process_input(self, data: str) -> None:
        """What the terminal types by itself."""
        self._answer(data)

    def select_graphic_rendition(self, *attributes: int, private: bool = False) -> None:
        """Colours; what xterm asks and answers by the private form is none."""
        if not private:
            super().select_graphic_rendition(*attributes)


class Shown:
    """One terminal and its screen."""

    def __init__(self, terminal: Terminal) -> None:
        self.terminal = terminal
        self.ended = False
        self.raw = b""
        self._emulator = Emulator(terminal.type)
        self._stream = pyte.ByteStream(self._emulator)

    @property
    def lines(self) -> list[str]:
        """Without what is blank at the right and at the bottom."""
        return "\n".join(line.rstrip() for line in self._emulator.display).rstrip().split("\n")

    @property
    def state(self) -> tuple[int, int, list[int]]:
        """Where the cursor is, unless it is hidden, and the modes that are set (bracketed paste is one)."""
        cursor = self._emulator.cursor
        at = (-1, -1) if cursor.hidden else (cursor.y, cursor.x)
        return *at, sorted(self._emulator.mode)

    def resize(self, rows: int, columns: int) -> None:
        """As a window manager does it."""
        self._emulator.resize(rows, columns)
        self.terminal.child.setwinsize(rows, columns)

    def take(self) -> None:
        """What was shown since; waits for a moment if that is nothing."""
        with suppress(pexpect.TIMEOUT):
            try:
                piece = self.terminal.child.read_nonblocking(1 << 16, timeout=0.01)
            except pexpect.EOF:
                self.ended = True
                return
            self.raw += piece
            self._stream.feed(piece)


class Both:
    """The two, in step."""

    def __init__(self, here: Shown, there: Shown, mask: Mask) -> None:
        self.here = here
        self.there = there
        self._mask = mask

    def type(self, keys: str | bytes) -> None:
        """Press keys at both."""
        for each in (self.here, self.there):
            each.terminal.type(keys)

    def resize(self, rows: int, columns: int) -> None:
        """Make both windows another size."""
        for each in (self.here, self.there):
            each.resize(rows, columns)

    def see(self, pattern: str) -> list[str]:
        """Wait until both screens are the same and show the pattern; the native lines."""
        self._until(lambda: bool(re.search(pattern, self._text(self.here), re.MULTILINE)) and self._same(), pattern)
        return self.here.lines

    def end(self) -> int:
        """Wait until both have ended: so, on the same screen, with the terminal's modes as they were.

        The status of both; negative: the signal.
        """
        self._until(lambda: self.here.ended and self.there.ended, "the end")
        assert self._text(self.there) == self._text(self.here)
        assert self.there.state == self.here.state
        here, there = (_end(each.terminal) for each in (self.here, self.there))
        assert there == here
        return here

    def _text(self, shown: Shown) -> str:
        return self._mask("\n".join(shown.lines))

    def _same(self) -> bool:
        return self._text(self.there) == self._text(self.here) and self.there.state == self.here.state

    def _until(self, look: Callable[[], bool], what: str) -> None:
        end = time.monotonic() + DEADLINE_S
        while not look():
            if time.monotonic() > end:
                shown = [f"{each.state}\n{self._text(each)}" for each in (self.here, self.there)]
                raise AssertionError("\n---\n".join((f"not on both in time: {what}", *shown)))
            for each in (self.here, self.there):
                if not each.ended:
                    each.take()


def _end(terminal: Terminal) -> int:
    assert terminal.modes() == FRESH
    terminal.child.wait()
    terminal.child.close()
    signal: int | None = terminal.child.signalstatus
    status: int = terminal.child.exitstatus if signal is None else -signal
    return status


class Pair:
    """The two sides of one person, on which programs are begun."""

    def __init__(self, house: House, image: str) -> None:
        self.house = house
        self._sides = (Here("native", house), Run("run", house, image))

    @contextmanager
    def begin(
        self,
        argv: Sequence[Argument],
        *,
        script: str = "",
        prepare: Callable[[bytes], None] | None = None,
        mask: Mask = str,
        **environ: str,
    ) -> Iterator[Both]:
        """The program, on two terminals, each in a directory of its own; these are the same in the end.

        `script` is one of the host's shell, where the program is `"$@"`; `prepare` fills a directory; `mask` takes
        from a screen what has a right to differ.
        """
        places = [self.house.place("place") for _ in self._sides]
        with ExitStack() as stack:
            shown: list[Shown] = []
            for side, place in zip(self._sides, places, strict=True):
                stack.enter_context(fresh(place, prepare, self.house))
                line = side.line(argv)
                if script:
                    line = ["/bin/bash", "-c", script, "bash", *line]
                terminal = Terminal(side, line, cwd=place, **environ)
                stack.callback(terminal.close)
                shown.append(Shown(terminal))
            yield Both(shown[0], shown[1], mask)
            here, there = (tree(place) for place in places)
            assert there == here


def file(name: str, content: bytes, mode: int = 0o644) -> Callable[[bytes], None]:
    """For `prepare`: one file."""

    def prepare(place: bytes) -> None:
        path = Path(place.decode()) / name
        path.write_bytes(content)
        path.chmod(mode)

    return prepare
