"""`dx cache`: what tools keep from run to run."""

from dx.cli import link, screen
from dx.cli.verb import EXIT_DX, Namespace, Parser, Verb, add_json
from dx.errors import ApiError


def _arguments(parser: Parser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ls|rm", required=True)
    listing = actions.add_parser("ls", help="list the caches")
    add_json(listing)
    removing = actions.add_parser("rm", help="remove the caches of a tool, or one of them")
    removing.add_argument("name", metavar="NAME", help="the tool")
    removing.add_argument("paths", metavar="PATH", nargs="*", help="only the cache at this path")
    add_json(removing)


def cache(given: Namespace) -> int:
    """List or remove caches."""
    return _ls(given) if given.action == "ls" else _rm(given)


def _ls(given: Namespace) -> int:
    caches = link.client().caches()
    if given.json:
        screen.print_json({"caches": caches})
    elif caches:
        rows = [(each["tool"], each["path"], each["volume"]) for each in caches]
        print(screen.table(("TOOL", "PATH", "VOLUME"), rows))
    else:
        screen.say("There are no caches. A tool gets one with: dx add NAME IMAGE --cache PATH")
    return 0


def _rm(given: Namespace) -> int:
    from pathlib import Path

    client = link.client()
    dropped = []
    failed = False
    paths: list[str | None] = [str(Path(each).expanduser()) for each in given.paths]
    for path in paths or [None]:
        try:
            dropped += client.drop_caches(link.named(client, given.name), path)
        except ApiError as error:
            screen.complain(error.message, error.hint)
            failed = True
    if given.json:
        screen.print_json({"dropped": dropped})
    else:
        for each in dropped:
            print(f"{each['tool']} begins anew at {each['path']}")
    return EXIT_DX if failed else 0


VERBS = (
    Verb(
        "cache",
        "List or remove what tools keep from run to run",
        cache,
        _arguments,
        description="A cache is a directory in a tool's root that stays: a named volume of the engine.",
        examples="dx cache ls\ndx cache rm pip\ndx cache rm pip ~/.cache/pip",
    ),
)
