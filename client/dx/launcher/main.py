"""`python -m dx run`: its options and the order of things (client/launcher/main.c).

The text of its help is the launcher's own, and a test holds the two together.
"""

from __future__ import annotations

import os

from dx.errors import ClientError, RunFailed
from dx.launcher import caller, daemon, lease, native, relay

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

EXIT_DX = 125
_INT = 2
OPTIONS = (b"env", b"mount", b"network", b"port", b"device", b"share", b"user", b"paths", b"git", b"image", b"up")
"""Those that take a value."""
IGNORED = b"--ignored="
"""Before anything else, from the launcher that this takes the place of: a signal that its caller ignores."""
SHIM = b"--shim"
"""After those, from that launcher: it was called through a shim."""

USAGE = """\
Usage: dx run [OPTION...] TOOL [ARG...]
       dx run [OPTION...] IMAGE [ARG...]

Run a tool, a command of a tool, or any image, as if it were a native command.
Everything after its name belongs to it.

Options:
  --env K=V | --env PATTERN    set a variable, or pass the caller's own that match
  --mount SRC[:DST][:ro]       show a path of the host to this run
  --network none|bridge|host|project[:NAME]  another network than the tool's
  --up SERVICE[,SERVICE]       have these of the project ready first, and be on their network
  --port [ADDR:]PORT[:PORT]    a port of this machine that leads to the run
  --device /dev/NAME[:MODE]    a device that it may open
  --share ssh-agent|x11|wayland  use that of your session
  --user me|root|image         another user than the tool's
  --paths auto|project|none    what it sees of your files: what arguments name too, or less
  --git read|write             whether it may change .git/hooks and .git/config
  --image IMAGE                another image than the tool's
  --explain                    say first what it sees of your files, and why
  --help                       this text

Examples:
  dx run jq .name package.json
  cat data.csv | dx run python clean.py > clean.csv
  dx run --network none debian:12 sh -c 'id; ls'

Exit status: the tool's own; 125 dx or the engine failed, 126 not executable, 127 not found.
"""


def main() -> NoReturn:
    """Do what the arguments after `run` say, and end as the run did."""
    status = EXIT_DX
    try:
        closed = caller.secure_stdio()
        arguments = caller.arguments()[1:]
        ignored = 0
        while arguments and arguments[0].startswith(IGNORED):
            ignored |= 1 << int(arguments.pop(0)[len(IGNORED) :]) - 1
        shim = arguments[:1] == [SHIM]
        options, line = read(arguments[shim:])
        if line is None:
            status = 0 if _write(1, USAGE.encode()) else EXIT_DX
        else:
            run(options, line, closed, shim=shim, ignored=ignored)
    except RunFailed as error:
        status = error.exit_code
        complain(error.message)
    except ClientError as error:
        complain("; ".join(filter(None, (error.message, error.hint))))
    except OSError as error:
        complain(f"{error.filename or 'the kernel says no'}: {error.strerror}")
    except KeyboardInterrupt:
        relay.end_like(_INT)
    os._exit(status)


def run(
    options: list[bytes], line: list[bytes], closed: frozenset[int], *, shim: bool = False, ignored: int = 0
) -> NoReturn:
    """Run a command; raises `ClientError` where it does not begin. `ignored` has a bit for each signal that the caller
    ignores, of those that cannot be told from here.
    """
    env = caller.deeper(caller.environment())
    request = lease.Request(line[0], line[1:], env, caller.directory(), options, shim=shim, framed=True)
    screen = Screen()

    def ask(late: int | None = None, bind: int | None = None) -> lease.Lease:
        request.bind = request.bind if bind is None else bind
        try:
            return lease.ask(request, daemon.connect, screen.tell, late)
        except lease.Refusal as refusal:
            screen.clear()
            if refusal.native and shim:
                native.become(line[0], line[1:], caller.environment())
            if not refusal.project or not native.trusts(refusal.project, caller.environment()):
                raise
            return lease.ask(request, daemon.connect, screen.tell, late)
        finally:
            screen.clear()

    run = relay.Relay(ask(), ask, closed, ignored)
    try:
        run.see_through()
    finally:
        run.leave()


def read(arguments: list[bytes]) -> tuple[list[bytes], list[bytes] | None]:
    """Options as "key=value", and the command with its arguments, or None where only help is wanted.

    Raises `RunFailed` where they make no sense.
    """
    options: list[bytes] = []
    at = 0
    while at < len(arguments) and arguments[at].startswith(b"-"):
        word = arguments[at]
        at += 1
        if word == b"--":
            break
        if word in {b"--help", b"-h"}:
            return options, None
        if word == b"--explain":
            options.append(b"explain=")
            continue
        name, has_value, value = word[2:].partition(b"=")
        if not word.startswith(b"--"):
            raise RunFailed(f"dx run has no option {os.fsdecode(word)}; see: dx run --help")
        if name not in OPTIONS:
            raise RunFailed(f"dx run has no option {os.fsdecode(word)}; the tool's own options stand after its name")
        if not has_value:
            if at == len(arguments):
                raise RunFailed(f"--{name.decode()} needs a value; see: dx run --help")
            value = arguments[at]
            at += 1
        options.append(name + b"=" + value)
    if at == len(arguments):
        raise RunFailed("run what? see: dx run --help")
    return options, arguments[at:]


class Screen:
    """Notes and progress on stderr; lines of progress take each other's place, on a terminal only."""

    def __init__(self) -> None:
        self._pending = False

    def tell(self, text: bytes, passing: bool) -> None:
        """Show a line."""
        if not passing:
            self.clear()
            _write(2, b"dx: " + text + b"\n")
        elif os.isatty(2):
            _write(2, b"\r\033[Kdx: " + text)
            self._pending = True

    def clear(self) -> None:
        """Take a line of progress away."""
        if self._pending:
            _write(2, b"\r\033[K")
        self._pending = False


def complain(message: str) -> None:
    """One line on stderr."""
    _write(2, f"dx: {message}\n".encode(errors="surrogateescape"))


def _write(fd: int, data: bytes) -> bool:
    try:
        while data:
            data = data[os.write(fd, data) :]
    except OSError:
        return False
    return True
