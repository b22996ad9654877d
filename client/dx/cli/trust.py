"""`dx trust`: allow the tools of a project what they ask for."""

from pathlib import Path

from dx.answers import Review
from dx.cli import link, screen
from dx.cli.verb import Namespace, Parser, UsageError, Verb, add_json
from dx.errors import ClientError

EXIT_REFUSED = 126
"""As a run that is refused for it."""


def _arguments(parser: Parser) -> None:
    parser.add_argument("directory", metavar="DIR", nargs="?", help="the project (default: the one around here)")
    parser.add_argument("--yes", "-y", action="store_true", help="allow what it asks for without a question")
    parser.add_argument("--revoke", action="store_true", help="allow it nothing any more")
    parser.add_argument("--list", action="store_true", help="show every project of which something is allowed")
    add_json(parser)


def trust(given: Namespace) -> int:
    """Show what a project asks for, ask, and allow it."""
    client = link.client()
    if given.list:
        if given.directory or given.yes or given.revoke:
            raise UsageError("--list is about all projects, and stands alone")
        return _list(client.reviews(), json=given.json)
    directory = _project(given.directory)
    if given.revoke:
        client.distrust(directory)
        return _answer({"directory": directory, "trusted": False}, f"{directory} is trusted no more", json=given.json)
    review = client.reviews(directory)[0]
    if review["problem"]:
        raise ClientError(review["problem"])
    if not review["new"] and review["asks"]:
        return _answer({"directory": directory, "trusted": True}, f"{directory} asks for nothing new", json=given.json)
    if not given.yes:
        if not screen.can_ask():
            screen.complain(f"{directory} asks for {len(review['new'])} things, and there is no terminal to ask on",
                            "see what they are with --json, and allow them with --yes")  # fmt: skip
            return EXIT_REFUSED
        screen.say(f"The project {directory} asks to have its tools")
        for each in review["new"]:
            screen.say(f"  - {each}")
        if not screen.ask("Allow that?"):
            return EXIT_REFUSED
    client.trust(directory, review["digest"])
    return _answer({"directory": directory, "trusted": True}, f"{directory} is trusted", json=given.json)


def around() -> str | None:
    """The directory of the project around the current one; your own dx.toml makes none."""
    own, here = link.places().config_dir, Path.cwd()
    found = (each for each in (here, *here.parents) if each != own and (each / "dx.toml").is_file())
    return next(map(str, found), None)


def _project(given: str | None) -> str:
    directory = str(Path(given).absolute()) if given else around()
    if directory is None:
        raise ClientError(f"there is no dx.toml in {Path.cwd()} or above", "name a project's directory")
    return directory


def _list(reviews: list[Review], *, json: bool) -> int:
    if json:
        screen.print_json({"projects": reviews})
    elif reviews:
        rows = [(each["directory"], _standing(each)) for each in reviews]
        print(screen.table(("PROJECT", "STANDING"), rows))
    else:
        screen.say("No project is trusted.")
    return 0


def _standing(review: Review) -> str:
    if review["problem"]:
        return review["problem"]
    return f"asks for {len(review['new'])} things more" if review["new"] else "trusted"


def _answer(value: dict[str, object], text: str, *, json: bool) -> int:
    if json:
        screen.print_json(value)
    else:
        print(screen.clean(text))
    return 0


VERBS = (
    Verb(
        "trust",
        "Allow the tools of a project what they ask for",
        trust,
        _arguments,
        description="Until then nothing of a project's dx.toml runs, is built or is mounted. What is allowed is kept\n"
        "outside of the project; what it asks for beyond that later is asked again.",
        examples="dx trust\ndx trust ~/src/demo --yes\ndx trust --list\ndx trust ~/src/demo --revoke",
    ),
)
