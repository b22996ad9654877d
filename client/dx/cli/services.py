"""`dx port`, `env`, `exec` and `shell`: reaching the services of a project."""

import os
import sys

from dx.cli import link, screen
from dx.cli.projects import add_project, find
from dx.cli.steps import last_of
from dx.cli.verb import Namespace, Parser, UsageError, Verb, add_json
from dx.errors import ClientError
from dx.project_answers import Project, Service

EVERYWHERE = ("", "0.0.0.0", "::")  # noqa: S104 - read, not bound
SHELL = "command -v bash >/dev/null 2>&1 && exec bash; exec sh"


def _port_arguments(parser: Parser) -> None:
    parser.add_argument("service", metavar="SERVICE", help="the service")
    parser.add_argument(
        "port", metavar="PORT", nargs="?", help="its own port, like 5432 or 53/udp (default: the first)"
    )
    add_project(parser)
    add_json(parser)


def port(given: Namespace) -> int:
    """Say where a service is reached."""
    service = _service(find(given), given.service)
    target, _, protocol = (given.port or "").partition("/")
    if target and not target.isdigit():
        raise UsageError(f"{given.port!r} is no port")
    found = [
        each
        for each in sorted(service["ports"], key=lambda each: each["target"])
        if not target or (each["target"], each["protocol"]) == (int(target), protocol or "tcp")
    ]
    if not found:
        which = f"its port {given.port}" if target else "a port"
        hint = "dx up" if service["running_s"] is None else "add it to `ports` in the compose file, then: dx up"
        raise ClientError(f"{service['name']} does not publish {which} now", hint)
    address = "127.0.0.1" if found[0]["address"] in EVERYWHERE else found[0]["address"]
    if given.json:
        screen.print_json({"ports": found})
    else:
        print(f"[{address}]:{found[0]['port']}" if ":" in address else f"{address}:{found[0]['port']}")
    return 0


def _env_arguments(parser: Parser) -> None:
    add_project(parser)
    add_json(parser)


def env(given: Namespace) -> int:
    """Print where services are, for the shell."""
    import shlex

    variables = link.client().project_variables(find(given)["name"])
    if given.json:
        screen.print_json(variables)
        return 0
    for name, value in sorted(variables.items()):
        print(f"export {name}={shlex.quote(value)}")
    return 0


def _exec_arguments(parser: Parser) -> None:
    parser.add_argument("--user", "-u", metavar="USER", help="as this user")
    parser.add_argument("--workdir", "-w", metavar="PATH", help="in this directory of the container")
    parser.add_argument("--project", "-p", metavar="PROJECT", help="the project (default: the one of this directory)")
    parser.add_argument("service", metavar="SERVICE", help="the service")
    parser.add_argument("command", metavar="COMMAND", help="what to run in its container")
    parser.add_argument("arguments", metavar="ARGUMENT", nargs="...", help="its arguments")


def exec_(given: Namespace) -> int:
    """Run a command in a service's container."""
    options = [
        *(["--user", given.user] if given.user else []),
        *(["--workdir", given.workdir] if given.workdir else []),
    ]
    return _become(given, [*options, given.service, given.command, *given.arguments])


def _shell_arguments(parser: Parser) -> None:
    parser.add_argument("service", metavar="SERVICE", help="the service")
    add_project(parser)


def shell(given: Namespace) -> int:
    """Run a shell in a service's container."""
    return _become(given, [given.service, "sh", "-c", SHELL])


def _become(given: Namespace, arguments: list[str]) -> int:
    """Take on the shape of Compose's own `exec`, which has terminals and signals right; what sleeps is woken first."""
    project = find(given)
    if _service(project, given.service)["state"] == "sleeps":
        last_of(link.client().change_services(project["name"], "wait", services=[given.service]), "project")
    way = link.client().service_terminal(project["name"], given.service)
    # Without a terminal on either side Compose would complain of one that is missing.
    plain = [] if screen.is_terminal(sys.stdin) and screen.is_terminal(sys.stdout) else ["--no-tty"]
    argv = [*way["argv"], "exec", *plain, *arguments]
    environ = {key: value for key, value in os.environ.items() if key not in ("COMPOSE_FILE", "DOCKER_CONTEXT")}
    if sys.stdout is not None:
        sys.stdout.flush()
    try:
        os.execvpe(argv[0], argv, {**environ, **way["env"]})  # noqa: S606 - no shell is wanted
    except OSError as error:
        raise ClientError(f"{argv[0]}: {error.strerror}", "see: dx doctor") from None


def _service(project: Project, name: str) -> Service:
    for each in project["services"]:
        if each["name"] == name:
            return each
    known = ", ".join(each["name"] for each in project["services"]) or "none"
    raise ClientError(f"the project {project['name']} has no service {name!r}", f"it has {known}")


VERBS = (
    Verb(
        "port",
        "Say where a service is reached on this machine",
        port,
        _port_arguments,
        examples="dx port web\ndx port db 5432\npsql -h localhost -p $(dx port db | cut -d: -f2)",
    ),
    Verb(
        "env",
        "Print where services are, as variables for the shell",
        env,
        _env_arguments,
        description="WEB_HOST and WEB_PORT for each service with a port; DATABASE_URL, REDIS_URL and their like where\n"
        "the image shows what it is, with the login that the compose file gives it.",
        examples='eval "$(dx env)"\ndx env --json',
    ),
    Verb(
        "exec",
        "Run a command in a service's container",
        exec_,
        _exec_arguments,
        description="The container is the service's own, so what the command changes stays changed. Everything after\n"
        "the service belongs to the command.",
        examples="dx exec db psql -U postgres\ndx exec --user root web sh -c 'id'",
    ),
    Verb("shell", "Run a shell in a service's container", shell, _shell_arguments, examples="dx shell web"),
)
