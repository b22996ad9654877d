"""`dx logs`: what the services of a project printed, and print."""

import json
import os
import re
import sys
import time
from base64 import b64decode
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path

from dx.answers import LogEntry
from dx.cli import link, screen
from dx.cli.resume import Resume
from dx.cli.verb import Namespace, Parser, UsageError, Verb
from dx.errors import ApiError, ClientError

RETRY_S = 0.5
"""Between two looks whether the daemon is back."""

_PALETTE = ("36", "33", "32", "35", "34", "96", "93", "92", "95", "94")
"""Of services: cyan first, as people know it from Compose; no red."""
_SGR = re.compile(r"(\x1b\[[0-9;:]*m)")
_SAID = {
    "gap": "output is missing here",
    "torn": "the end of a file was cut here",
    "damaged": "a part of the file is damaged here",
    "dropped": "output was left out here",
    "ended": "ended",
}


def _arguments(parser: Parser) -> None:
    parser.add_argument("services", metavar="SERVICE", nargs="*", help="only these (default: all of the project)")
    parser.add_argument("-f", "--follow", action="store_true", help="go on with what comes")
    parser.add_argument("--since", metavar="WHEN", help="from then on: 10m, 2h30m, 2026-11-24T19:00:00Z, 2026-11-24")
    parser.add_argument("--until", metavar="WHEN", help="up to then")
    parser.add_argument("-n", "--tail", metavar="N", help="only the latest N lines of each service, or all")
    parser.add_argument("--stream", choices=("stdout", "stderr"), help="only that one")
    parser.add_argument("--grep", metavar="RE", help="only lines in which that is found, a regular expression")
    parser.add_argument(
        "--level", choices=("debug", "info", "warn", "error"), help="only lines as grave as that; guessed"
    )
    parser.add_argument("-t", "--timestamps", action="store_true", help="show when each line was printed")
    parser.add_argument("--no-prefix", "--no-log-prefix", action="store_true", help="show lines as they are")
    parser.add_argument("-p", "--project", metavar="NAME", help="another project than that of this directory")
    parser.add_argument("--json", action="store_true", help="a JSON value for each line, for scripts")


def logs(given: Namespace) -> int:
    """Show them."""
    tail = _tail(given.tail)
    try:
        pattern = re.compile(os.fsencode(given.grep)) if given.grep is not None else None
    except re.error as error:
        raise UsageError(f"{given.grep} is no regular expression: {error}") from None
    show = Printer(given)
    resume = Resume()
    if pattern is None:
        for entry in _entries(given, resume, tail=tail, follow=given.follow):
            show.entry(entry)
        return 0
    # It is searched for here: an expression may take for ever, which must be nobody's time but its writer's.
    found = (each for each in _entries(given, resume, tail=None, follow=False) if _has(each, pattern))
    for entry in found if tail is None else _latest(found, tail):
        show.entry(entry)
    if given.follow:
        resume.again()
        for entry in _entries(given, resume, tail=None, follow=True):
            if _has(entry, pattern):
                show.entry(entry)
    return 0


def _entries(given: Namespace, resume: Resume, *, tail: int | None, follow: bool) -> Iterator[LogEntry]:
    """What the daemon tells; where it is followed, over its ends and new beginnings."""
    client = link.client()
    patient = False
    while True:
        since = resume.since
        try:
            told = client.logs(
                given.services,
                project=given.project,
                directory=None if given.project else str(Path.cwd()),
                since=since or given.since,
                until=given.until,
                tail=None if since else tail,
                stream=given.stream,
                level=given.level,
                follow=follow,
            )
            for entry in told:
                patient = False
                if resume.is_new(entry):
                    yield entry
            if not follow or given.until is not None:
                return
        except ApiError:
            raise
        except ClientError as error:
            if not follow or (not patient and not resume.since):
                raise
            if not patient:
                screen.say(f"dx: {error.message}; waiting for the daemon")
            patient = True
        resume.again()
        client = link.client(start=False)
        time.sleep(RETRY_S)


def _tail(text: str | None) -> int | None:
    if text is None or text == "all":
        return None
    if not (text.isascii() and text.isdigit()) or int(text) > 1_000_000:
        raise UsageError(f"--tail {text}: give a number up to a million, or all")
    return int(text)


def data_of(entry: LogEntry) -> bytes:
    """The bytes of a line."""
    line = entry["line"]
    return line.encode() if isinstance(line, str) else b64decode(line["base64"])


def _has(entry: LogEntry, pattern: "re.Pattern[bytes]") -> bool:
    return "line" not in entry or pattern.search(data_of(entry)) is not None


def _latest(entries: Iterable[LogEntry], count: int) -> list[LogEntry]:
    """Of each service the latest lines, in the order in which they came."""
    kept: dict[str, deque[tuple[int, LogEntry]]] = {}
    for number, entry in enumerate(entries):
        if "line" in entry:
            kept.setdefault(entry["service"], deque(maxlen=count)).append((number, entry))
    return [entry for _, entry in sorted((each for of in kept.values() for each in of), key=lambda each: each[0])]


class Printer:
    """Shows entries, on a terminal in colours and without what could harm it, else byte for byte."""

    def __init__(self, given: Namespace) -> None:
        self._json = given.json
        self._timestamps = given.timestamps
        self._prefix = not given.no_prefix
        self._follow = given.follow
        self._terminal = screen.is_terminal(sys.stdout)
        self._coloured = self._terminal and screen.paint("x", "bold") != "x"
        self._colours: dict[str, str] = {}
        self._width = 0
        self._open = ""
        """The prefix of a line that was printed without its end."""

    def entry(self, entry: LogEntry) -> None:
        """Show one."""
        if sys.stdout is None:
            return
        if self._json:
            sys.stdout.write(json.dumps(entry, ensure_ascii=False) + "\n")
        elif "line" in entry:
            self._line(entry)
        else:
            self._mark(entry)
        if self._follow:
            sys.stdout.flush()

    def _line(self, entry: LogEntry) -> None:
        name = label(entry)
        self._width = max(self._width, len(name))
        head = f"{name:{self._width}} | " if self._prefix else ""
        if self._prefix and self._coloured:
            colour = self._colours.setdefault(entry["service"], _PALETTE[len(self._colours) % len(_PALETTE)])
            head = f"\x1b[{colour}m{head}\x1b[0m"
        if self._timestamps:
            head += entry["time"] + " "
        data = data_of(entry)
        if self._terminal:
            data = self._harmless(data)
        # Without prefixes the bytes are the program's own; with them each piece has a line of its own.
        end = b"" if entry.get("partial") and not self._prefix else b"\n"
        sys.stdout.flush()
        sys.stdout.buffer.write(head.encode(errors="backslashreplace") + data + end)

    def _harmless(self, data: bytes) -> bytes:
        """Colours stay, other control sequences are shown as what they are."""
        text = data.decode(errors="backslashreplace").rstrip("\r").expandtabs()
        if text.isprintable():
            return text.encode()
        parts = _SGR.split(text)
        shown = "".join(
            (part if self._coloured else "") if at % 2 else screen.clean(part) for at, part in enumerate(parts)
        )
        return (shown + "\x1b[0m" * (self._coloured and len(parts) > 1)).encode()

    def _mark(self, entry: LogEntry) -> None:
        mark = entry["mark"]
        if mark == "ended" and not self._follow:
            return
        sys.stdout.flush()
        screen.say(f"dx: {label(entry)}: {_SAID.get(mark, mark)}: {entry.get('reason', '')}")


def label(entry: LogEntry) -> str:
    """What stands before a line: the service, with the number of its container."""
    service, container = entry["service"], entry.get("container", "")
    _, found, number = container.rpartition(service)
    return service + number if found and number[:1] in {"-", "_"} and number[1:].isdigit() else service


VERBS = (
    Verb(
        "logs",
        "Show what services print",
        logs,
        _arguments,
        description="Of all their containers, those that are gone too, in the order in which it was printed. What is\n"
        "missing is said on standard error.",
        examples="dx logs\ndx logs -f web db\ndx logs --since 10m --level error\n"
        "dx logs --grep 'timeout|refused' -n 20\ndx logs --no-prefix --stream stdout web > web.txt",
    ),
)
