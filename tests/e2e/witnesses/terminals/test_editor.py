"""`vim` from an image: what is typed is on the screen and in the file, as natively."""

from tests.e2e.witnesses.terminals.screen import Pair, file

VIM = ["vim.tiny", "-N", "-u", "NONE", "-i", "NONE"]
"""Without anybody's configuration and without a memory."""
TEXT = "".join(f"line {number}\n" for number in range(1, 101)).encode()


def test_a_file_is_edited_and_saved(pair: Pair) -> None:
    """Text is inserted, the window becomes another size, the file is written in place: content, owner and mode."""
    line = [*VIM, "-c", "set laststatus=2", "notes"]
    with pair.begin(line, prepare=file("notes", TEXT, 0o640), LC_ALL="C.UTF-8") as both:
        both.see("^line 1$")
        both.type("ofür dich\x1b")
        both.see("^für dich$")
        both.resize(12, 40)
        both.see(r"\A(.*\n){10}notes \[\+\]")
        both.type("G")
        both.see("^line 100$")
        both.type("gg")  # how far it scrolls to fill a larger window is not always the same
        both.see(r"\Aline 1\n")
        both.resize(50, 120)
        both.see(r"\A(.*\n){48}notes \[\+\]")
        both.type(":x\r")
        assert both.end() == 0


def test_a_new_file_is_made_and_another_is_left_alone(pair: Pair) -> None:
    """`:w NAME`, `:q!` and what is said on the way."""
    with pair.begin([*VIM, "notes"], prepare=file("notes", b"kept\n")) as both:
        both.see("^kept$")
        both.type("iNot \x1b:w new\r")
        both.see(r'"new" \[New\] 1L, 9B written')
        both.type("u:q\r")
        both.see("^kept$")
        assert both.end() == 0


def test_it_stops_itself_and_goes_on(pair: Pair) -> None:
    """Ctrl-Z in the editor gives the shell its terminal, `fg` the editor its own, drawn again."""
    script = 'set -m; "$@"; echo stopped $?; read it; fg >/dev/null; echo ended $?'
    with pair.begin([*VIM, "notes"], script=script, prepare=file("notes", b"kept\n")) as both:
        both.see("^kept$")
        both.type("oadded\x1b\x1a")
        both.see("^stopped 148$")
        both.type("\r")
        both.see("^kept$")
        both.type(":wq\r")
        both.see("^ended 0$")
        assert both.end() == 0
