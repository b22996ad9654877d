"""`dx compose`: what Docker Compose calls where a service has `provider: {type: dx}`.

The protocol is Compose's (docs/extension.md of docker/compose): JSON lines on stdout, each with a type and a message.
Whatever is of another type or no JSON makes Compose give up, so nothing else is ever printed there.
"""

import argparse
import json
import os
from pathlib import Path

from dx.cli import link
from dx.cli.verb import EXIT_DX, Namespace, Parser, UsageError, Verb
from dx.errors import ClientError
from dx.project_answers import UseBody

METADATA = {
    "description": "Services that dx keeps, and shares between projects",
    "up": {
        "parameters": [
            {
                "name": "project",
                "description": "The project that has the service: a directory, or the name of one that dx knows",
                "required": True,
                "type": "string",
            },
            {
                "name": "service",
                "description": "The service of that project (default: the one of the same name)",
                "required": False,
                "type": "string",
            },
        ]
    },
    "down": {"parameters": []},
}


def tell(kind: str, message: str) -> None:
    """A line for Compose."""
    print(json.dumps({"type": kind, "message": message}), flush=True)


def compose(given: Namespace) -> int:
    """Do what Compose asks for."""
    if given.event == "metadata":
        print(json.dumps(METADATA))
        return 0
    try:
        asked = _of_event().parse_args(given.rest, Namespace(consumer=given.project_name))
        if given.event == "down":
            link.client().leave_service(asked.consumer, asked.name)
        else:
            _up(asked)
    except UsageError as error:
        tell("error", f"dx compose: {error}; see: dx compose --help")
        return EXIT_DX
    except ClientError as error:
        tell("error", "; ".join(filter(None, (error.message, error.hint))))
        return EXIT_DX
    return 0


def _up(given: Namespace) -> None:
    if not given.project:
        raise ClientError(f"the provider of {given.name} has no option project", "name a directory, or a project of dx")
    body: UseBody = {
        "consumer": given.consumer,
        "alias": given.name,
        "project": _project(given.project),
        "service": given.service or given.name,
    }
    for line in link.client().use_service(body):
        if "variables" in line:
            for key, value in line["variables"].items():
                tell("setenv", f"{key}={value}")
        else:
            tell("info", str(line.get("note") or line.get("progress") or ""))


def _project(text: str) -> str:
    """A directory, absolute, where it is written as one; else a name."""
    if "/" not in text and not text.startswith((".", "~")):
        return text
    return os.path.abspath(Path(text).expanduser())


def _arguments(parser: Parser) -> None:
    parser.add_argument("--project-name", metavar="NAME", default="", help="the project that uses the service")
    parser.add_argument("event", choices=("up", "down", "metadata"), help="what has happened to that project")
    parser.add_argument("rest", metavar="...", nargs=argparse.REMAINDER, help="the options of the provider, and NAME")


def _of_event() -> Parser:
    """What stands after the event; it has a parser of its own, since argparse takes no options between positionals."""
    parser = Parser(allow_abbrev=False, add_help=False)
    parser.add_argument("--project", default="")
    parser.add_argument("--service")
    parser.add_argument("name")
    return parser


VERBS = (
    Verb(
        "compose",
        "Be a provider for Docker Compose",
        compose,
        _arguments,
        description="Docker Compose calls this itself where a service says provider: {type: dx}.",
        examples="dx compose metadata",
    ),
)
