"""`dx up`, `down`, `start`, `restart`, `wait`, `services` and `forget`: the services of a project."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dx.cli import link, screen
from dx.cli.steps import last_of
from dx.cli.verb import Namespace, Parser, Verb, add_json
from dx.errors import ApiError
from dx.project_answers import Project, Service, UpBody

STATE_COLOURS: dict[str, screen.Colour] = {
    **dict.fromkeys(("ready", "done"), "green"),
    **dict.fromkeys(("starting", "waiting", "backoff", "stopping", "paused"), "yellow"),
    **dict.fromkeys(("failed", "unhealthy"), "red"),
    **dict.fromkeys(("stopped", "sleeps", "absent"), "dim"),
}
UNKNOWN = ("unknown-project", "not-found")


def add_project(parser: Parser) -> None:
    """The option of every verb about a project."""
    parser.add_argument("--project", "-p", metavar="PROJECT", help="the project (default: the one of this directory)")


def find(given: Namespace) -> Project:
    """The project that is meant; raises `ApiError` where there is none."""
    client = link.client()
    return client.project(given.project) if given.project is not None else client.project_of(str(Path.cwd()))


def find_here() -> Project | None:
    """The project of this directory, if one is known."""
    try:
        return link.client().project_of(str(Path.cwd()))
    except ApiError as error:
        if error.code in UNKNOWN:
            return None
        raise


def chosen(given: Namespace) -> list[Project]:
    """Those that `--all` or `--project` means, else the one of this directory, else all."""
    client = link.client()
    if given.project is not None:
        return [client.project(given.project)]
    here = None if given.all else find_here()
    return client.projects() if here is None else [here]


def environment() -> dict[str, str]:
    """The variables that compose files may refer to; what is no text cannot be one."""
    found = {}
    for key, value in os.environ.items():
        try:
            (key + value).encode()
        except UnicodeEncodeError:
            continue
        found[key] = value
    return found


def show(given: Namespace, lines: Iterator[Any], *, quiet: bool = False) -> Project:
    """Follow the work, then say how the services are."""
    project: Project = last_of(lines, "project", json=given.json)
    if given.json:
        screen.print_json(project, line=True)
    elif not quiet:
        print(table([project]))
    return project


def table(projects: list[Project], *, named: bool = False) -> str:
    """The services, with their projects where there may be several."""
    headings = ("SERVICE", "STATE", "FOR", "PORTS", "RESTARTS", "WHY")
    rows = []
    for project in projects:
        for each in project["services"]:
            row = _row(each)
            rows.append((project["name"], *row) if named else row)
    return screen.table(("PROJECT", *headings) if named else headings, rows)


def _row(service: Service) -> tuple[str, ...]:
    return (
        service["name"],
        service["state"],
        "" if service["running_s"] is None else screen.duration(service["running_s"]),
        " ".join(ports(service)),
        str(service["restarts"] or ""),
        service["reason"],
    )


def ports(service: Service) -> list[str]:
    """As `8080->80`, each once though it is there for both families of addresses."""
    found = {
        f"{each['port']}->{each['target']}" + "/udp" * (each["protocol"] == "udp"): None for each in service["ports"]
    }
    return list(found)


def _add_profile(parser: Parser) -> None:
    """The option of every verb that reads the files; the profile stays in force while one of its services is wanted."""
    parser.add_argument(
        "--profile", metavar="PROFILE", action="append", default=[], help="with this profile's services"
    )


def _up_arguments(parser: Parser) -> None:
    parser.add_argument("services", metavar="SERVICE", nargs="*", help="with what it depends on (default: all)")
    parser.add_argument("--wait", action="store_true", help="until all are ready or done; fails as soon as one falls")
    parser.add_argument("--file", "-f", metavar="FILE", action="append", default=[], help="a compose file")
    _add_profile(parser)
    parser.add_argument("--build", action="store_true", help="build images first")
    parser.add_argument("--recreate", action="store_true", help="make containers anew, changed or not")
    add_project(parser)
    add_json(parser)


def up(given: Namespace) -> int:
    """Have services run."""
    body: UpBody = {
        "cwd": str(Path.cwd()),
        "files": given.file,
        "name": given.project,
        "profiles": given.profile,
        "env": environment(),
        "services": given.services,
        "wait": given.wait,
        "build": given.build,
        "recreate": given.recreate,
    }
    show(given, link.client().up(body))
    return 0


def _down_arguments(parser: Parser) -> None:
    parser.add_argument("--volumes", action="store_true", help="named volumes too: their data is lost")
    add_project(parser)
    add_json(parser)


def down(given: Namespace) -> int:
    """Remove containers and networks."""
    project = find(given)
    show(given, link.client().down(project["name"], volumes=given.volumes), quiet=True)
    if not given.json:
        # What is left because somebody else has it was an error.
        print(f"{project['name']} is down; " + ("its volumes are gone" if given.volumes else "its volumes are kept"))
    return 0


def _some_arguments(parser: Parser) -> None:
    parser.add_argument("services", metavar="SERVICE", nargs="*", help="a service (default: all)")
    parser.add_argument("--wait", action="store_true", help="until they are ready or done; fails as soon as one falls")
    add_project(parser)
    add_json(parser)


def _restart_arguments(parser: Parser) -> None:
    _some_arguments(parser)
    _add_profile(parser)


def start(given: Namespace) -> int:
    """Start services that were stopped."""
    name = find(given)["name"]
    show(given, link.client().change_services(name, "start", services=given.services, wait=given.wait))
    return 0


def restart(given: Namespace) -> int:
    """Start services anew."""
    name = find(given)["name"]
    body = {"services": given.services, "wait": given.wait, "profiles": given.profile, "env": environment()}
    lines = link.client().change_services(name, "restart", **body)
    show(given, lines)
    return 0


def _wait_arguments(parser: Parser) -> None:
    parser.add_argument("services", metavar="SERVICE", nargs="*", help="a service (default: all that are to run)")
    add_project(parser)
    add_json(parser)


def wait(given: Namespace) -> int:
    """Wait until services are ready."""
    name = find(given)["name"]
    show(given, link.client().change_services(name, "wait", services=given.services), quiet=True)
    return 0


def _services_arguments(parser: Parser) -> None:
    parser.add_argument("--all", "-a", action="store_true", help="of every project")
    parser.add_argument("--names", action="store_true", help="only the names, one a line")
    add_project(parser)
    add_json(parser)


def services(given: Namespace) -> int:
    """Show services."""
    projects = chosen(given)
    if given.json:
        screen.print_json({"projects": projects})
        return 0
    if given.names:
        for name in dict.fromkeys(each["name"] for project in projects for each in project["services"]):
            print(name)
        return 0
    if any(project["services"] for project in projects):
        print(table(projects, named=len(projects) > 1 or given.all))
    elif not projects:
        screen.say("No project is known yet. The first, where its compose file is: dx up")
    complain(projects)
    return 0


def complain(projects: list[Project]) -> None:
    """What is wrong with them as a whole."""
    for project in projects:
        if project["problem"] is not None:
            screen.complain(project["problem"], "until then what was known counts")


def forget(given: Namespace) -> int:
    """Look after a project no more."""
    project = find(given)
    link.client().forget_project(project["name"])
    if given.json:
        screen.print_json({"forgotten": project["name"]})
    else:
        print(f"{project['name']} is forgotten; its containers are as they were")
    return 0


def _forget_arguments(parser: Parser) -> None:
    add_project(parser)
    add_json(parser)


VERBS = (
    Verb(
        "up",
        "Have the services of a compose file run, and keep them running",
        up,
        _up_arguments,
        description="Docker Compose makes the containers; dx starts them in order, restarts what falls or is\n"
        "unhealthy, and brings all of it back after a reboot: at login, after dx daemon enable.",
        examples="dx up\ndx up --wait db\ndx up --profile debug\ndx up --project shop-2",
    ),
    Verb(
        "down",
        "Remove a project's containers and networks",
        down,
        _down_arguments,
        description="Named volumes are kept, and so is what dx knows of the project.",
        examples="dx down\ndx down --volumes",
    ),
    Verb(
        "start",
        "Start services that were stopped",
        start,
        _some_arguments,
        description="With what they depend on. A service that has failed gets a new chance; one that is lazy is woken\n"
        "where it is named.",
        examples="dx start\ndx start db --wait",
    ),
    Verb(
        "restart",
        "Start services anew, by what their files say now",
        restart,
        _restart_arguments,
        description="The compose file, env files and your environment are read again; containers that are not as\n"
        "they say are made anew.",
        examples="dx restart web\ndx restart --wait",
    ),
    Verb(
        "wait",
        "Wait until services are ready or done",
        wait,
        _wait_arguments,
        description="Fails as soon as one has fallen, and says why.",
        examples="dx wait db && ./migrate",
    ),
    Verb(
        "services",
        "Show services: of this directory's project, or of all",
        services,
        _services_arguments,
        examples="dx services\ndx services --all\ndx services --json | jq -r '.projects[].services[].state'",
    ),
    Verb(
        "forget",
        "Look after a project no more",
        forget,
        _forget_arguments,
        description="Its containers go on, with the restart policies of its file, and do not come back with dx.",
        examples="dx forget\ndx forget --project shop",
    ),
)
