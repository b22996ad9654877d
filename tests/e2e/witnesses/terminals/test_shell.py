"""A shell in the image, with jobs of its own; and a terminal within the terminal."""

import re

from tests.e2e.witnesses.terminals.screen import Pair

BASH = ["env", "PS1=$ ", "HISTFILE=/dev/null", "bash", "--noprofile", "--norc", "-i"]
PROMPT = r"\n\$$"


def without_pids(text: str) -> str:
    """A shell's word of a job that it begins."""
    return re.sub(r"^(\[\d\]) \d+$", r"\1 PID", text, flags=re.MULTILINE)


def test_jobs(pair: Pair) -> None:
    """Begun in the background, stopped, listed, continued, killed."""
    with pair.begin(BASH, mask=without_pids) as both:
        both.see(r"^\$$")
        both.type("sleep 1000 &\r")
        both.see(r"^\[1\] PID" + PROMPT)
        both.type("sh -c 'echo on; read it; exec sleep 2e3'\r")
        both.see("^on$")
        both.type("\x1a")
        both.see(r"^\[2\]\+ +Stopped.*" + PROMPT)
        both.type("jobs\r")
        both.see(r"^\[1\]- +Running .*\n\[2\]\+ +Stopped.*" + PROMPT)
        both.type("fg\r")
        both.see("^sh -c .*\\Z")
        both.type("word\r")
        both.see("^word$")
        both.type("\x03")
        both.see(r"^\^C" + PROMPT)
        both.type("echo $?\r")
        both.see("^130" + PROMPT)
        both.type("kill %1; wait %1; echo $?\r")
        both.see("^143" + PROMPT)
        both.type("jobs\r")
        both.see(r"\$ jobs" + PROMPT)
        both.type("exit 3\r")
        assert both.end() == 3


def test_what_is_pasted_is_not_run(pair: Pair) -> None:
    """Lines in brackets, as a terminal sends them where the shell has asked for it, wait for Enter."""
    with pair.begin(BASH) as both:
        both.see(r"^\$$")
        both.type("\x1b[200~echo one\necho two\x1b[201~")
        both.see(r"^\$ echo one\necho two\Z")
        both.type("\r")
        both.see("^one\ntwo" + PROMPT)
        both.type("echo go''on; read it; stty size; [ -c $(tty) ] && [ -t 2 ] && echo is one\r")
        both.see("^goon$")
        both.resize(11, 44)
        both.type("\r")
        both.see("^11 44\nis one" + PROMPT)
        both.type("\x04")
        assert both.end() == 0


def test_a_terminal_in_the_terminal(pair: Pair) -> None:
    """`script` makes one of its own and is raw itself, as ssh is: every byte comes through both, Ctrl-C, Ctrl-Z and
    Ctrl-S too; the size, and the end.
    """
    command = "stty raw -echo; stty size; echo ready; head -c 256 | od -An -tx1; stty sane; exit 5"
    with pair.begin(["script", "-q", "-e", "-c", command, "/dev/null"]) as both:
        both.see(r"ready")
        both.type(bytes(range(256)))
        both.see(" ff$")
        assert both.end() == 5
