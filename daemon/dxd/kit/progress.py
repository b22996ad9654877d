"""What a long piece of work tells whoever waits for it. Failures are raised, not told here."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Protocol

CANCELLED = "cancelled"
"""The error of a step that the failure of another one cut short."""


class Kind(StrEnum):
    """What a step is to people."""

    WORK = "work"
    """The whole of a pull or a build; the others belong to one."""
    STEP = "step"
    """An instruction of a Dockerfile."""
    DETAIL = "detail"
    """What a builder does around the instructions."""
    LAYER = "layer"
    """Of an image that is pulled."""


@dataclass(frozen=True, slots=True)
class Step:
    """The state of one part of a piece of work; told anew whenever something about it changes."""

    id: str
    """Of the step in its work; the same in every telling."""
    kind: Kind
    of: str
    """The id of the work that it belongs to, which is also its name; its own where it is the work."""
    name: str
    started_s: float | None = None
    """Since 1970, by the engine's clock; None before it runs."""
    ended_s: float | None = None
    cached: bool = False
    error: str = ""
    """Why it failed; `CANCELLED` where it was another one that did."""
    state: str = ""
    """What it does just now, where that has a name: `extracting`."""
    current_bytes: int = 0
    total_bytes: int | None = None
    """None: not known. Bytes are told where they are moved, else both are nothing."""
    lines: tuple[str, ...] = ()
    """What it printed since it was told last."""

    @property
    def took_s(self) -> float | None:
        """How long it ran; None before it has ended."""
        if self.started_s is None or self.ended_s is None:
            return None
        return max(0.0, self.ended_s - self.started_s)

    def after(self, earlier: "Step | None", *, max_lines: int) -> "Step":
        """This telling with what an earlier one said that was not passed on yet: the lines, of which the last count."""
        return self if earlier is None else replace(self, lines=(*earlier.lines, *self.lines)[-max_lines:])


class Progress(Protocol):
    """Takes lines of text, and the states of steps; must neither block nor raise."""

    def note(self, text: str) -> None:
        """Tell a line that lasts."""

    def progress(self, text: str) -> None:
        """Tell a line that takes the place of the one before it; it may be dropped."""

    def step(self, step: Step) -> None:
        """Tell how a step is; the last telling of each counts, with the lines of all."""


class Silent:
    """For work that nobody watches."""

    def note(self, text: str) -> None:
        """Say nothing."""

    def progress(self, text: str) -> None:
        """Say nothing."""

    def step(self, step: Step) -> None:
        """Say nothing."""


class Fanout:
    """Tells all who listen at the moment; one who comes late is told the latest line, and each step, at once."""

    def __init__(self) -> None:
        self._listeners: list[Progress] = []
        self._latest: str | None = None
        self._steps: dict[tuple[str, str], Step] = {}

    @property
    def listeners(self) -> Iterable[Progress]:
        """Who listens now."""
        return tuple(self._listeners)

    def add(self, listener: Progress) -> None:
        """Let one more listen; the same may be added several times."""
        self._listeners.append(listener)
        if self._latest is not None:
            listener.progress(self._latest)
        for step in self._steps.values():
            listener.step(step)

    def remove(self, listener: Progress) -> None:
        """Undo one `add`."""
        self._listeners.remove(listener)

    def note(self, text: str) -> None:
        """Tell everybody."""
        self._latest = text
        for listener in self.listeners:
            listener.note(text)

    def progress(self, text: str) -> None:
        """Tell everybody."""
        self._latest = text
        for listener in self.listeners:
            listener.progress(text)

    def step(self, step: Step) -> None:
        """Tell everybody."""
        self._steps[step.of, step.id] = replace(step, lines=())
        for listener in self.listeners:
            listener.step(step)
