"""What a verb of the command line is, and the parser that each one fills."""

import argparse
import os
from collections.abc import Callable
from typing import NamedTuple, NoReturn

EXIT_DX = 125
"""dx's own failures, usage errors too: no status that a tool is likely to have."""


class UsageError(Exception):
    """The arguments make no sense."""


class Namespace(argparse.Namespace):
    """Parsed arguments."""


class Formatter(argparse.RawDescriptionHelpFormatter):
    """As argparse's own, without shutil: its import would cost each start 8 ms."""

    def __init__(self, prog: str) -> None:
        try:
            columns = int(os.environ.get("COLUMNS") or os.get_terminal_size(1).columns or 80)
        except (OSError, ValueError):
            columns = 80
        super().__init__(prog, max_help_position=32, width=max(40, min(columns, 120) - 2))


class Parser(argparse.ArgumentParser):
    """A parser whose complaints are exceptions."""

    def error(self, message: str) -> NoReturn:
        """Called by argparse."""
        raise UsageError(message)


class Verb(NamedTuple):
    """One verb: `dx NAME ...`."""

    name: str
    summary: str
    """One line for the list of verbs, without a full stop."""
    act: Callable[[Namespace], int]
    """Does it; returns the exit status."""
    arguments: Callable[[Parser], None] = lambda _: None
    """Adds the arguments to the parser."""
    description: str = ""
    """What else there is to know, between the usage and the arguments."""
    examples: str = ""
    """Lines of shell."""

    def parser(self) -> Parser:
        """The parser of what stands after the verb."""
        examples = "\n".join(f"  {line}" for line in self.examples.strip().splitlines())
        parser = Parser(
            prog=f"dx {self.name}",
            description=f"{self.summary}.\n\n{self.description.strip()}".strip(),
            epilog=f"examples:\n{examples}" if examples else None,
            formatter_class=Formatter,
            allow_abbrev=False,
        )
        self.arguments(parser)
        return parser


def add_json(parser: Parser) -> None:
    """The option of every verb that answers something."""
    parser.add_argument("--json", action="store_true", help="answer in JSON, for scripts")
