"""`dxd`: become the daemon of this user, or say who already is.

The order is for speed and for races: a start that loses ends before anything large is imported, and a start that wins
listens before that, so that clients wait in the socket's queue instead of looking for it.
"""

import gc
import os
import resource
import signal
import sys
from pathlib import Path

from dx.places import NoHome, Places
from dxd.errors import DxError
from dxd.lifecycle.listener import Listener
from dxd.lifecycle.lock import AlreadyRunning
from dxd.lifecycle.notify import VARIABLES, Notifier

USAGE = """\
usage: dxd [--help | --version]

The daemon of dx. It stays in the foreground, logs to standard error, and stops at SIGTERM or SIGINT; runs go on
without it. Clients start it when they need it. Its places come from the environment, see `dx help environment`.
"""

MAX_DESCRIPTORS = 65536
"""Asked of the soft limit where the hard one allows it: a connection takes one, a warm container three."""


def main(arguments: list[str] | None = None) -> int:
    """Run the daemon to its end; returns the exit status."""
    _settle()
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments in (["--help"], ["-h"]):
        sys.stdout.write(USAGE)
        return 0
    if arguments == ["--version"]:
        from dx import __version__  # noqa: PLC0415 - needed here only

        sys.stdout.write(f"dxd {__version__}\n")
        return 0
    if arguments:
        return _fail(f"unknown argument {arguments[0]!r}; see dxd --help", 2)
    try:
        places = Places.of()
        listener = Listener.open(places.runtime_dir, os.environ)
    except AlreadyRunning as other:
        sys.stderr.write(f"dxd: {str(other).removeprefix('dxd is ')}\n")
        return 0
    except NoHome as error:
        return _fail(str(error))
    except DxError as error:
        return _fail(error.line())
    try:
        notifier = Notifier.of(os.environ)
        for name in VARIABLES:
            os.environ.pop(name, None)
        gc.disable()  # all of what is imported stays, and looking for what does not would take 40 ms
        from dxd import app, telemetry  # noqa: PLC0415 - a start that loses the race never gets here

        gc.freeze()
        gc.enable()
        telemetry.configure(places.log_file)
        os.chdir("/")  # a directory that we stay in could not be unmounted
        return app.main(places, listener=listener, notifier=notifier)
    except DxError as error:
        return _fail(error.line())
    finally:
        listener.close()


def _settle() -> None:
    """Make the process fit for a daemon, whoever started it."""
    for descriptor in (0, 1, 2):  # closed ones would be taken by our sockets, and then written to by mistake
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    if sys.stdout is None or sys.stderr is None:
        sys.stdout = sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115 - for as long as the process
    os.umask(0o077)
    # A launcher blocks the signals that it passes on, and may have left them so. Ignored ones stay ignored: nohup.
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MAX_DESCRIPTORS)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _fail(line: str, status: int = 1) -> int:
    sys.stderr.write(f"dxd: {line}\n")
    return status


if __name__ == "__main__":
    sys.exit(main())
