"""`dx builds`, `dx rollback`, `dx unpin` and `dx prune`: what was built, and the way back."""

import sys

from dx.answers import BuildRecord
from dx.cli import link, screen
from dx.cli.verb import Namespace, Parser, UsageError, Verb, add_json

LOG = "log"


def _builds_arguments(parser: Parser) -> None:
    parser.add_argument("name", metavar=f"NAME|{LOG}", nargs="?", help="only those of this tool; or what one said")
    parser.add_argument("build", metavar="ID", nargs="?", type=int, help=f"the build, after {LOG}")
    add_json(parser)


def builds(given: Namespace) -> int:
    """List builds, or show the log of one."""
    if given.build is not None:
        if given.name != LOG or given.json:
            raise UsageError(f"a build's log is: {LOG} ID")
        return _log(given.build)
    client = link.client()
    found = client.builds(link.named(client, given.name) if given.name else None)
    if given.json:
        screen.print_json({"builds": found})
    elif found:
        headings = ("ID", "TOOL", "AGE", "RESULT", "TIME", "SIZE", "BY", "CAUSE")
        print(screen.table(headings, [_row(each) for each in found]))
    elif given.name is None:
        screen.say("Nothing was built yet. A tool is built with: dx add NAME --build DIR")
    else:
        screen.say(f"There are no builds of {given.name}.")
    return 0


def _log(build: int) -> int:
    text = link.client().build_log(build)
    if sys.stdout is None:
        return 0
    if screen.is_terminal(sys.stdout):
        for line in text.decode(errors="backslashreplace").splitlines():
            print(screen.clean(line.expandtabs()))
    else:
        sys.stdout.buffer.write(text)
    return 0


def _row(build: BuildRecord) -> tuple[str, ...]:
    return (
        str(build["id"]),
        build["tool"],
        screen.ago(build["began_at"]),
        _result(build),
        "" if build["duration_s"] is None else screen.elapsed(build["duration_s"]),
        "" if build["size_bytes"] is None else screen.size(build["size_bytes"]),
        build["asked_by"],
        build["cause"],
    )


def _result(build: BuildRecord) -> str:
    """How it ended, and what runs have to do with it."""
    marks = [mark for mark, is_so in (("current", build["current"]), ("pinned", build["pinned"])) if is_so]
    return ", ".join([build["result"] or "building", *marks])


def _rollback_arguments(parser: Parser) -> None:
    parser.add_argument("name", metavar="NAME", help="the tool")
    parser.add_argument(
        "build",
        metavar="BUILD",
        nargs="?",
        type=int,
        help="its number (default: the one that served before the one in use)",
    )
    add_json(parser)


def rollback(given: Namespace) -> int:
    """Go back to an older build."""
    client = link.client()
    build = client.rollback(link.named(client, given.name), given.build)
    if given.json:
        screen.print_json(build)
    else:
        made = screen.ago(build["began_at"])
        print(f"{given.name} is at build {build['id']} of {made}, and stays there until: dx unpin {given.name}")
    return 0


def _unpin_arguments(parser: Parser) -> None:
    parser.add_argument("name", metavar="NAME", help="the tool")


def unpin(given: Namespace) -> int:
    """Follow the Dockerfile or the tag again."""
    client = link.client()
    client.unpin(link.named(client, given.name))
    print(f"{given.name} follows its Dockerfile, or its image's tag, again")
    return 0


def prune(given: Namespace) -> int:
    """Remove what nothing uses."""
    freed = link.client().prune()
    if given.json:
        screen.print_json(freed)
    elif freed["images"]:
        plural = "s" * (freed["images"] != 1)
        print(f"removed {freed['images']} image{plural}, freed {screen.size(freed['bytes'])}")
    else:
        print("There was nothing to remove")
    return 0


VERBS = (
    Verb(
        "builds",
        "List what was built and pulled, or show what a build said",
        builds,
        _builds_arguments,
        description="The one that runs use is current; one that was gone back to is pinned.",
        examples="dx builds\ndx builds jq --json\ndx builds log 17",
    ),
    Verb(
        "rollback",
        "Have a tool use an older build",
        rollback,
        _rollback_arguments,
        description="From the next run on, whatever changes, until `dx unpin`. Runs that go on are not disturbed.",
        examples="dx rollback jq\ndx rollback jq 17",
    ),
    Verb(
        "unpin",
        "Have a tool follow its Dockerfile, or its tag, again",
        unpin,
        _unpin_arguments,
        examples="dx unpin jq",
    ),
    Verb(
        "prune",
        "Remove what dx made and nothing uses",
        prune,
        add_json,
        description="Old builds and their images. Those in use stay, and the latest of each tool; nothing that is\n"
        "not dx's own is touched.",
        examples="dx prune\ndx prune --json",
    ),
)
