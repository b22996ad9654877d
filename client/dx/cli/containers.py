"""`dx ps` and `dx stop`: services, what is warm, and what runs in it."""

from dx.answers import Container, Run
from dx.cli import link, projects, screen
from dx.cli.verb import EXIT_DX, Namespace, Parser, UsageError, Verb, add_json
from dx.errors import ApiError


def _ps_arguments(parser: Parser) -> None:
    parser.add_argument("--all", "-a", action="store_true", help="services of every project, and runs that have ended")
    projects.add_project(parser)
    add_json(parser)


def ps(given: Namespace) -> int:
    """Show services, warm containers and runs."""
    client = link.client()
    known = projects.chosen(given)
    containers = client.containers()
    runs = client.runs(None if given.all else "live")
    if given.json:
        screen.print_json({"projects": known, "containers": containers, "runs": runs})
        return 0
    tables = []
    if any(each["services"] for each in known):
        tables.append(projects.table(known, named=len(known) > 1 or given.all))
    if containers:
        headings = ("CONTAINER", "IMAGE", "TOOLS", "NETWORK", "STATE", "RUNS", "IDLE", "CREATED")
        tables.append(screen.table(headings, [_container_row(each) for each in containers]))
    if runs:
        headings = ("RUN", "TOOL", "COMMAND", "CONTAINER", "PID", "STATE", "TIME", "STARTED")
        tables.append(screen.table(headings, [_run_row(each) for each in runs]))
    if tables:
        print("\n\n".join(tables))
    else:
        screen.say("Nothing is warm and nothing runs.")
    projects.complain(known)
    return 0


def _stop_arguments(parser: Parser) -> None:
    parser.add_argument("names", metavar="NAME", nargs="*", help="a service of this directory's project, or a tool")
    parser.add_argument("--project", "-p", metavar="PROJECT", help="services of this project")
    parser.add_argument("--all", "-a", action="store_true", help="every warm container")
    add_json(parser)


def stop(given: Namespace) -> int:
    """Stop services, or remove warm containers with what still runs in them."""
    if given.all and (given.names or given.project is not None):
        raise UsageError("--all is every warm container, and goes without names")
    client = link.client()
    project = None if given.all else projects.find(given) if given.project is not None else projects.find_here()
    if project is not None:
        known = {each["name"] for each in project["services"]}
        if given.project is not None or not given.names or known.issuperset(given.names):
            lines = client.change_services(project["name"], "stop", services=given.names)
            projects.show(given, lines)
            return 0
        if known.intersection(given.names):
            raise UsageError("name services or tools, not both at once")
    elif not given.names and not given.all:
        raise UsageError("there is no project here: name tools, or --all")
    dropped: dict[str, int] = {}
    failed = False
    for name in dict.fromkeys(given.names) or (None,):
        try:
            count = client.drop_containers(None if name is None else link.named(client, name))
            if name is not None and not count:
                client.tool(name, cwd=link.here())  # raises if there is none; one that was removed may still be warm
            dropped[name or ""] = count
        except ApiError as error:
            screen.complain(error.message, error.hint)
            failed = True
    total = sum(dropped.values())
    if given.json:
        screen.print_json({"dropped": total})
    elif not failed or dropped:
        print(f"{total} warm container{'s' * (total != 1)} removed" if total else "Nothing was warm")
    return EXIT_DX if failed else 0


def _container_row(container: Container) -> tuple[str, ...]:
    return (
        container["id"][:12],
        _short(container["image"]),
        " ".join(container["tools"]),
        container["network"],
        container["state"],
        str(container["runs"]),
        "" if container["runs"] else screen.duration(container["idle_s"]),
        screen.ago(container["created_at"]),
    )


def _run_row(run: Run) -> tuple[str, ...]:
    return (
        str(run["id"]),
        run["tool"],
        run["command"],
        run["container"][:12],
        str(run["client_pid"]),
        _outcome(run),
        "" if run["duration_s"] is None else screen.elapsed(run["duration_s"]),
        screen.ago(run["started_at"] or run["created_at"]),
    )


def _outcome(run: Run) -> str:
    """The state, and how it ended where it has."""
    if run["signal"] is not None:
        return f"signal {run['signal']}"
    if run["exit_code"] is not None:
        return f"exit {run['exit_code']}"
    return run["state"]


def _short(image: str) -> str:
    """An id as Docker shows it; names stay whole."""
    return image[7:19] if image.startswith("sha256:") and len(image) == 71 else image


VERBS = (
    Verb(
        "ps",
        "Show services, warm containers, and what runs in them",
        ps,
        _ps_arguments,
        description="Services are those of this directory's project; of all, where it is in none.",
        examples="dx ps\ndx ps --all --json",
    ),
    Verb(
        "stop",
        "Stop services of a project, or remove warm containers",
        stop,
        _stop_arguments,
        description="Services stay stopped until somebody starts them; without a name all of the project stop.\n"
        "A tool's warm containers go with what runs in them; the next run makes a new one, which takes as\n"
        "long as `docker run`.",
        examples="dx stop\ndx stop db\ndx stop jq\ndx stop --all",
    ),
)
