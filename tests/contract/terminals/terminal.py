"""A terminal with a command on it, done natively and through dx, and what a person at it would see."""

import os
import pty
import re
import signal
import termios
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import pexpect

from tests.contract.twin import Argument, Native, Side, Twin
from tests.house import DEADLINE_S
from tests.waiting import until

Step = tuple[str | bytes, str | bytes]
"""What is typed, and the pattern that then has to appear."""
ON_IT: Step = ("", "the keys are its own")
"""Wait until the keys are the command's: through dx a terminal is raw then, and before that it echoes by itself."""
ROWS, COLUMNS = 33, 77
PROMPT = "<P> "


def _fresh() -> list[Any]:
    """The modes of a terminal that nobody has touched: asked of one, because a command may be faster than we are."""
    master, slave = pty.openpty()
    try:
        return termios.tcgetattr(slave)
    finally:
        os.close(master)
        os.close(slave)


FRESH = _fresh()


@dataclass(frozen=True)
class Seen:
    """All that the terminal showed, and how the command ended."""

    shown: bytes
    status: int | None
    signal: int | None


class Terminal:
    """One terminal; what was shown is kept, piece by piece."""

    def __init__(self, side: Side, argv: Sequence[Argument], *, cwd: bytes, **environ: str) -> None:
        options = side.options(argv, {"environ": {"TERM": "xterm", "LC_ALL": "C", **environ}})
        person = side.house.person

        def become() -> None:
            os.fchown(0, person.uid, -1)
            for number in (signal.SIGPIPE, signal.SIGXFSZ):  # which Python ignores, and no shell does
                signal.signal(number, signal.SIG_DFL)
            if options.get("user") is not None:
                os.setgroups(options["extra_groups"])
                os.setgid(options["group"])
                os.setuid(options["user"])

        line = [os.fsdecode(each) for each in argv]
        self.child = pexpect.spawn(
            line[0],
            line[1:],
            env=options["env"],
            cwd=cwd,
            timeout=DEADLINE_S,
            dimensions=(ROWS, COLUMNS),
            preexec_fn=become,
        )
        self.child.delaybeforesend = None
        self.is_dx = not isinstance(side, Native)
        self._shown = b""

    def modes(self) -> list[Any]:
        """The terminal's modes."""
        return termios.tcgetattr(self.child.child_fd)

    def type(self, keys: str | bytes) -> None:
        """Press keys."""
        self.child.send(keys)

    def see(self, pattern: str | bytes) -> bytes:
        """Wait until something is shown; all that is new with it."""
        self.child.expect(pattern)
        after = self.child.after if isinstance(self.child.after, bytes) else b""
        new: bytes = self.child.before + after
        self._shown += new
        return new

    def end(self) -> Seen:
        """Wait for the end, after which a terminal that dx was on is as it was."""
        self.see(pexpect.EOF)
        modes = self.modes()
        if self.is_dx:
            assert modes == FRESH, "the terminal's modes are not what they were"
        self.child.wait()
        self.child.close()
        return Seen(self._shown, self.child.exitstatus, self.child.signalstatus)

    def close(self) -> None:
        """End all of its session, whatever state that is in."""
        with suppress(ProcessLookupError):
            os.killpg(self.child.pid, signal.SIGKILL)
        self.child.close(force=True)


@contextmanager
def terminal(side: Side, argv: Sequence[Argument], **environ: str) -> Iterator[Terminal]:
    """A command on a new terminal, which is its controlling one; ended at the end."""
    made = Terminal(side, side.line(argv), cwd=side.house.place(), **environ)
    try:
        yield made
    finally:
        made.close()


@contextmanager
def scripted(side: Side, script: str, argv: Sequence[Argument]) -> Iterator[Terminal]:
    """A script of the host's shell on a new terminal; the command is `"$@"` there."""
    line = ["/bin/bash", "-c", f"enable -n echo printf kill pwd test true false; {script}", "bash", *side.line(argv)]
    made = Terminal(side, line, cwd=side.house.place())
    try:
        yield made
    finally:
        made.close()


@contextmanager
def shell(side: Side, argv: Sequence[Argument]) -> Iterator[Terminal]:
    """An interactive shell of the host's, at its prompt; the command is `"${RUN[@]}"` there."""
    line = " ".join("'" + os.fsdecode(each).replace("'", "'\\''") + "'" for each in side.line(argv))
    start = side.house.root / "bashrc"
    start.write_text(f"unset HISTFILE\nRUN=({line})\nPS1='{PROMPT}'\nbind 'set enable-bracketed-paste off'\n")
    side.house.own(start)
    made = Terminal(side, ["/bin/bash", "--noprofile", "--rcfile", str(start), "-i"], cwd=side.house.place())
    try:
        made.see(re.escape(PROMPT))
        made.child.delaybeforesend = 0.05  # for a shell discards what comes while it sets its terminal up
        made._shown = b""
        yield made
    finally:
        made.close()


def at_terminal(twin: Twin, argv: Sequence[Argument], *steps: Step) -> Seen:
    """Do it on a terminal both ways, and see that nobody could tell."""
    seen = []
    for side in (twin.native, twin.dx):
        with terminal(side, argv) as it:
            _do(it, steps)
            seen.append(it.end())
    assert seen[1] == seen[0]
    return seen[0]


def in_script(twin: Twin, script: str, argv: Sequence[Argument], *steps: Step) -> Seen:
    """The same from a script."""
    seen = []
    for side in (twin.native, twin.dx):
        with scripted(side, script, argv) as it:
            _do(it, steps)
            seen.append(it.end())
    assert seen[1] == seen[0]
    return seen[0]


def in_shell(twin: Twin, argv: Sequence[Argument], *steps: Step) -> bytes:
    """The same from a shell with job control, which is left in the end; what was shown."""
    seen = []
    for side in (twin.native, twin.dx):
        with shell(side, argv) as it:
            _do(it, steps)
            it.type("\rkill -KILL $(jobs -p) 2>/dev/null; disown -a 2>/dev/null; exit 7\r")
            seen.append(it.end())
    assert _told(seen[1].shown) == _told(seen[0].shown)
    assert seen[1].status == seen[0].status
    return seen[0].shown


def _told(shown: bytes) -> bytes:
    """Without the numbers of processes."""
    return re.sub(rb"\[(\d)\] \d+", rb"[\1] PID", shown)


def _do(it: Terminal, steps: Sequence[Step]) -> None:
    for keys, pattern in steps:
        if (keys, pattern) == ON_IT:
            if it.is_dx:
                until(lambda: it.modes() != FRESH, "the launcher is in the foreground")
            continue
        if keys:
            it.type(keys)
        it.see(pattern)
