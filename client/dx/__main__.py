"""`python -m dx`: the command line for where its programs are not to be had, `run` included."""

import sys


def main() -> int:
    """Do what the arguments say; returns the exit status."""
    if sys.argv[1:2] == ["run"]:
        return launch()
    from dx.cli import main as other

    return other()


def launch() -> int:
    """Be the launcher, with what follows the first argument; returns only where that cannot be."""
    _end_by_interrupts()
    try:
        from dx.launcher.main import main as run
    except ImportError as error:  # ctypes and others are packages of their own on some systems
        sys.stderr.write(f"dx: this Python has no module {error.name}; install all of its standard library\n")
        return 125
    return run()


def _end_by_interrupts() -> None:
    """Let Ctrl-C end this process as any other, without a traceback; who ignores it goes on doing so."""
    # The part in C is there anyway, `signal` itself would take 4 ms to import.
    from _signal import SIG_DFL, SIGINT, default_int_handler, getsignal, signal  # type: ignore[import-not-found]  # has no stub

    if getsignal(SIGINT) is default_int_handler:
        signal(SIGINT, SIG_DFL)


if __name__ == "__main__":
    sys.exit(main())
