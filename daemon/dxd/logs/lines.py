"""Entries into lines: pieces are joined again, line by line and stream by stream; pure."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from dxd.engine.model import ContainerId
from dxd.logs import level, record
from dxd.logs.model import Instance, Level, Line, ServiceId, Stamp

MAX_LINE_BYTES = 16 << 20
"""A line that is longer is told in pieces of this size."""


@dataclass(slots=True)
class _Stream:
    """One stream of one container."""

    instance: Instance
    stderr: bool
    stamp: Stamp = b""
    pieces: list[bytes] = field(default_factory=list)
    pieces_bytes: int = 0
    level: Level | None = None
    """Of the line before: a stack trace has that of its first line."""


class Lines:
    """Joins the entries of one service."""

    def __init__(self, service: ServiceId, *, levels: bool = False) -> None:
        """`levels` says whether they are guessed, which takes as long as all the rest."""
        self._service = service
        self._levels = levels
        self._streams: dict[tuple[ContainerId, bool], _Stream] = {}

    def feed(self, instance: Instance, output: record.Output) -> Iterator[Line]:
        """The lines that are whole with these entries."""
        streams, container = self._streams, instance.container
        for stderr, stamp, data in record.frames_of(output.frames):
            stream = streams.get((container, stderr))
            if stream is None:
                stream = streams[container, stderr] = _Stream(instance, stderr)
            if stream.pieces and stamp != stream.stamp:
                # All pieces of a line have its time: that one ended without a newline, with the container.
                yield self._line(stream, whole=False)
            if data.endswith(b"\n"):
                if stream.pieces:
                    stream.pieces.append(data[:-1])
                    yield self._line(stream, whole=True)
                else:
                    guessed = self._guess(stream, data) if self._levels else None
                    yield Line(stamp, self._service, instance, stderr, data[:-1], whole=True, level=guessed)
                continue
            stream.stamp = stamp
            stream.pieces.append(data)
            stream.pieces_bytes += len(data)
            if stream.pieces_bytes >= MAX_LINE_BYTES:
                yield self._line(stream, whole=False)

    def flush(self, container: ContainerId | None = None) -> Iterator[Line]:
        """What has no newline and gets none: of a container that has ended, or of all."""
        for (each, _), stream in self._streams.items():
            if stream.pieces and container in (None, each):
                yield self._line(stream, whole=False)
        if container is not None:
            for stderr in (False, True):
                self._streams.pop((container, stderr), None)

    def _line(self, stream: _Stream, *, whole: bool) -> Line:
        data = b"".join(stream.pieces)
        stream.pieces.clear()
        stream.pieces_bytes = 0
        guessed = self._guess(stream, data) if self._levels else None
        return Line(stream.stamp, self._service, stream.instance, stream.stderr, data, whole, guessed)

    def _guess(self, stream: _Stream, data: bytes) -> Level | None:
        stream.level = level.guess(data, stream.level)
        return stream.level
