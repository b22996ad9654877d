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
    parser.add_argument("--no-labels", action="store_true", help="do not read what new images say of themselves")
    parser.add_argument("--yes", "-y", action="store_true", help="ask nothing: allow what new images ask for")
    add_json(parser)


def upgrade(given: Namespace) -> int:
    """Take what is new."""
    client = link.client()
    asking = given.yes or (screen.can_ask() and not given.json)
    names = [link.named(client, each) for each in given.names]
    lines = client.upgrade(names, labels=not given.no_labels, keep=asking)
    upgraded: list[UpgradedTool] = last_of(lines, "upgraded", json=given.json)
    if asking and (wanting := [each for each in upgraded if each["asks"]]):
        # Those that are not allowed are named too: the daemon lets go of their images then.
        refused = {each["digest"] for each in wanting if not (given.yes or _may(each))}
        allow = [each["digest"] for each in wanting if each["digest"] not in refused]
        lines = client.upgrade([each["tool"] for each in wanting], allow=allow)
        again: list[UpgradedTool] = last_of(lines, "upgraded", json=given.json)
        upgraded = [*{each["tool"]: each for each in (*upgraded, *again)}.values()]
    if given.json:
        screen.print_json({"upgraded": upgraded}, line=True)
    elif not upgraded:
        print("Everything is up to date.")
    for each in upgraded:
        if each["error"]:
            screen.complain(f"{each['tool']}: {each['error']}", _HINT if each["asks"] else "")
        elif not given.json:
            print(screen.clean(f"{each['tool']} is up to date"))
    return EXIT_DX if any(each["error"] for each in upgraded) else 0


_HINT = "allow it with --yes, or take the image without what it says of itself: --no-labels"


def _may(wanting: UpgradedTool) -> bool:
    """Ask once for what a tool's new image asks for."""
    screen.say(f"The new image of {wanting['tool']} asks to")
    for each in wanting["asks"]:
        screen.say(f"  - {each['text']}")
    return screen.ask(f"Allow {wanting['tool']} that?")


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
    complaints: list[LockComplaint] = last_of(lines, "complaints", json=given.json)
    if given.json:
        screen.print_json({"complaints": complaints}, line=True)
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
        description="What was there serves until the new one is, and runs that go on are not disturbed. What a new\n"
        "image's labels say holds where the tool still was as the image before said. One that asks for more than was\n"
        "allowed is asked about; without a terminal the image before stays in use.",
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
