"""A command as a job of an interactive shell: stopped, continued, in the background, and what the shell says of it."""

import re

import pytest

from tests.contract.terminals.terminal import ON_IT, PROMPT, Step, in_script, in_shell
from tests.contract.twin import Twin

RUN = '"${RUN[@]}"'
P = re.escape(PROMPT)
IN = r"\(in\) \x1b\[6n"
STOPPED = r"Stopped[^\r]*\r\n" + P
CAT = ["sh", "-c", "echo ready; cat; echo end"]
IT_STOPS = "until [[ $(jobs) == *Stopped* ]]; do :; done; jobs\r"
AT_WORD = "until test -e go; do usleep 9000; done; "
"""So that the shell has shown its prompt before the command does anything."""
BACKGROUND: Step = (f"{RUN} &\r", r"\[1\] \d+\r\n" + P)
CASES: dict[str, tuple[list[str], list[Step]]] = {
    "Ctrl-Z and fg": (
        CAT,
        [
            (f"{RUN}\r", "ready\r\n"),
            ("\x1a", STOPPED),
            ("fg\r", "RUN[^\r]*\r\n"),
            ON_IT,
            ("x\r", "x\r\nx\r\n"),
            ("\x04", P),
        ],
    ),
    "three times": (
        CAT,
        [
            (f"{RUN}\r", "ready\r\n"),
            *[("\x1a", STOPPED), ("fg\r", "RUN[^\r]*\r\n"), ON_IT, ("x\r", "x\r\nx\r\n")] * 3,
            ("\x03", P),
            ("echo $?\r", f"130\r\n{P}"),
        ],
    ),
    "the shell's terminal is sane meanwhile": (
        CAT,
        [
            (f"{RUN}\r", "ready\r\n"),
            ("\x1a", STOPPED),
            ("/bin/stty -a\r", P),
            ("cat\r", "cat\r\n"),
            ("y\r", "y\r\ny\r\n"),
            ("\x04", P),
            ("fg\r", "RUN[^\r]*\r\n"),
            ON_IT,
            ("\x04", P),
        ],
    ),
    "bg, then it reads": (
        ["sh", "-c", f"echo ready; {AT_WORD}cat; echo end"],
        [
            (f"{RUN}\r", "ready\r\n"),
            ("\x1a", STOPPED),
            ("bg\r", P),
            (">go; " + IT_STOPS, STOPPED),
            ("fg\r", "RUN[^\r]*\r\n"),
            ON_IT,
            ("z\r", "z\r\nz\r\n"),
            ("\x04", P),
        ],
    ),
    "in the background from the start, and it reads": (
        ["sh", "-c", f"{AT_WORD}cat"],
        [
            BACKGROUND,
            (">go; " + IT_STOPS, STOPPED),
            ("fg\r", "RUN[^\r]*\r\n"),
            ON_IT,
            ("z\r", "z\r\nz\r\n"),
            ("\x04", P),
        ],
    ),
    "in the background it writes": (
        ["sh", "-c", f"{AT_WORD}printf 'one\\ntwo\\r\\nthree\\r\\r\\nfour\\rfive'; echo"],
        [BACKGROUND, (">go; wait\r", r"Done[^\r]*\r\n" + P)],
    ),
    "in the background it changes modes": (
        ["sh", "-c", f"{AT_WORD}stty -echo"],
        [BACKGROUND, (">go; " + IT_STOPS, STOPPED)],
    ),
    "tostop": (
        ["sh", "-c", f"{AT_WORD}echo late"],
        [("stty tostop\r", P), BACKGROUND, (">go; " + IT_STOPS, STOPPED), ("stty -tostop; fg\r", "late\r\n"), ("", P)],
    ),
    "it stops itself": (
        ["sh", "-c", "echo ready; kill -STOP $$; echo again"],
        [(f"{RUN}\r", STOPPED), ("fg\r", "again\r\n"), ("", P)],
    ),
    "Ctrl-Z is caught": (
        ["sh", "-c", "trap 'echo not now; exit 3' TSTP; echo ready; while :; do :; done"],
        [(f"{RUN}\r", "ready\r\n"), ("\x1a", "not now\r\n"), ("", P), ("echo $?\r", f"3\r\n{P}")],
    ),
    "a group of several stops and goes on": (
        ["sh", "-c", "echo ready; sh -c 'cat; :'; echo end"],
        [
            (f"{RUN}\r", "ready\r\n"),
            ("\x1a", STOPPED),
            ("fg\r", "RUN[^\r]*\r\n"),
            ON_IT,
            ("q\r", "q\r\nq\r\n"),
            ("\x04", "end\r\n"),
            ("", P),
        ],
    ),
    "killed while stopped": (
        CAT,
        [
            (f"{RUN}\r", "ready\r\n"),
            ("\x1a", STOPPED),
            ("kill %1; kill -CONT %1; while kill -0 %1; do :; done 2>/dev/null; jobs\r", r"Terminated[^\r]*\r\n" + P),
        ],
    ),
    "a pipe's job": (
        ["sh", "-c", "echo ready; sleep 1000"],
        [(f"{RUN} | cat\r", "ready\r\n"), ("\x1a", STOPPED), ("fg\r", r"\r\n"), ("\x03", P), ("echo $?\r", P)],
    ),
    "two in turn": (
        CAT,
        [
            *[(f"{RUN}\r", "ready\r\n"), ("\x1a", STOPPED)] * 2,
            *[("fg %1\r", "RUN[^\r]*\r\n"), ON_IT, ("1\r", "1\r\n1\r\n"), ("\x04", P)],
            *[("fg %2\r", "RUN[^\r]*\r\n"), ON_IT, ("2\r", "2\r\n2\r\n"), ("\x04", P)],
        ],
    ),
    "Ctrl-\\": (
        ["sh", "-c", "trap - QUIT; echo ready; exec cat"],
        [(f"{RUN}\r", "ready\r\n"), ("x\r", "x\r\nx\r\n"), ("\x1c", P)],
    ),
    "job control inside": (
        ["env", "PS1=(in) ", "sh", "-i"],
        [
            (f"{RUN}\r", IN),
            ("echo g''o; cat\r", "go\r\n"),
            ("i\r", "i\r\ni\r\n"),
            ("\x1a", IN),
            ("fg\r", "cat\r\n"),
            ("j\r", "j\r\nj\r\n"),
            ("\x03", IN),
            ("exit 5\r", P),
            ("echo $?\r", f"5\r\n{P}"),
        ],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_job(twin: Twin, case: str) -> None:
    """The shell and the person at it see what they see of a native job."""
    argv, steps = CASES[case]
    in_shell(twin, argv, *steps)


def test_a_script_stops_with_the_command(twin: Twin) -> None:
    """Ctrl-Z stops the script that waits for it, too, so that the shell gets its terminal back."""
    script = "set -m; (trap - TSTP; " + '"$@"; echo status $?); echo shell; fg; echo $?'
    steps: list[Step] = [
        ("", "ready\r\n"),
        ("\x1a", "shell\r\n"),
        ("", '"\\$@"[^\r]*\r\n'),
        ON_IT,
        ("k\r", "k\r\nk\r\n"),
        ("\x04", ""),
    ]
    in_script(twin, script, CAT, *steps)
