"""`dx add`: define a tool, have its image, and say which commands are there now."""

from contextlib import suppress

from dx.answers import Definition, Description, Tool
from dx.api import Client
from dx.cli import link, screen, search_path
from dx.cli.definition import AGENT, SHARE, definition, definition_of, differences
from dx.cli.steps import last_of
from dx.cli.verb import EXIT_DX, Namespace, Parser, Verb, add_json
from dx.errors import ApiError, BadAnswer, ClientError

TRIES = 3
"""Of putting back: the socket of a daemon that was killed takes connections for a moment, and drops them."""


class Networks(tuple[str, ...]):
    """What `--network` takes; how a project calls its networks is its own matter."""

    __slots__ = ()

    def __contains__(self, value: object) -> bool:
        kind, _, name = str(value).partition(":")
        return super().__contains__(kind) and (not name or kind == "project")


NETWORKS = Networks(("none", "bridge", "host", "project"))


def _arguments(parser: Parser) -> None:
    parser.add_argument("name", metavar="NAME", help="what to call the tool")
    parser.add_argument("image", metavar="IMAGE", nargs="?", help="the image to run, pulled where it is missing")
    build = parser.add_argument_group("or, instead of an image")
    build.add_argument("--build", metavar="DIR", help="build the image from this directory")
    build.add_argument("--file", metavar="FILE", help="the Dockerfile (default: DIR/Dockerfile)")
    build.add_argument("--target", metavar="STAGE", help="the stage to build (default: the last)")
    build.add_argument(
        "--on-change",
        choices=("serve", "wait", "manual"),
        help="when its files change: runs take the image before meanwhile (default), wait, or nothing is built",
    )
    build.add_argument("--smoke", metavar="WORDS", help="arguments with which a new build has to end well to serve")
    build.add_argument("--arg", metavar="K=V", action="append", default=[], help="a build argument; repeatable")
    build.add_argument(
        "--secret",
        metavar="ID=FILE",
        action="append",
        default=[],
        help="a file that steps with --mount=type=secret,id=ID may read; repeatable",
    )
    build.add_argument(
        "--ssh",
        metavar=f"{AGENT}|PATH",
        help="what steps with --mount=type=ssh log in with: your agent, or the socket of one, or a key",
    )
    run = parser.add_argument_group("how to run it")
    run.add_argument("--entrypoint", metavar="WORDS", help="in place of the image's entrypoint; '' for none at all")
    run.add_argument(
        "--command",
        metavar="NAME",
        action="append",
        default=[],
        help="a command of the image to offer; repeatable (default: one, called NAME, which is the entrypoint)",
    )
    run.add_argument(
        "--network",
        metavar="none|bridge|host|project[:NAME]",
        choices=NETWORKS,
        help="what it can reach (default: bridge)",
    )
    run.add_argument("--need", metavar="SERVICE", action="append", default=[], help="a service that is ready first")
    run.add_argument(
        "--user",
        choices=("me", "root", "image"),
        help="who it is inside: you, root, or the image's USER; your files stay yours (default: me)",
    )
    run.add_argument(
        "--env",
        metavar="K=V|PATTERN",
        action="append",
        default=[],
        help="a variable to set, or a pattern of your variables to pass (TOKEN, 'AWS_*', '*'); repeatable",
    )
    run.add_argument(
        "--mount",
        metavar="SRC[:DST][:ro]",
        action="append",
        default=[],
        help="a path that it sees beside the project; repeatable",
    )
    run.add_argument(
        "--paths",
        choices=("auto", "project", "none"),
        help="what it sees beside: the project and what its arguments name (auto, the default), or less",
    )
    run.add_argument(
        "--git",
        choices=("read", "write"),
        help="what it may do to .git/hooks and .git/config (default: read)",
    )
    run.add_argument(
        "--cache",
        metavar="PATH",
        action="append",
        default=[],
        help="a directory in its root that stays from run to run; repeatable",
    )
    run.add_argument("--root", choices=("fresh", "kept"), help="what becomes of its root (default: fresh each time)")
    run.add_argument("--scratch", choices=("memory", "disk"), help="where it writes to (default: memory)")
    run.add_argument("--scratch-size", metavar="SIZE", help="how much one run may write to its root, in memory")
    run.add_argument("--memory", metavar="SIZE", help="what all its runs may use together: 512m, 2g")
    run.add_argument("--cpus", metavar="N", type=float, help="processors, like 1.5")
    run.add_argument(
        "--ulimit",
        metavar="NAME=LIMIT",
        action="append",
        default=[],
        help="a limit of each of its processes, nofile=1024 or nproc=100:200; repeatable",
    )
    run.add_argument("--pids", metavar="N", type=int, help="processes at most")
    run.add_argument(
        "--port",
        metavar="[ADDR:]PORT[:PORT]",
        action="append",
        default=[],
        help="a port of this machine that leads to it while it runs; repeatable (default ADDR: 127.0.0.1)",
    )
    run.add_argument(
        "--device",
        metavar="/dev/NAME[:MODE]",
        action="append",
        default=[],
        help="a device that it may open: /dev/ttyUSB0, /dev/snd; repeatable",
    )
    run.add_argument("--gpus", metavar="all|ID,...", help="the GPUs that it may use")
    run.add_argument(
        "--share",
        choices=SHARE,
        action="append",
        default=[],
        help="use your ssh-agent, or your screen; repeatable",
    )
    parser.add_argument("--no-labels", action="store_true", help="do not read what the image says of itself")
    add_yes(parser)
    add_json(parser)


def add_yes(parser: Parser) -> None:
    """The option of those verbs that ask."""
    parser.add_argument(
        "--yes",
        "-y",
        action="store_true",
        help="ask nothing: replace a tool of that name, allow what is asked for",
    )


def add(given: Namespace) -> int:
    """Define the tool and prepare its image; what was before is put back where that fails."""
    wanted = definition(given)
    client = link.client()
    old = existing(client, given.name)
    said: Description | None = None
    if wanted["image"] is not None and not given.no_labels:
        said = last_of(client.describe(image=wanted["image"]), "description", json=given.json)
        wanted = definition(given, said["definition"])
    return define(client, given, old, wanted, said)


def define(
    client: Client,
    given: Namespace,
    old: Tool | None,
    wanted: Definition,
    said: Description | None,
    *,
    speaker: str = "image",
) -> int:
    """Put the tool in the place of the one of its name, after what has to be asked; `speaker` is who has said it."""
    for note in said["notes"] if said else ():
        screen.say(f"dx: {note}")
    if not (given.yes or _allowed(given.name, old, wanted, said, speaker)):
        return EXIT_DX
    tool = client.put_tool(given.name, wanted)
    try:
        lines = client.prepare(tool["name"], rebuild=wanted["build"] is not None)
        image: str = last_of(lines, "image", json=given.json)
    except BaseException:
        _put_back(client, given.name, old)
        raise
    foreign = [command for command in client.reshim()["foreign"] if command in _commands(tool)]
    if given.json:
        screen.print_json({**tool, "image_id": image}, line=True)
    else:
        _tell(tool, new=old is None)
    for command in foreign:
        shim = link.places().shims_dir / command
        screen.say(f"dx: {shim} is not dx's own, so {command} has no shim; remove it, then: dx reshim")
    return 0


def existing(client: Client, name: str) -> Tool | None:
    """The tool that has the name already."""
    try:
        return client.tool(name)
    except ApiError as error:
        if error.code == "unknown-tool":
            return None
        raise


def _allowed(name: str, old: Tool | None, wanted: Definition, said: Description | None, speaker: str) -> bool:
    """Ask once, if there is anything to ask: to replace a tool, and to allow what the image asks for."""
    changed = differences(old, wanted) if old else []
    asks = [each["text"] for each in said["asks"] if _is_new(each["key"], old, wanted, said)] if said else []
    if not changed and not asks:
        return True
    there = f"there is a tool {name} already, with another {' and '.join(changed)}" if changed else ""
    if screen.can_ask():
        if asks:
            screen.say(f"The {speaker} asks to")
            for each in asks:
                screen.say(f"  - {each}")
        question = there[:1].upper() + there[1:] + ". Replace it?" if there else f"Allow {name} that?"
        if there and asks:
            question = question.removesuffix("?") + ", and allow that?"
        if screen.ask(question):
            return True
    asked = f"the {speaker} asks to {', '.join(asks)}" if asks else ""
    hint = "allow it with --yes" if asks else "replace it with --yes"
    if asks and speaker == "image":
        hint += ", or leave it out with --no-labels"
    screen.complain("; ".join(filter(None, (there, asked))), hint)
    return False


def _is_new(key: str, old: Tool | None, wanted: Definition, said: Description) -> bool:
    """Whether the image's word counts in this key, and the tool does not have it already."""
    value = wanted.get(key)
    return value == said["definition"].get(key) and (old is None or old.get(key) != value)


def _put_back(client: Client, name: str, old: Tool | None) -> None:
    """As it was before; Ctrl-C does not come in between, and a failure is told beside the one that led here."""
    import signal

    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        for _ in range(TRIES - 1):
            with suppress(BadAnswer):
                return _restore(client, name, old)
        _restore(client, name, old)
    except ClientError as error:
        screen.say(f"dx: {name} is defined all the same: {error.message}; take it out with: dx rm {name}")
    finally:
        signal.signal(signal.SIGINT, before)


def _restore(client: Client, name: str, old: Tool | None) -> None:
    """Done again it does no harm."""
    if old is not None:
        client.put_tool(name, definition_of(old))
    elif existing(client, name) is not None:
        client.delete_tool(name)


def _commands(tool: Tool) -> list[str]:
    return tool["commands"] or [tool["name"]]


def _tell(tool: Tool, *, new: bool) -> None:
    commands = _commands(tool)
    print(f"{tool['name']} is {'ready' if new else 'up to date'}: {screen.paint(' '.join(commands), 'bold')}")
    shims = str(link.places().shims_dir)
    if not search_path.has(shims):
        print("To call it by its name, put dx's commands on your PATH:")
        print(f"  {search_path.activation()}")
        print(f"Until then: dx run {commands[0]} ...")
        return
    for command in commands:
        if hidden := search_path.before(command, shims):
            screen.say(f"dx: {hidden} comes before dx's {command} on your PATH")


VERBS = (
    Verb(
        name="add",
        summary="Make a command of an image, or of a Dockerfile",
        act=add,
        arguments=_arguments,
        description=(
            "The tool is written to dx.toml, its image is pulled or built, and each of its commands gets a shim.\n"
            "If there is no image in the end, dx.toml stays as it was.\n"
            "What the image's labels say of itself holds where the arguments say nothing."
        ),
        examples="""
dx add jq jqlang/jq
dx add gcc gcc:14 --command gcc --command g++ --memory 2g
dx add lint --build ./tools/lint --arg VERSION=3 --network none
dx add aws amazon/aws-cli --env 'AWS_*' --mount ~/.aws:ro
dx add web node:22 --entrypoint node --port 8000
""",
    ),
)
