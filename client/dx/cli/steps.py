"""A pull or a build as it goes on: a tree of steps with times on a terminal, else a line for each step that has ended.

On a terminal the tree is drawn anew by a thread of its own, so that times go on while the daemon has nothing to say.
Only the latest steps are drawn, as many as fit; the end draws all of them once more, to stay.
"""

import os
import sys
import threading
import time
from collections import deque
from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import IO, Any, Self

from dx.answers import PrepareLine, WorkStep
from dx.cli import screen

REDRAW_S = 0.2
TAIL_LINES = 20
"""Of a step that failed."""


@dataclass
class _Shown:
    step: WorkStep
    since: float
    """When it was first seen to run, by our clock: the engine's may be another."""
    tail: deque[str] = field(default_factory=lambda: deque(maxlen=TAIL_LINES))


class Steps:
    """Shows what `Client.prepare` yields on standard error. Owns the last lines of the terminal until its end."""

    def __init__(self) -> None:
        self._stream: IO[str] | None = sys.stderr
        self._live = screen.is_terminal(self._stream) and os.environ.get("TERM", "dumb") != "dumb"
        self._steps: dict[tuple[str, str], _Shown] = {}
        self._ended: set[tuple[str, str]] = set()
        self._passing = ""
        self._drawn: list[int] = []
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._began = time.monotonic()
        self._ticker = threading.Thread(target=self._tick, name="redraw", daemon=True)

    def __enter__(self) -> Self:
        if self._live:
            self._ticker.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """What was done stays on the terminal, but for a Ctrl-C."""
        self._over.set()
        if not self._live:
            return
        self._ticker.join()
        self._wipe()
        if kind is None or not issubclass(kind, KeyboardInterrupt):
            self._write("".join(f"{line}\n" for line in self._lines(self._columns(), final=True)))

    def take(self, line: PrepareLine) -> None:
        """Show a line of the stream."""
        with self._lock:
            if "step" in line:
                self._take_step(line["step"])
            elif "note" in line:
                self._wipe()
                self._passing = ""
                screen.say(line["note"])
            elif "progress" in line:
                self._passing = line["progress"]
            else:
                self._passing = ""

    def _take_step(self, step: WorkStep) -> None:
        key = step["of"], step["id"]
        shown = self._steps.get(key)
        if shown is None or "started_at" not in shown.step:
            tail = shown.tail if shown else deque[str](maxlen=TAIL_LINES)
            shown = self._steps[key] = _Shown(step, time.monotonic(), tail)
        shown.step = step
        if step["kind"] == "work":
            self._passing = ""  # it says the same
        shown.tail.extend(step.get("lines", []))
        if not self._live and key not in self._ended and ("ended_at" in step or step.get("error")):
            self._ended.add(key)
            if step["kind"] in ("step", "work"):
                screen.say(f"{step['name']} ({_how(step, shown.since)})")
                for line in shown.tail if _failed(step) and step["kind"] == "step" else ():
                    screen.say(f"  {line}")

    def _tick(self) -> None:
        while not self._over.wait(REDRAW_S):
            with self._lock:
                columns, rows = self._columns(), self._rows()
                lines = self._lines(columns)[-max(1, rows - 1) :]
                self._wipe()
                self._write("".join(f"{line}\n" for line in lines))
                self._drawn = [min(columns - 1, _plain_width(line)) for line in lines]

    def _lines(self, columns: int, *, final: bool = False) -> list[str]:
        """The tree, no line as wide as the terminal."""
        lines = []
        for (of, name), shown in self._steps.items():
            if of != name:
                continue
            lines.append(_line(shown, columns, indent=""))
            for (parent, child), below in self._steps.items():
                if parent != of or child == of or not _is_worth_it(below.step):
                    continue
                lines.append(_line(below, columns, indent="  "))
                if _failed(below.step):
                    lines += [screen.fit(f"      {screen.clean(each)}", columns) for each in below.tail]
                elif not final and _runs(below.step) and below.tail:
                    last = screen.fit(f"      {screen.clean(below.tail[-1])}", columns)
                    lines.append(screen.paint(last, "dim", sys.stderr))
        if self._passing and not final:
            lines.append(screen.fit(screen.clean(self._passing), columns))
        return lines

    def _wipe(self) -> None:
        """Take the tree away; where the terminal has become narrower, its lines take more than one row."""
        columns = self._columns()
        rows = sum(1 + max(0, width - 1) // columns for width in self._drawn)
        if rows:
            self._write(f"\r\x1b[{rows}A\x1b[J")
        self._drawn = []

    def _columns(self) -> int:
        return screen.columns(self._stream) if self._stream is not None else 80

    def _rows(self) -> int:
        try:
            return os.get_terminal_size(self._stream.fileno()).lines or 24 if self._stream is not None else 24
        except OSError:
            return 24

    def _write(self, text: str) -> None:
        if self._stream is not None:
            self._stream.write(text)
            self._stream.flush()


def _line(shown: _Shown, columns: int, *, indent: str) -> str:
    """A step with what there is to say of it at the right, in at most 100 columns."""
    step = shown.step
    how = _how(step, shown.since)
    room = max(10, min(columns, 100) - len(how) - 2)
    name = screen.fit(indent + screen.clean(step["name"]), room)
    text = screen.fit(name + " " * (room - screen.width(name)) + how, columns)
    if _failed(step):
        return screen.paint(text, "red", sys.stderr)
    if step["kind"] == "work":
        return screen.paint(text, "bold", sys.stderr)
    return text if _runs(step) else screen.paint(text, "dim", sys.stderr)


def _how(step: WorkStep, since: float) -> str:
    """The time that it took or takes, and how far it is."""
    if step.get("error"):
        return "cancelled" if step["error"] == "cancelled" else f"failed: {screen.clean(step['error'])[:40]}"
    if step.get("cached"):
        return "cached"
    said = []
    if "ended_at" not in step:
        if total := step.get("total_bytes"):
            current = min(step.get("current_bytes", 0), total)
            said.append(f"{100 * current // total}% of {screen.size(total)}")
        if "state" in step:
            said.append(screen.clean(step["state"]))
    elif "total_bytes" in step:
        said.append(screen.size(step["total_bytes"]))
    if "duration_s" in step:
        said.append(screen.elapsed(step["duration_s"]))
    elif "started_at" in step:
        said.append(f"{time.monotonic() - since:.1f} s")
    return ", ".join(said)


def _failed(step: WorkStep) -> bool:
    return step.get("error", "cancelled") != "cancelled"


def _runs(step: WorkStep) -> bool:
    return "started_at" in step and "ended_at" not in step and "error" not in step


def _is_worth_it(step: WorkStep) -> bool:
    """What a builder does around the instructions is shown while it lasts, and where it fails."""
    if step["kind"] == "detail":
        return _runs(step) or _failed(step)
    return "started_at" in step or step["kind"] == "layer"


def _plain_width(line: str) -> int:
    return screen.width(line.partition("m")[2].removesuffix("\x1b[0m") if line.startswith("\x1b[") else line)


def last_of(lines: Iterable[Any], key: str, *, json: bool = False) -> Any:
    """Show progress until the line that has the key, and return what it has."""
    with nullcontext() if json else Steps() as steps:
        for line in lines:
            if key in line:
                return line[key]
            if steps is None:
                screen.print_json(line, line=True)
            else:
                steps.take(line)
    raise AssertionError("the stream ends with its last line or raises")
