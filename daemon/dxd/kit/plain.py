"""Steps in plain lines, for those who show text alone: a launcher, and the log of a build."""

from collections import deque
from collections.abc import Callable

from dxd.kit.progress import CANCELLED, Kind, Step

TAIL_LINES = 20
"""Of a step that failed, told as notes; the reason is nearly always among them."""
SHORT_S = 0.05
"""What takes less is not worth a line."""


class Plain:
    """Turns the steps of one piece of work into notes and lines that pass."""

    def __init__(self, note: Callable[[str], None], progress: Callable[[str], None]) -> None:
        self._note = note
        self._progress = progress
        self._tails: dict[str, deque[str]] = {}
        self._ended: set[tuple[str, str]] = set()

    def step(self, step: Step) -> None:
        """Take the state of a step."""
        if step.kind in (Kind.WORK, Kind.LAYER):
            if step.kind is Kind.WORK and step.ended_s is None and (step.total_bytes or step.state):
                self._progress(f"{step.name}: {extent(step)}")
            return
        key = step.of, step.id
        tail = self._tails.setdefault(step.id, deque(maxlen=TAIL_LINES))
        tail.extend(step.lines)
        if step.ended_s is None and not step.error:
            if step.started_s is not None:
                more = tail[-1] if tail else extent(step)
                self._progress(f"{step.of}: {_cut(step.name)}: {more}" if more else f"{step.of}: {step.name}")
        elif key not in self._ended:
            self._ended.add(key)
            del self._tails[step.id]
            if step.error:
                for line in tail if step.error != CANCELLED else ():
                    self._note(f"  {line}")
            elif step.kind is Kind.STEP and not step.cached and (step.took_s or 0.0) >= SHORT_S:
                self._note(f"{step.name} ({step.took_s:.1f} s)")


class Whole:
    """Turns the steps of one piece of work into all the lines that they printed, in their order."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._named: set[tuple[str, str]] = set()
        self._ended: set[tuple[str, str]] = set()

    def step(self, step: Step) -> None:
        """Take the state of a step."""
        key = step.of, step.id
        if step.kind in (Kind.WORK, Kind.LAYER):
            return
        if key not in self._named and (step.started_s is not None or step.lines):
            self._named.add(key)
            self._tell(step.name)
        for line in step.lines:
            self._tell(f"  {line}")
        if key not in self._ended and (step.ended_s is not None or step.error) and step.kind is Kind.STEP:
            self._ended.add(key)
            how = step.error or ("cached" if step.cached else f"{step.took_s or 0.0:.1f} s")
            self._tell(f"{step.name} ({how})")


def extent(step: Step) -> str:
    """How far it is: percent where the whole is known, bytes, and what it does; empty where nothing is known."""
    said = []
    if step.total_bytes:
        current = min(step.current_bytes, step.total_bytes)
        said.append(f"{100 * current // step.total_bytes}%, {current / 1e6:.1f} of {step.total_bytes / 1e6:.1f} MB")
    elif step.current_bytes:
        said.append(f"{step.current_bytes / 1e6:.1f} MB")
    if step.state:
        said.append(step.state)
    return ", ".join(said)


def _cut(name: str, characters: int = 60) -> str:
    return name if len(name) <= characters else f"{name[: characters - 3]}..."
