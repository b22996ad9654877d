"""`python -m dx`: the command line for where its programs are not to be had, `run` included."""

import sys


def main() -> int:
    """Do what the arguments say; returns the exit status."""
    if sys.argv[1:2] == ["run"]:
        try:
            from dx.launcher.main import main as run
        except KeyboardInterrupt:  # the module that ends by signals is not there yet
            return 130
        run()
    from dx.cli import main as other

    return other()


if __name__ == "__main__":
    sys.exit(main())
