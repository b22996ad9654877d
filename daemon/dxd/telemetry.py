"""The daemon's log: for people on a terminal, JSON lines everywhere else, one canonical line per run.

`configure` is called once, by `__main__`; every room asks `get_logger` for a logger of its own. A log never holds the
environment or the arguments of a run, nor local variables of a traceback; and no failure to write it stops the daemon.
"""

import logging
import os
import stat
from collections.abc import Mapping, MutableMapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, cast

from dxd.kit.lean import without

# structlog loads rich (50 ms) where that is installed, for tracebacks with local variables, which are not wanted here.
with without("rich"):
    import structlog

MAX_LOG_BYTES: Final = 10_000_000
"""Where the log file is renamed to `.1` and begun anew; so 20 MB at most, hours of a busy daemon."""

HIDDEN: Final = frozenset({"args", "argv", "env", "environ", "environment", "token"})
"""Keys whose values never reach a log, whoever passes them: they hold the secrets of runs."""

Logger = structlog.typing.FilteringBoundLogger


def get_logger(room: str) -> Logger:
    """The logger of a room; its lines say which. May be called before `configure`."""
    return cast("Logger", structlog.get_logger(room=room))


def configure(log_file: Path, *, environ: Mapping[str, str] = os.environ, descriptor: int = 2) -> None:
    """Send every log to `descriptor`, standard error; also what libraries log through `logging`, from warnings up.

    Where that is `log_file`, as for a daemon that a client started, the file is kept below `MAX_LOG_BYTES`.
    """
    sink = Sink(descriptor, log_file)
    shared: list[structlog.typing.Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
        hide,
    ]
    if os.isatty(descriptor):
        renderer: structlog.typing.Processor = structlog.dev.ConsoleRenderer(
            colors="NO_COLOR" not in environ,
            exception_formatter=structlog.dev.plain_traceback,
            timestamp_key="time",
        )
    else:
        shared.append(structlog.processors.format_exc_info)
        renderer = structlog.processors.JSONRenderer(default=str)
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=lambda *_: sink,
        cache_logger_on_first_use=False,  # so that a test can look at its own descriptor
    )
    logging.basicConfig(handlers=[_FromLibraries()], level=logging.WARNING, force=True)


def hide(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """The processor that takes the values of `HIDDEN` keys out of a line."""
    for key in HIDDEN & event.keys():
        event[key] = "(hidden)"
    return event


class Sink:
    """Writes lines to a descriptor, each with one write(2), and rotates the daemon's own log file."""

    def __init__(self, descriptor: int, log_file: Path) -> None:
        self._descriptor = descriptor
        self._log_file = log_file
        self._size_bytes: int | None = None
        with suppress(OSError):
            status = os.fstat(descriptor)
            if stat.S_ISREG(status.st_mode) and os.path.samestat(status, log_file.stat()):
                self._size_bytes = status.st_size

    def msg(self, line: str) -> None:
        """Write a line; a full disk or a reader that has gone away loses it."""
        data = line.encode(errors="backslashreplace") + b"\n"
        with suppress(OSError):
            if self._size_bytes is not None:
                if self._size_bytes + len(data) > MAX_LOG_BYTES:
                    self._rotate()
                self._size_bytes += len(data)
            os.write(self._descriptor, data)

    log = debug = info = warning = warn = error = critical = fatal = exception = msg

    def _rotate(self) -> None:
        self._log_file.replace(self._log_file.with_name(self._log_file.name + ".1"))
        fresh = os.open(self._log_file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            before = os.fstat(self._descriptor)
            for descriptor in {1, self._descriptor}:  # a client starts us with both on the file
                if os.path.samestat(os.fstat(descriptor), before):
                    os.dup2(fresh, descriptor)
        finally:
            os.close(fresh)
        self._size_bytes = 0


class _FromLibraries(logging.Handler):
    """Takes what libraries log through `logging` into the daemon's log."""

    def emit(self, record: logging.LogRecord) -> None:
        """Pass a record on."""
        get_logger(record.name).log(record.levelno, record.getMessage(), exc_info=record.exc_info or None)
