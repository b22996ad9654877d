"""Python's prompt, with readline: a line is edited, called back and completed; Ctrl-C and Ctrl-D do what they do."""

from tests.e2e.witnesses.terminals.conftest import PYTHON
from tests.e2e.witnesses.terminals.screen import Pair

LEFT, UP = "\x1b[D", "\x1b[A"
PROMPT = "\n>>>$"
"""At the end of all that is shown."""


def test_a_session(pair: Pair) -> None:
    """From the first prompt to the end of the input."""
    # Newer ones have a prompt of their own where they are not told to have readline's.
    with pair.begin(["env", "PYTHON_BASIC_REPL=1", PYTHON, "-q"], HOME="/") as both:
        both.see("^>>>$")
        both.type(f"print('hllo'){LEFT * 5}e\r")
        both.see(f"^hello{PROMPT}")
        both.type(UP + "\x01'oh ' and \x05;\r")
        both.see(f"^hello{PROMPT}")
        both.type("a_long_name = 6 * 7\r")
        both.see(rf"= 6 \* 7{PROMPT}")
        both.type("a_lo\t\r")
        both.see(f"^42{PROMPT}")
        both.type("not finished\x03")
        both.see(f"^KeyboardInterrupt{PROMPT}")
        both.type("print('on'); all(not each for each in iter(int, 1))\r")
        both.see("^on$")
        both.type("\x03")
        both.see(f"^KeyboardInterrupt{PROMPT}")
        both.type("\x04")
        both.end()
