"""What a build says while it runs, from BuildKit or from the classic builder, as steps; pure but for telling them.

Kept are the last lines of each unfinished step, no more, so that a build which prints without end costs nothing.
"""

import base64
import re
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from dxd.engine import buildfault, trace
from dxd.engine.model import ImageId
from dxd.errors import BuildFailed, EngineError, EngineFull
from dxd.kit.plain import TAIL_LINES
from dxd.kit.progress import CANCELLED, Kind, Progress, Step

MOST_LINES = 1000
"""Of what comes in one piece; of those before it is said how many there were."""
LINE_CHARACTERS = 4000
CUT = " [cut]"
REASON_CHARACTERS = 500
"""Of a line that is part of an error."""

_ESCAPES = re.compile(r"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|.)|[\x00-\x08\x0b-\x1f\x7f]")
_STEP = re.compile(r"step (\d+/\d+) ?: (.*)", re.IGNORECASE)
_BUILT = re.compile(r"Successfully built ([0-9a-f]{12,64})")
_WRAPPING = re.compile(
    r"(?:failed to solve(?: with frontend \S+)?|failed to create LLB definition|rpc error: code = \w+ desc =):? "
)
_PARSING = re.compile(r"(?:failed to parse |dockerfile parse error )(?:on )?line (\d+): ", re.IGNORECASE)
_EXIT_CODE = re.compile(r"(?:exit code|returned a non-zero code): (\d+)")


class Tail:
    """The last lines of a text that comes in pieces."""

    def __init__(self) -> None:
        self._lines: deque[str] = deque(maxlen=TAIL_LINES)
        self._open = ""

    def take(self, text: str) -> tuple[str, ...]:
        """Add a piece; returns the lines that are whole with it, the last of them."""
        *whole, self._open = (self._open + text).split("\n")
        self._open = self._open[-LINE_CHARACTERS - 1 :]
        lost = len(whole) - MOST_LINES
        mark = [f"... {lost} lines are left out here ..."] if lost > 0 else []
        lines = tuple(line for line in (*mark, *map(clean, whole[-MOST_LINES:])) if line)
        self._lines.extend(lines)
        return lines

    def end(self) -> tuple[str, ...]:
        """What is left without the end of its line."""
        return self.take("\n") if self._open else ()

    @property
    def lines(self) -> list[str]:
        """Whole lines and, last, one that is not ended."""
        last = clean(self._open)
        return [*self._lines, last] if last else list(self._lines)


def clean(line: str) -> str:
    """A line as a terminal would leave it: what a carriage return overwrites and what only colours is gone."""
    line = _ESCAPES.sub("", line.rstrip("\r").rpartition("\r")[2]).replace("\t", " ").rstrip()
    return line if len(line) <= LINE_CHARACTERS else line[:LINE_CHARACTERS] + CUT


@dataclass(slots=True)
class _Open:
    """A step that has not ended."""

    step: Step
    tail: Tail = field(default_factory=Tail)
    moved: dict[str, tuple[int, int]] = field(default_factory=dict)


class BuildLog:
    """Takes the records of one build; `image` is set when it is done."""

    def __init__(
        self,
        tag: str,
        dockerfile: str,
        progress: Progress,
        *,
        path: str | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`dockerfile` is its name in the context, `path` what the user calls it where that is something else."""
        self.image: ImageId | None = None
        self._tag = tag
        self._dockerfile = dockerfile
        self._path = path or dockerfile
        self._progress = progress
        self._clock = clock
        self._work = Step(f"building {tag}", Kind.WORK, f"building {tag}", f"building {tag}", started_s=clock())
        self._begun = False
        self._open: dict[str, _Open] = {}
        self._failed: _Open | None = None
        self._classic = ""

    def take(self, record: Mapping[str, Any]) -> None:
        """Take one record; raises what `failure` gives where it says so."""
        if error := record.get("error") or record.get("errorDetail"):
            raise self.failure(str(error.get("message", error) if isinstance(error, dict) else error))
        aux = record.get("aux")
        if record.get("id") == "moby.buildkit.trace":
            self._take_trace(str(aux))
        elif isinstance(aux, dict) and "ID" in aux:
            self._done(ImageId(str(aux["ID"])))
        elif isinstance(stream := record.get("stream"), str):
            self._take_stream(stream)

    def progressed(self, record: Mapping[str, Any]) -> None:
        """Take one record of `docker buildx`, which tells progress and nothing else."""
        self._take_news(trace.read(record))

    @property
    def has_failed(self) -> bool:
        """Whether a step has."""
        return self._failed is not None

    def failure(self, reason: str) -> BuildFailed | EngineFull:
        """The error for a build that ended with that reason; tells how the failing step ended before."""
        reason = self._said(_WRAPPING.sub("", reason)).strip()
        failed = self._failed or self._open.get(self._classic)
        if code := _EXIT_CODE.search(reason):
            reason = f"exit code {code[1]}"
        if parsing := _PARSING.match(reason):
            reason = f"{self._path}:{parsing[1]}: {reason[parsing.end() :]}"
        reason = " ".join(reason.split())
        where = last = ""
        lines: list[str] = []
        if failed is not None:
            lines = failed.tail.lines
            where, last = f" at {failed.step.name}", f" ({lines[-1][:REASON_CHARACTERS]})" if lines else ""
            ended_s = failed.step.ended_s or self._clock()
            self._tell(replace(failed.step, ended_s=ended_s, error=reason, lines=failed.tail.end()))
            self._failed = None
            self._open.pop(failed.step.id, None)
        for each in list(self._open.values()):
            if each.step.started_s is not None:
                self._tell(replace(each.step, ended_s=self._clock(), error=CANCELLED, lines=each.tail.end()))
        self._open.clear()
        self._tell(replace(self._work, ended_s=self._clock(), error=reason))
        words = f"building {self._tag} failed{where}: {reason}{last}"
        return buildfault.explained(words, self._path, lines)

    def _said(self, text: str) -> str:
        """The engine's words, with the user's for the Dockerfile."""
        return text if self._path == self._dockerfile else text.replace(self._dockerfile, self._path)

    def _take_trace(self, encoded: str) -> None:
        try:
            news = list(trace.decode(base64.b64decode(encoded, validate=True)))
        except ValueError:
            raise EngineError("the engine sends progress of a build that cannot be read") from None
        self._take_news(news)

    def _take_news(self, news: Iterable[trace.Vertex | trace.Status | trace.Log]) -> None:
        for each in news:
            if isinstance(each, trace.Vertex):
                self._take_vertex(each)
            elif (printing := self._open.get(each.digest)) is None:
                continue
            elif isinstance(each, trace.Status):
                self._take_status(printing, each)
            elif lines := printing.tail.take(each.data.decode(errors="replace")):
                self._tell(replace(printing.step, lines=lines))

    def _take_status(self, found: _Open, status: trace.Status) -> None:
        found.moved[status.id] = status.current, status.total
        known = [each for each in found.moved.values() if each[1]]
        found.step = replace(
            found.step,
            current_bytes=sum(current for current, _ in known or found.moved.values()),
            total_bytes=sum(total for _, total in known) or None,
        )
        self._tell(found.step)

    def _take_vertex(self, vertex: trace.Vertex) -> None:
        """A step may start and end several times, as the builder finds more to do in it; the last time counts."""
        kind = Kind.STEP if vertex.name.startswith("[") and not vertex.name.startswith("[internal]") else Kind.DETAIL
        found = self._open.get(vertex.digest)
        if found is None:
            found = self._open[vertex.digest] = _Open(
                Step(vertex.digest, kind, self._work.id, _shown(self._said(vertex.name)))
            )
        found.step = replace(found.step, started_s=vertex.started_s, ended_s=vertex.completed_s, cached=vertex.cached)
        if vertex.error and "context canceled" not in vertex.error:
            # Told as failed once the engine says that the build has: only then is the reason known.
            self._failed = self._failed or found
        elif vertex.error:
            # The failure of another step cut this one short.
            self._end(replace(found.step, error=CANCELLED, ended_s=vertex.completed_s or self._clock()))
        elif vertex.completed_s is not None:
            self._end(found.step)
        elif vertex.started_s is not None:
            self._tell(found.step)

    def _take_stream(self, text: str) -> None:
        """Text of the classic builder or of Podman, which know one step at a time."""
        if built := _BUILT.search(text):
            self._end_classic()
            self._done(self.image or ImageId(built[1]))
        elif match := _STEP.match(text):
            self._end_classic()
            name = _shown(f"[{match[1]}] {match[2].strip()}")
            self._classic = name
            step = Step(name, Kind.STEP, self._work.id, name, started_s=self._clock())
            self._open[name] = _Open(step)
            self._tell(step)
        elif found := self._open.get(self._classic):
            if text.startswith(" ---> Using cache"):
                found.step = replace(found.step, cached=True)
            elif not text.startswith((" --->", "Removing intermediate container")) and (lines := found.tail.take(text)):
                self._tell(replace(found.step, lines=lines))

    def _end_classic(self) -> None:
        if self._classic in self._open:
            self._end(replace(self._open[self._classic].step, ended_s=self._clock()))

    def _end(self, step: Step) -> None:
        found = self._open.pop(step.id)
        self._tell(replace(step, lines=found.tail.end()))

    def _done(self, image: ImageId) -> None:
        self._end_classic()
        if self.image is None:
            self._tell(replace(self._work, ended_s=self._clock()))
        self.image = image

    def _tell(self, step: Step) -> None:
        if not self._begun:
            self._begun = True
            self._progress.step(self._work)
        self._progress.step(step)


def _shown(step: str, characters: int = 120) -> str:
    """A step's name without what only BuildKit cares for, on one line of bounded length."""
    text = clean(" ".join(step.removeprefix("[internal] ").split()))
    return text if len(text) <= characters else f"{text[: characters - 3]}..."
