"""`dx push`: publish a tool, so that `dx add` has all of it from its image."""

from pathlib import Path

from dx.answers import Pushed, Tool
from dx.cli import link, screen
from dx.cli.export import labels
from dx.cli.steps import last_of
from dx.cli.verb import EXIT_DX, Namespace, Parser, Verb, add_json


def push(given: Namespace) -> int:
    """Ask where values would become public, then push."""
    client = link.client()
    tool = client.tool(given.name, cwd=link.here())
    if not (given.yes or _may_publish(tool)):
        return EXIT_DX
    found, left_out = labels(tool, str(Path.home()))
    for each in left_out:
        screen.say(f"dx: without the mount of {each}, which is this machine's own")
    pushed: Pushed = last_of(client.push(tool["name"], given.to, found), "pushed", json=given.json)
    if given.json:
        screen.print_json({"pushed": pushed}, line=True)
    else:
        print(f"{pushed['ref']} is {screen.paint(pushed['digest'], 'bold')}")
        screen.say(f"Elsewhere: dx add {link.word(tool['name'])} {pushed['ref']}")
    return 0


def _may_publish(tool: Tool) -> bool:
    """Ask once, if the definition has values of variables: whoever has the image can read them."""
    names = ", ".join(each.partition("=")[0] for each in tool["env"] if "=" in each)
    if not names:
        return True
    said = f"whoever has the image will be able to read the value of {names}"
    if screen.can_ask() and screen.ask(f"{said[0].upper()}{said[1:]}. Push it?"):
        return True
    screen.complain(said, "push it with --yes, or take the value out with: dx edit")
    return False


def _arguments(parser: Parser) -> None:
    parser.add_argument("name", metavar="NAME", help="the tool")
    parser.add_argument("to", metavar="REGISTRY/REPO:TAG", help="where to")
    parser.add_argument("--yes", "-y", action="store_true", help="ask nothing: the values of variables may go too")
    add_json(parser)


VERBS = (
    Verb(
        name="push",
        summary="Publish a tool at a registry",
        act=push,
        arguments=_arguments,
        description=(
            "What the tool's runs take, with labels that say how it is run: those of `dx export`. `dx add NAME IMAGE`\n"
            "gets all of it from there. The login is that of `docker login`. Nothing of it stays on this machine."
        ),
        examples="dx push lint ghcr.io/team/lint:3\ndx push lint registry.example:5000/lint:latest --json",
    ),
)
