"""A command on a terminal: what it finds there, what is shown, and what becomes of the keys."""

import os
import re
import signal
from pathlib import Path

import pytest

from tests.contract.terminals.terminal import COLUMNS, FRESH, ROWS, Step, at_terminal, in_script, scripted, terminal
from tests.contract.twin import Twin
from tests.waiting import until

READY = "echo ready; "
LOOKS = [
    "stty -a",
    "stty size",
    "stty -g",
    "test -t 0 && test -t 1 && test -t 2 && echo all",
    "tty >/dev/null; echo $?",
    "stat -c %a:%u:%t /dev/tty; stat -c %u $(tty)",
    "echo to the terminal >/dev/tty",
    "test -c $(tty) && test -r $(tty) && test -w $(tty) && echo mine",
    "ls -l /proc/self/fd/0 /proc/self/fd/1 /proc/self/fd/2 | sed 's/.*> //' | uniq | wc -l",
    "ulimit -n >/dev/null; exit 3",
    "kill -TERM $$",
    "kill -INT $$",
    "kill -QUIT $$; kill -KILL $$",
    "printf 'no line feed'",
    "printf 'a\\r\\nb\\nc\\n'; stty -opost; printf 'd\\ne\\n'",
    "seq 20000",
    "yes | head -c 300000",
    "printf '\\033[?2004h\\033[31mred\\033[0m\\033[?2004l\\n'",
    "printf '\\377\\200\\0\\1\\n'",
    "sleep 0.1 & echo first; wait; echo then",
]


@pytest.mark.parametrize("script", LOOKS)
def test_what_a_command_finds_and_shows(twin: Twin, script: str) -> None:
    """The same terminal for all that it can tell, the same bytes, the same end."""
    at_terminal(twin, ["sh", "-c", script])


@pytest.mark.parametrize(
    ("keys", "script"),
    [
        (b"abc\n\x04", "cat"),
        (b"abc\r\x04", "cat"),
        (b"abX\x7fc\n\x04", "cat"),
        (b"lost\x15kept\n\x04", "cat"),
        (b"one two\x17three\n\x04", "cat"),
        (b"a\x16\x03b\n\x04", "od -c"),
        (b"no end\x04\x04", "od -c"),
        (b"\xc3\xa9 \xff\xfe\n\x04", "od -c"),
        (b"secret\n", "stty -echo; echo now; read it; echo got $it"),
        (b"keys", "stty raw -echo; echo now; dd bs=1 count=4 2>/dev/null | od -c"),
        (b"\x03\x1a\x1c\x04", "stty raw -echo; echo now; dd bs=1 count=4 2>/dev/null | od -c"),
        (bytes(range(256)), "stty raw -echo; echo now; head -c 256 | od -c"),
        (b"\x1b[200~pasted\rtext\x1b[201~", "stty raw -echo; echo now; head -c 23 | od -c"),
        (b"x" * 3000 + b"\n\x04", "wc -c"),
        (b"\x13\x11abc\n\x04", "cat"),
        (b"q", "stty -icanon min 1; echo now; head -c 1; echo"),
        (b"1\n2\n3\n\x04", "while read it; do echo got $it; done"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_keys(twin: Twin, keys: bytes, script: str) -> None:
    """What is typed is echoed, edited and delivered as by any terminal."""
    script = script if "now" in script else f"echo now; {script}"
    at_terminal(twin, ["sh", "-c", script], ("", "now\r?\n"), (keys, ""))


@pytest.mark.parametrize(
    ("keys", "script"),
    [
        (b"\x03", "exec sleep 1000"),
        (b"\x1c", "trap - QUIT; echo set; exec sleep 1000"),  # which a shell without jobs ignores
        (b"\x03", "sleep 1000"),
        (b"\x03", "sleep 1000; echo not shown"),
        (b"\x03", "trap 'echo caught; exit 5' INT; sleep 1000 & echo set; wait"),
        (b"\x1c", "trap 'echo caught; exit 5' QUIT; sleep 1000 & echo set; wait"),
        (b"\x03", "trap '' INT; echo set; head -n 1; echo survived"),
        (b"\x03", "stty intr ^K; trap 'exit 6' INT; echo set; cat; exit 0"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_keys_that_are_signals(twin: Twin, keys: bytes, script: str) -> None:
    """Ctrl-C and Ctrl-\\ reach all of the foreground; whoever waits sees the command die of them."""
    steps: list[Step] = [("", "ready\r\n"), (keys, "")]
    if "echo set" in script:
        steps = [
            ("", "set\r\n"),
            (keys, "\\^C|\\^\\\\"),
            ("\x0b" if "intr ^K" in script else "\n" if "head" in script else "", ""),
        ]
    if "intr ^K" in script:
        steps.insert(1, ("begun\n", "begun\r\nbegun\r\n"))  # else the key may find the shell in the middle of a fork
    at_terminal(twin, ["sh", "-c", READY + script], *steps)


@pytest.mark.parametrize(
    ("script", "command"),
    [
        ('"$@"; echo next $?', "echo ready; exec sleep 1000"),
        ('for i in 1 2 3; do "$@"; done; echo not shown', "echo ready; exec sleep 1000"),
        ('trap "echo caught" INT; "$@"; echo after $?', "echo ready; exec sleep 1000"),
        ('"$@"; echo next $?', "trap 'exit 3' INT; sleep 1000 & echo ready; wait"),
    ],
)
def test_a_script_hears_of_the_interrupt_too(twin: Twin, script: str, command: str) -> None:
    """Natively the terminal signals the script with the command; it ends, or not, as it would then."""
    in_script(twin, script, ["sh", "-c", command], ("", "ready\r\n"), ("\x03", ""))


def test_the_size_follows(twin: Twin) -> None:
    """It is right before the first byte, and at each change after that."""
    script = "trap 'stty size' WINCH; stty size; while :; do sleep 1000 & wait; kill $! 2>/dev/null; done"
    for side in (twin.native, twin.dx):
        with terminal(side, ["sh", "-c", script]) as it:
            it.see(f"{ROWS} {COLUMNS}\r\n")
            for rows, columns in ((10, 20), (200, 300), (24, 80), (40, 132)):
                it.child.setwinsize(rows, columns)
                it.see(f"{rows} {columns}\r\n")


@pytest.mark.parametrize(
    "script",
    [
        'echo in | "$@"',
        '"$@" | cat',
        '"$@" </dev/null',
        '"$@" </dev/null | cat',
        '"$@" 2>err; cat err',
        '"$@" >out; cat out',
        '"$@" >out 2>&1; cat out',
        'echo in | "$@" | cat',
        '"$@" <&-',
        '"$@" 2>&-',
        '"$@" </dev/tty',
        '"$@" </dev/tty >/dev/tty 2>/dev/tty',
        '"$@" 2>&1 | cat',
        '"$@" 0<>/dev/tty 1>&0',
    ],
)
def test_only_some_descriptors_are_the_terminal(twin: Twin, script: str) -> None:
    """Each is what it is natively."""
    command = "test -t 0 || cat; for i in 0 1 2; do test -t $i && echo $i is one; done; exit 4"
    in_script(twin, f"{script}; exit $?", ["sh", "-c", command])


@pytest.mark.parametrize("script", ['"$@" | cat', '"$@" </dev/stdin >/dev/null', '"$@" >/dev/null 2>err; cat err'])
def test_the_size_of_a_terminal_that_is_only_stdin(twin: Twin, script: str) -> None:
    """It is the caller's own."""
    in_script(twin, f"{script}; exit $?", ["sh", "-c", "stty size; stty size >&2; stty -a | head -n 2"])


@pytest.mark.parametrize("script", ['"$@" | cat', 'echo in | "$@"', '"$@" </dev/null'])
def test_a_terminal_that_is_only_some_descriptors_has_no_name(twin: Twin, script: str) -> None:
    """A known limit: it is no terminal of the run's session, nor in its /dev."""
    with scripted(twin.dx, f"{script}; exit 7", ["sh", "-c", "tty; : </dev/tty"]) as it:
        seen = it.end()
    assert b"not a tty\r\n" in seen.shown
    assert b"can't open /dev/tty: No such device or address\r\n" in seen.shown


def test_a_pager_at_the_end_of_a_pipe(twin: Twin) -> None:
    """`dx run X | less`: the keys are the pager's; `echo | dx run pager` reads its text from the pipe."""
    script = '"$@" | { cat; echo at its end; read it </dev/tty; echo $it; }'
    in_script(twin, script, ["seq", "3"], ("", "3\r\nat its end\r\n"), ("key\r", ""))


@pytest.mark.parametrize(
    "script",
    ["stty raw -echo", "stty raw -echo; exit 3", "stty raw -echo; kill -KILL $$", "stty -a >/dev/null; kill -SEGV $$"],
)
def test_the_modes_are_put_back(twin: Twin, script: str) -> None:
    """However the run ends; natively they stay as a command leaves them."""
    with terminal(twin.dx, ["sh", "-c", script]) as it:
        it.end()


def test_no_pty_for_a_run_without_a_terminal(twin: Twin) -> None:
    """Nothing of terminals is there, and /dev/tty leads nowhere."""
    done = twin.do(["sh", "-c", "tty; ls /dev/pts; : </dev/tty"])
    assert done.out == b"not a tty\nptmx\n"
    assert re.search(rb"/dev/tty: No such device or address", done.err)


def test_the_modes_are_put_back_for_a_launcher_that_was_killed(twin: Twin) -> None:
    """Though it could do nothing itself."""
    with scripted(twin.dx, '"$@"; read it', ["sh", "-c", "echo ready; exec sleep 1000"]) as it:
        it.see("ready\r\n")
        until(lambda: it.modes() != FRESH, "the terminal is raw")
        shell = Path(f"/proc/{it.child.pid}")
        (launcher,) = (shell / "task" / shell.name / "children").read_text().split()
        os.kill(int(launcher), signal.SIGKILL)
        until(lambda: it.modes() == FRESH, "the terminal is as it was")
