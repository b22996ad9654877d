"""`less`, at either end of a pipe or with a file: the keys are its own wherever the text comes from."""

import pytest

from tests.e2e.witnesses.terminals.screen import Both, Pair, file
from tests.e2e.witnesses.terminals.test_editor import VIM

TEXT = "".join(f"{number}\n" for number in range(1, 1001)).encode()
IN, OUT = 'seq 1000 | "$@"', '"$@" | less'
"""The run reads from a pipe and has the terminal for the rest, or it only writes into a pipe."""


def read(both: Both) -> None:
    """To the end, to what is looked for, into a window of another size, and out."""
    both.see(r"\A1\n2\n")
    both.type("G")
    both.see("^1000$")
    both.type("g/^500\r")
    both.see(r"\A500\n")
    both.resize(10, 60)
    both.see(r"\A500\n(.*\n){8}:$")
    both.type("q")
    assert both.end() == 0


@pytest.mark.parametrize(("argv", "script"), [(["less", "text"], ""), (["less"], IN), (["seq", "1000"], OUT)])
def test_from_the_first_line_to_the_last(pair: Pair, argv: list[str], script: str) -> None:
    """All of it is in the run, or only the pager, or all but the pager."""
    with pair.begin(argv, script=script, prepare=file("text", TEXT)) as both:
        read(both)


@pytest.mark.parametrize(
    ("argv", "script"),
    [
        (["less", "+F"], '(echo first; exec sleep 1000) | "$@"'),
        (["sh", "-c", "echo first; exec sleep 1000"], '"$@" | less +F'),
    ],
)
def test_ctrl_c_ends_what_it_reads_from(pair: Pair, argv: list[str], script: str) -> None:
    """The pager stays, and can be told to go."""
    with pair.begin(argv, script=script) as both:
        both.see("^first$")
        both.type("\x03")
        both.see(r"^\(END\)|:$")
        both.type("q")
        assert both.end() == 0


@pytest.mark.parametrize(("argv", "script"), [(["less"], IN), (["seq", "1000"], OUT)])
def test_ctrl_z_stops_both_ends(pair: Pair, argv: list[str], script: str) -> None:
    """The shell has its terminal, until `fg` has the pager draw its page anew."""
    with pair.begin(argv, script=f"set -m; {script}; echo stopped; read it; fg >/dev/null; echo ended") as both:
        both.see(r"\A1\n2\n")
        both.type("\x1a")
        both.see("^stopped$")
        both.type("\r")
        both.see(r"\A1\n2\n(.*\n)*:$")
        both.type("q")
        both.see("^ended$")
        assert both.end() == 0


def test_an_editor_reads_from_a_pipe(pair: Pair) -> None:
    """`vim -` takes its text from there and its keys from the terminal."""
    with pair.begin([*VIM, "-"], script=IN) as both:
        both.see("^1$")
        both.type("dGi500\x1b")
        both.see(r"\A500\n~")
        both.type(":x text\r")
        assert both.end() == 0
