"""`dx ls`, `dx show` and `dx rm`: the tools that are defined."""

from typing import TYPE_CHECKING

from dx.answers import Build, Mount, Tool
from dx.cli import link, screen
from dx.cli.verb import EXIT_DX, Namespace, Parser, Verb, add_json
from dx.errors import ClientError

if TYPE_CHECKING:
    from dx.api import Client


def _ls_arguments(parser: Parser) -> None:
    parser.add_argument("--names", action="store_true", help="only the names, one a line")
    parser.add_argument("--commands", action="store_true", help="only the commands, one a line")
    parser.add_argument("--all", action="store_true", help="those of all projects, by their whole names")
    add_json(parser)


def ls(given: Namespace) -> int:
    """List the tools."""
    client = link.client()
    tools = client.tools(None if given.all else link.here())
    if not given.all:
        tools = [{**tool, "name": tool["name"] if given.json else link.word(tool["name"])} for tool in tools]
    if given.json:
        screen.print_json({"tools": tools})
    elif given.names or given.commands:
        for line in [line for tool in tools for line in ([tool["name"]] if given.names else _commands(tool))]:
            print(line)
    elif tools:
        headings: tuple[str, ...] = ("TOOL", "COMMANDS", "IMAGE", "NETWORK")
        rows: list[tuple[str, ...]] = [
            (tool["name"], " ".join(_commands(tool)), _source(tool), tool["network"]) for tool in tools
        ]
        if any(tool["project"] for tool in tools):
            headings = (*headings, "PROJECT")
            rows = [(*row, tool["project"] or "") for row, tool in zip(rows, tools, strict=True)]
        print(screen.table(headings, rows))
    else:
        screen.say("There are no tools yet. The first: dx add NAME IMAGE")
    if not (given.names or given.commands):
        if any(tool["project"] for tool in tools) and not given.all:
            _say_untrusted(client, next(tool["project"] for tool in tools if tool["project"]))
        status = client.status()
        if problem := status["problem"]:
            screen.complain(problem, "until then the last good definitions serve; mend it with: dx edit")
        for failed in status["failed_builds"]:
            screen.complain(failed["reason"], "until it is mended the build before it serves")
    return 0


def _say_untrusted(client: "Client", project: str | None) -> None:
    review = client.reviews(project)[0]
    if review["problem"]:
        screen.complain(review["problem"])
    elif review["new"]:
        screen.complain(
            f"{project} asks for what is not allowed yet", "until then such tools do not run; see: dx trust"
        )


def _show_arguments(parser: Parser) -> None:
    parser.add_argument("name", metavar="NAME", help="the tool")
    add_json(parser)


def show(given: Namespace) -> int:
    """Show one tool's definition."""
    tool = link.client().tool(given.name, cwd=link.here())
    if given.json:
        screen.print_json(tool)
        return 0
    lines: list[tuple[str, str]] = [("tool", tool["name"]), ("commands", " ".join(_commands(tool)))]
    if tool["image"] is not None:
        lines.append(("image", tool["image"]))
    if tool["build"] is not None:
        lines += _build_lines(tool["build"])
    if tool["on_change"] != "serve":
        lines.append(("on_change", tool["on_change"]))
    if tool["smoke"]:
        lines.append(("smoke", _quoted(tool["smoke"])))
    if tool["entrypoint"] is not None:
        lines.append(("entrypoint", _quoted(tool["entrypoint"]) or "(none)"))
    lines.append(("network", tool["network"]))
    settings = (("user", tool["user"], "me"), ("paths", tool["paths"], "auto"), ("git", tool["git"], "read"))
    lines += [(key, value) for key, value, usual in settings if value != usual]
    lines += [("env", each) for each in tool["env"]]
    lines += [("mount", _mount(each)) for each in tool["mounts"]]
    lines += _root_lines(tool)
    for key, value in (("memory", tool["memory"]), ("cpus", tool["cpus"]), ("pids", tool["pids"])):
        if value is not None:
            lines.append((key, f"{value:g}" if isinstance(value, float) else str(value)))
    lines += [("ulimit", f"{name}={value}") for name, value in tool["ulimits"].items()]
    listed = (tool["ports"], tool["devices"], tool["share"], tool["needs"])
    for key, each in zip(("port", "device", "share", "needs"), listed, strict=True):
        lines += [(key, text) for text in each]
    if tool["gpus"]:
        lines.append(("gpus", tool["gpus"] if isinstance(tool["gpus"], str) else " ".join(tool["gpus"])))
    for key, text in lines:
        print(screen.paint(f"{key:<10}", "dim"), screen.clean(text))
    return 0


def _rm_arguments(parser: Parser) -> None:
    parser.add_argument("names", metavar="NAME", nargs="+", help="a tool")
    add_json(parser)


def rm(given: Namespace) -> int:
    """Forget tools; each on its own, so that one which is unknown does not keep the others."""
    client = link.client()
    removed, failed = [], False
    for name in dict.fromkeys(given.names):
        try:
            client.delete_tool(name)
        except ClientError as error:
            screen.complain(error.message, error.hint)
            failed = True
        else:
            removed.append(name)
    if given.json:
        screen.print_json({"removed": removed})
    else:
        for name in removed:
            print(f"{name} is removed")
    return EXIT_DX if failed else 0


def _commands(tool: Tool) -> list[str]:
    return tool["commands"] or [link.word(tool["name"])]


def _source(tool: Tool) -> str:
    return tool["image"] or (f"built from {tool['build']['context']}" if tool["build"] else "")


def _build_lines(build: Build) -> list[tuple[str, str]]:
    lines = [("build", build["context"])]
    if build["file"]:
        lines.append(("file", build["file"]))
    if build["target"]:
        lines.append(("target", build["target"]))
    return lines + [("arg", f"{name}={value}") for name, value in build["args"].items()]


def _root_lines(tool: Tool) -> list[tuple[str, str]]:
    """What stays of its root, and where the rest is."""
    lines = [("root", tool["root"])] if tool["root"] != "fresh" else []
    if tool["scratch"] != "memory" or tool["scratch_size"] is not None:
        lines.append(("scratch", " ".join(filter(None, (tool["scratch"], tool["scratch_size"])))))
    return lines + [("cache", each) for each in tool["caches"]]


def _mount(mount: str | Mount) -> str:
    if isinstance(mount, str):
        return mount
    missing = mount.get("missing", "error")
    words = [*["read-only"] * mount["readonly"], *[missing] * (missing != "error")]
    return " ".join((f"{mount['source']} at {mount['target']}", *words))


def _quoted(words: list[str]) -> str:
    import shlex

    return shlex.join(words)


VERBS = (
    Verb("ls", "List the tools", ls, _ls_arguments, examples="dx ls\ndx ls --json | jq -r '.tools[].name'"),
    Verb("show", "Show how a tool is defined", show, _show_arguments, examples="dx show jq\ndx show jq --json"),
    Verb(
        "rm",
        "Remove tools, and the shims of their commands",
        rm,
        _rm_arguments,
        description="Their images stay; the engine's own commands remove those.",
        examples="dx rm jq\ndx rm gcc clang",
    ),
)
