"""Programs that draw the whole screen, in windows whose size changes: `top`, and one in curses."""

import re
import signal

import pytest

from tests.e2e.witnesses.terminals.conftest import PYTHON
from tests.e2e.witnesses.terminals.screen import Pair

SIZES = ((10, 30), (50, 132), (3, 20), (24, 80))
CURSES = """\
import curses

def main(screen):
    key = ""
    while key != "q":
        screen.erase()
        screen.addstr(0, 0, f"{curses.LINES} {curses.COLS} {key}")
        screen.addstr(curses.LINES - 1, curses.COLS - 4, "end")
        new = curses.keyname(screen.getch()).decode()
        if new == "KEY_RESIZE":
            curses.update_lines_cols()
        else:
            key = new

curses.wrapper(main)
"""


def test_curses_and_keys(pair: Pair) -> None:
    """Keys with names arrive as these; Ctrl-C gives the terminal back."""
    with pair.begin([PYTHON, "-c", CURSES]) as both:
        both.see("^33 77$")
        for keys, name in (("\x1bOA", "KEY_UP"), ("\x1bOP", r"KEY_F\(1\)"), ("\x1b[6~", "KEY_NPAGE")):
            both.type(keys)
            both.see(f"^33 77 {name}$")
        both.type("\x03")
        both.see("^KeyboardInterrupt$")
        assert both.end() == -signal.SIGINT


def test_curses_resized(pair: Pair) -> None:
    """It draws anew for each size."""
    with pair.begin([PYTHON, "-c", CURSES]) as both:
        both.see("^33 77$")
        for rows, columns in SIZES:
            both.resize(rows, columns)
            both.type("x")  # for a change of size just before it waits for a key is seen with the next one
            both.see(rf"\A{rows} {columns} x\n+ {{{columns - 4}}}end\Z")
        both.type("q")
        assert both.end() == 0


def heads(text: str) -> str:
    """Of a screen of top's: what each line is about, without the processes, which are others."""
    above, found, below = text.partition("PID USER")
    return "\n".join(re.findall(r"^[^\s\d]+", above, re.MULTILINE)) + found + below[:26]


@pytest.mark.parametrize("end", ["q", "\x03"])
def test_top(pair: Pair, end: str) -> None:
    """Its list, its help, its list in another window, its end by a key or by Ctrl-C."""
    with pair.begin(["top"], mask=heads) as both:
        both.see("PID USER +PR")
        both.type("h")
        both.see("^Help$")
        both.type("\x1b")
        both.see("PID USER +PR")
        both.resize(15, 60)
        both.see("PID USER +PR")
        both.type(end)
        assert both.end() == 0
