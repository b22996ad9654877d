"""`dx import`: a tool from a package file of Whalebrew."""

from pathlib import Path

from dx.cli import link
from dx.cli.add import add_yes, define, existing
from dx.cli.definition import DEFAULTS
from dx.cli.steps import last_of
from dx.cli.verb import Namespace, Parser, UsageError, Verb, add_json

MAX_BYTES = 1 << 20
"""A package file has ten lines."""


def _arguments(parser: Parser) -> None:
    parser.add_argument("file", metavar="FILE", help="the package file, as Whalebrew installs them in /usr/local/bin")
    parser.add_argument("--name", metavar="NAME", help="what to call the tool (default: the file's name)")
    add_yes(parser)
    add_json(parser)


def import_package(given: Namespace) -> int:
    """Read the file, and define the tool as `dx add` does."""
    content = _read(Path(given.file))
    given.name = given.name or Path(given.file).name
    client = link.client()
    said = last_of(client.describe(package=content), "description")
    return define(
        client, given, existing(client, given.name), {**DEFAULTS, **said["definition"]}, said, speaker="package"
    )


def _read(file: Path) -> str:
    with file.open("rb") as stream:
        content = stream.read(MAX_BYTES + 1)
    try:
        if len(content) <= MAX_BYTES:
            return content.decode()
    except UnicodeDecodeError:
        pass
    raise UsageError(f"{file} is no package file of Whalebrew")


VERBS = (
    Verb(
        name="import",
        summary="Make a tool of a package file of Whalebrew",
        act=import_package,
        arguments=_arguments,
        description="What the package asks for beyond what every tool may do is asked for once.",
        examples="dx import /usr/local/bin/aws\ndx import ./jq --name jq1",
    ),
)
