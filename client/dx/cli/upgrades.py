"""`dx outdated`, `dx upgrade` and `dx lock`: what registries have anew, taking it, and staying with what there is."""

from dx.answers import ComparedImage, LockComplaint, UpgradedTool
from dx.cli import link, screen
from dx.cli.steps import last_of
from dx.cli.trust import around
from dx.cli.verb import EXIT_DX, Namespace, Parser, UsageError, Verb, add_json


def outdated(given: Namespace) -> int:
    """Show what has moved."""
    found = link.client().outdated()
    moved = [each for each in found if each["standing"] in ("outdated", "missing")]
    unknown = [each for each in found if each["standing"] == "unknown"]
    if given.json:
        screen.print_json({"images": found})
    elif moved:
        print(screen.table(("TOOL", "IMAGE", "HERE", "NOW"), [_row(each) for each in moved]))
    elif not unknown:
        screen.say("Everything is up to date.")
    for each in unknown:
        screen.complain(f"{each['tool']}: {each['reason']}")
    return EXIT_DX if unknown else 0


def _row(it: ComparedImage) -> tuple[str, ...]:
    here = "missing" if it["held"] is None else _short(it["held"])
    return it["tool"], it["image"] + " (base)" * it["is_base"], here, _short(it["offered"] or "")


def _short(digest: str) -> str:
    return digest[:19]


def _upgrade_arguments(parser: Parser) -> None:
    parser.add_argument("names", metavar="NAME", nargs="*", help="only these tools")
    add_json(parser)


def upgrade(given: Namespace) -> int:
    """Take what is new."""
    client = link.client()
    upgraded: list[UpgradedTool] = last_of(
        client.upgrade([link.named(client, each) for each in given.names]), "upgraded"
    )
    if given.json:
        screen.print_json({"upgraded": upgraded})
    elif not upgraded:
        print("Everything is up to date.")
    for each in upgraded:
        if each["error"]:
            screen.complain(f"{each['tool']}: {each['error']}")
        elif not given.json:
            print(screen.clean(f"{each['tool']} is up to date"))
    return EXIT_DX if any(each["error"] for each in upgraded) else 0


def _lock_arguments(parser: Parser) -> None:
    parser.add_argument("names", metavar="NAME", nargs="*", help="with --upgrade: only these tools")
    parser.add_argument("--check", action="store_true", help="write nothing; 1 if something is not as it is locked")
    parser.add_argument("--upgrade", action="store_true", help="lock to what tags mean now")
    parser.add_argument("--global", dest="everywhere", action="store_true", help="your own tools, in a project too")
    add_json(parser)


def lock(given: Namespace) -> int:
    """Write the lock, or check it."""
    if given.check and given.upgrade:
        raise UsageError("--check writes nothing, so there is nothing to upgrade")
    if given.names and not given.upgrade:
        raise UsageError("names go with --upgrade; a lock is of all tools")
    project = None if given.everywhere else around()
    lines = link.client().lock(project, check=given.check, upgrade=given.names if given.upgrade else None)
    complaints: list[LockComplaint] = last_of(lines, "complaints")
    if given.json:
        screen.print_json({"complaints": complaints})
    else:
        for each in complaints:
            screen.complain(f"{each['tool']}: {each['reason']}" if each["tool"] else each["reason"])
        if not complaints:
            print("Everything is as it is locked." if given.check else "Everything is locked.")
    return 0 if not complaints else 1 if given.check else EXIT_DX


VERBS = (
    Verb(
        "outdated",
        "List images that their registries have anew",
        outdated,
        add_json,
        description="Of tools, and those that tools are built on. Nothing is pulled; a registry that does not answer\n"
        "is told of, and the status is 125.",
        examples="dx outdated\ndx outdated --json",
    ),
    Verb(
        "upgrade",
        "Pull what is outdated, and build what is built on it",
        upgrade,
        _upgrade_arguments,
        description="What was there serves until the new one is, and runs that go on are not disturbed.",
        examples="dx upgrade\ndx upgrade jq yq",
    ),
    Verb(
        "lock",
        "Pin the images of a project's tools in dx.lock, or of your own",
        lock,
        _lock_arguments,
        description="dx.lock is beside dx.toml: that of the project around, else of your own. What is locked runs,\n"
        "wherever its tag moves to, until --upgrade.",
        examples="dx lock\ndx lock --check\ndx lock --global\ndx lock --upgrade jq",
    ),
)
