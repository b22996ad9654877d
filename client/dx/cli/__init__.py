"""The command line: every verb of `dx` but `run`, which is the launcher's.

Each verb is in the module that `MODULES` names, and only that module is imported. Exit statuses: 0, and 125 for all
failures of dx; 130 after Ctrl-C, 141 where the reader of the output has gone: what a shell shows for these signals.
"""

import os
import sys
from collections.abc import Callable
from importlib import import_module

from dx.cli.verb import EXIT_DX, Namespace, UsageError, Verb

MODULES = {
    "add": "add",
    "rm": "tools",
    "ls": "tools",
    "show": "tools",
    "edit": "edit",
    "export": "export",
    "push": "push",
    "import": "package",
    "builds": "builds",
    "rollback": "builds",
    "unpin": "builds",
    "prune": "builds",
    "outdated": "upgrades",
    "upgrade": "upgrades",
    "lock": "upgrades",
    "trust": "trust",
    "up": "projects",
    "down": "projects",
    "start": "projects",
    "restart": "projects",
    "wait": "projects",
    "services": "projects",
    "forget": "projects",
    "port": "services",
    "env": "services",
    "exec": "services",
    "shell": "services",
    "ps": "containers",
    "stop": "containers",
    "logs": "logs",
    "cache": "caches",
    "snapshot": "snapshots",
    "reset": "snapshots",
    "status": "daemon",
    "daemon": "daemon",
    "reshim": "shell",
    "activate": "shell",
    "completions": "completions",
    "doctor": "doctor",
    "version": "about",
    "help": "about",
}
"""In the order in which help lists them."""

HIDDEN = {"compose": "compose"}
"""What programs call, and help does not list."""

RELAY = "--relay"
"""The first argument from the launcher in C: this has to take its place."""
ALIASES = {"--version": "version", "-V": "version", "--help": "help", "-h": "help", "list": "ls", "remove": "rm"}


def find(name: str) -> Verb:
    """The verb of that name; raises `UsageError`, with the nearest names."""
    name = ALIASES.get(name, name)
    if name == "run":
        from dx.cli.about import RUN

        return RUN
    modules = {**MODULES, **HIDDEN}
    if name not in modules:
        from difflib import get_close_matches

        close = get_close_matches(name, ["run", *MODULES], cutoff=0.5)
        hint = f"did you mean {' or '.join(close)}?" if close else "see dx help"
        raise UsageError(f"there is no verb {name!r}; {hint}")
    verbs: tuple[Verb, ...] = import_module(f"dx.cli.{modules[name]}").VERBS
    return next(verb for verb in verbs if verb.name == name)


def main(arguments: list[str] | None = None) -> int:
    """Do what the arguments say; returns the exit status. Never raises, whatever happens to the output."""
    if arguments is None and sys.argv[1:2] == [RELAY]:
        from dx.__main__ import launch

        return launch()
    for stream in (sys.stdout, sys.stderr):
        if stream is not None and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        try:
            return _act(sys.argv[1:] if arguments is None else arguments)
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()
    except KeyboardInterrupt:
        return _leave(130)
    except BrokenPipeError:
        return _leave(141)
    except OSError as error:
        return _leave(EXIT_DX, f"{error.filename or 'cannot write the output'}: {error.strerror}")


def _act(arguments: list[str]) -> int:
    name, rest = (arguments[0], arguments[1:]) if arguments else ("help", [])
    if name == "run":
        return _hand_over(arguments)
    try:
        verb = find(name)
        given = verb.parser().parse_args(rest, Namespace())
    except UsageError as error:
        where = "" if "dx help" in str(error) or "did you mean" in str(error) else f"; see: dx {name} --help"
        return _complain(f"{name}: {error}{where}" if where else str(error))
    except SystemExit as end:  # argparse has shown the help
        return EXIT_DX if end.code else 0
    return _perform(lambda: verb.act(given), name)


def _hand_over(arguments: list[str]) -> int:
    """`run` is the launcher's own, whoever is asked."""
    from dx.cli.about import hand_over

    return _perform(lambda: hand_over(arguments), "run")


def _perform(act: Callable[[], int], name: str) -> int:
    from dx.errors import ClientError

    try:
        return act()
    except UsageError as error:
        return _complain(f"{name}: {error}; see: dx {name} --help")
    except ClientError as error:
        return _complain(error.message, error.hint)


def _complain(message: str, hint: str = "") -> int:
    from dx.cli.screen import complain

    complain(message, hint)
    return EXIT_DX


def _leave(status: int, message: str = "") -> int:
    """End without output: what Python would still flush goes nowhere, so that it cannot fail a second time."""
    try:
        if message:
            _complain(message)
        null = os.open(os.devnull, os.O_WRONLY)
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                os.dup2(null, stream.fileno())
    except (OSError, ValueError):
        pass
    return status
