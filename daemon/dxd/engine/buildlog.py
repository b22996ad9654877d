"""What a build says while it runs, from BuildKit or from the classic builder; pure but for telling it to a `Progress`.

Kept are the last lines of each unfinished step, no more, so that a build which prints without end costs nothing.
"""

import base64
import re
from collections import deque
from collections.abc import Mapping
from typing import Any

from dxd.engine import trace
from dxd.engine.model import ImageId
from dxd.errors import BuildFailed, EngineError
from dxd.kit.progress import Progress

TAIL_LINES = 20
"""Of a step that failed, told as notes; the reason is nearly always among them."""
LINE_CHARACTERS = 500

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

    def take(self, text: str) -> None:
        """Add a piece."""
        *whole, self._open = (self._open + text).split("\n")
        self._open = self._open[-LINE_CHARACTERS:]
        self._lines.extend(line for line in map(clean, whole[-TAIL_LINES:]) if line)

    @property
    def lines(self) -> list[str]:
        """Whole lines and, last, one that is not ended."""
        last = clean(self._open)
        return [*self._lines, last] if last else list(self._lines)


def clean(line: str) -> str:
    """A line as a terminal would leave it: what a carriage return overwrites and what only colours is gone."""
    return _ESCAPES.sub("", line.rstrip("\r").rpartition("\r")[2]).replace("\t", " ").rstrip()[:LINE_CHARACTERS]


class BuildLog:
    """Takes the records of one build; `image` is set when it is done."""

    def __init__(self, tag: str, dockerfile: str, progress: Progress) -> None:
        self.image: ImageId | None = None
        self._tag = tag
        self._dockerfile = dockerfile
        self._progress = progress
        self._names: dict[str, str] = {}
        self._tails: dict[str, Tail] = {}
        self._told: set[str] = set()
        self._failed = ""
        self._step = ""

    def take(self, record: Mapping[str, Any]) -> None:
        """Take one record; raises `BuildFailed` where it says so."""
        if error := record.get("error") or record.get("errorDetail"):
            raise self.failure(str(error.get("message", error) if isinstance(error, dict) else error))
        aux = record.get("aux")
        if record.get("id") == "moby.buildkit.trace":
            self._take_trace(str(aux))
        elif isinstance(aux, dict) and "ID" in aux:
            self.image = ImageId(str(aux["ID"]))
        elif isinstance(stream := record.get("stream"), str):
            self._take_stream(stream)

    def failure(self, reason: str) -> BuildFailed:
        """The error for a build that ended with that reason; tells the failing step's last lines before."""
        reason = _WRAPPING.sub("", reason).strip()
        step = self._names.get(self._failed, "")
        lines = self._tails[self._failed].lines if self._failed in self._tails else []
        for line in lines:
            self._progress.note(f"  {line}")
        if code := _EXIT_CODE.search(reason):
            reason = f"exit code {code[1]}"
        if parsing := _PARSING.match(reason):
            reason = f"{self._dockerfile}:{parsing[1]}: {reason[parsing.end() :]}"
        where = f" at {_shown(step)}" if step else ""
        last = f" ({lines[-1]})" if lines else ""
        return BuildFailed(
            f"building {self._tag} failed{where}: {' '.join(reason.split())}{last}",
            f"mend {self._dockerfile}, then try again",
        )

    def _take_trace(self, encoded: str) -> None:
        try:
            news = list(trace.decode(base64.b64decode(encoded, validate=True)))
        except ValueError:
            raise EngineError("the engine sends progress of a build that cannot be read") from None
        for each in news:
            if isinstance(each, trace.Log):
                tail = self._tails.setdefault(each.digest, Tail())
                tail.take(each.data.decode(errors="replace"))
                self._tell(self._names.get(each.digest, ""), tail)
            else:
                self._take_vertex(each)

    def _take_vertex(self, vertex: trace.Vertex) -> None:
        self._names[vertex.digest] = vertex.name
        if vertex.error:
            # Steps that the failure of another one cut short come with an error as well.
            if not self._failed and "context canceled" not in vertex.error:
                self._failed = vertex.digest
        elif vertex.completed_s is None:
            if vertex.started_s is not None:
                self._progress.progress(f"building {self._tag}: {_shown(vertex.name)}")
        else:
            self._tails.pop(vertex.digest, None)
            if vertex.name.startswith("[") and not vertex.name.startswith("[internal]") and not vertex.cached:
                self._tell_step(vertex)

    def _tell_step(self, vertex: trace.Vertex) -> None:
        """A lasting line for a step that was carried out, once."""
        took_s = (vertex.completed_s or 0.0) - (vertex.started_s or 0.0)
        if vertex.digest not in self._told and took_s >= 0.05:
            self._told.add(vertex.digest)
            self._progress.note(f"{_shown(vertex.name)} ({took_s:.1f} s)")

    def _take_stream(self, text: str) -> None:
        """Text of the classic builder or of Podman, which know one step at a time."""
        if built := _BUILT.search(text):
            self.image = self.image or ImageId(built[1])
        elif match := _STEP.match(text):
            self._step = self._failed = f"[{match[1]}] {match[2].strip()}"
            self._names = {self._step: self._step}
            self._tails = {self._step: Tail()}
            self._progress.progress(f"building {self._tag}: {_shown(self._step)}")
        elif self._step and not text.startswith((" --->", "Removing intermediate container")):
            tail = self._tails[self._step]
            tail.take(text)
            self._tell(self._step, tail)

    def _tell(self, step: str, tail: Tail) -> None:
        if lines := tail.lines:
            self._progress.progress(f"building {self._tag}: {_shown(step, 60)}: {lines[-1]}")


def _shown(step: str, characters: int = 120) -> str:
    """A step's name without what only BuildKit cares for, on one line of bounded length."""
    text = clean(" ".join(step.removeprefix("[internal] ").split()))
    return text if len(text) <= characters else f"{text[: characters - 3]}..."
