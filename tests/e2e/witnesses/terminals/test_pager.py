"""`less`, at the end of a run's pipe and in a run."""

from tests.e2e.witnesses.terminals.screen import Both, Pair, file

TEXT = "".join(f"{number}\n" for number in range(1, 1001)).encode()


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


def test_of_a_file(pair: Pair) -> None:
    """All is in the run."""
    with pair.begin(["less", "text"], prepare=file("text", TEXT)) as both:
        read(both)


def test_at_the_end_of_a_pipe(pair: Pair) -> None:
    """The run writes, this machine's pager has the terminal."""
    with pair.begin(["seq", "1000"], script='"$@" | less') as both:
        read(both)


def test_ctrl_c_ends_what_it_reads_from(pair: Pair) -> None:
    """The pager stays, and says so."""
    with pair.begin(["sh", "-c", "echo first; exec sleep 1000"], script='"$@" | less +F') as both:
        both.see("^first$")
        both.type("\x03")
        both.see(r"^\(END\)|:$")
        both.type("q")
        assert both.end() == 0
