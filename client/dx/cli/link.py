"""The way from the command line to the daemon: where it is, and how it is started where it does not run."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from dx.errors import ClientError, NotStarted
from dx.places import NoHome, Places

if TYPE_CHECKING:
    from dx.api import Client


def places() -> Places:
    """This user's; raises `ClientError` if the environment does not say where."""
    try:
        return Places.of()
    except NoHome as error:
        raise ClientError(str(error)) from None


def client(*, start: bool = True) -> "Client":
    """A client of this user's daemon, which is started where that is needed unless `start` is false."""
    from dx.api import Client

    return Client(places().socket, start=start_daemon if start else None)


def named(client: "Client", name: str) -> str:
    """The whole name of the tool that is meant here; the name itself where there is none any more."""
    from dx.errors import ApiError

    try:
        return client.tool(name, cwd=here())["name"]
    except ApiError as error:
        if error.code == "unknown-tool":
            return name
        raise


def here() -> str | None:
    """The current directory, in which a project's tools come first; None where it is gone."""
    try:
        return str(Path.cwd())
    except OSError:
        return None


def word(name: str) -> str:
    """What a tool is called where it is defined, from its whole name."""
    return name.partition("@")[0]


def launcher() -> str | None:
    """The path of `dx`, which belongs beside this program or beside Python; None if it is not there."""
    program = Path(sys.argv[0])
    beside = [Path(os.path.abspath(program)).parent, program.resolve().parent] if "/" in sys.argv[0] else []
    for directory in [*beside, Path(sys.executable).parent]:
        path = directory / "dx"
        if path.is_file() and os.access(path, os.X_OK):
            return str(path)
    return None


def need_launcher() -> str:
    """The path of `dx`; raises `NotStarted`."""
    if path := launcher():
        return path
    raise NotStarted(f"the launcher dx is not beside {sys.argv[0]}", "install dx again")


def start_daemon() -> None:
    """Have the launcher start the daemon, and wait until it answers; raises `NotStarted` with its last words."""
    import subprocess

    command = [need_launcher(), "daemon", "start"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    if done.returncode:
        words = done.stderr.decode(errors="backslashreplace").strip().rpartition("\n")[2].removeprefix("dx: ")
        reason, _, hint = words.partition("; ")
        reason = reason or f"the daemon did not start (status {done.returncode})"
        raise NotStarted(reason, hint or "see: dx daemon logs")
