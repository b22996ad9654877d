"""`dx status` and `dx daemon`: whether the daemon runs, and have it start or stop. Neither starts it by accident."""

import os
import select
import time
from pathlib import Path

from dx import __version__
from dx.answers import Status, Unkept
from dx.api import Client, compatible
from dx.cli import link, login, screen
from dx.cli.verb import EXIT_DX, Formatter, Namespace, Parser, Verb, add_json
from dx.errors import ClientError, Unreachable

READY_S = 20.0
"""How long a daemon may take that has just started: longer than it waits for an engine that hangs."""
STOP_S = 30.0
"""How long `dx daemon stop` waits: longer than the daemon gives to requests in flight."""


def _status_arguments(parser: Parser) -> None:
    parser.add_argument("--wait", action="store_true", help=f"wait until it is ready, {READY_S:.0f} s at most")
    add_json(parser)


def until_ready(client: Client) -> Status:
    """How the daemon is once it is ready, or when it has had time enough; raises `ClientError`."""
    deadline = time.monotonic() + READY_S
    while not (current := client.status())["ready"] and time.monotonic() < deadline:
        time.sleep(0.02)
    return current


def status(given: Namespace) -> int:
    """Say how the daemon is; 0 only if it is ready."""
    client = link.client(start=False)
    try:
        current = until_ready(client) if given.wait else client.status()
    except Unreachable as error:
        if given.json:
            screen.print_json({"running": False, "ready": False})
        else:
            screen.complain(error.message, "it starts by itself when it is needed, or with: dx daemon start")
        return EXIT_DX
    if given.json:
        screen.print_json({"running": True, **current})
    else:
        for key, text in _lines(current):
            print(screen.paint(f"{key:<10}", "dim"), screen.clean(text))
    if not given.json and not compatible(current["version"]):
        screen.complain(f"this is dx {__version__}", "run: dx daemon restart")
    return 0 if current["ready"] else EXIT_DX


def _lines(current: Status) -> list[tuple[str, str]]:
    state = "ready" if current["ready"] else "starting"
    engine = current["engine"]
    about_engine = {
        "up": f"up, version {engine['version']}, at {engine['address']}",
        "down": f"down: {engine['reason']}",
    }.get(engine["state"], "not asked yet")
    lines = [
        (
            "daemon",
            f"{state}, dx {current['version']}, pid {current['pid']}, up {screen.duration(current['uptime_s'])}",
        ),
        ("engine", about_engine),
        ("tools", str(current["tools"])),
        ("warm", f"{current['containers']} container{'s' * (current['containers'] != 1)}"),
        ("runs", str(current["runs"])),
    ]
    if current["problem"]:
        lines.append(("problem", current["problem"]))
    lines += [("output", f"{unkept_line(each)}; {each['cure']}") for each in current["unkept"]]
    lines += [("build", failed["reason"]) for failed in current["failed_builds"]]
    lines += [("watching", each["message"]) for each in current["unwatched"]]
    return lines


def unkept_line(each: Unkept) -> str:
    """Whose output is not kept, and why."""
    return f"{each['project']}/{each['service']}: {each['reason']}"


def _daemon_arguments(parser: Parser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)

    def action(name: str, summary: str) -> Parser:
        about = f"{summary.capitalize()}."
        return actions.add_parser(name, help=summary, description=about, formatter_class=Formatter, allow_abbrev=False)

    action("start", "start it, if it does not run")
    action("stop", "stop it; runs go on without it")
    action("restart", "stop it and start it; runs go on meanwhile")
    action("enable", "have systemd start it at login, and keep it running")
    action("disable", "have it start with the first command again")
    logs = action("logs", "show what it wrote")
    logs.add_argument("--follow", "-f", action="store_true", help="go on showing what it writes")
    logs.add_argument("--lines", "-n", metavar="N", type=int, default=100, help="how many to begin with (default: 100)")


def daemon(given: Namespace) -> int:
    """Start, stop, restart, have it started at login, or show the log."""
    client = link.client(start=False)
    match given.action:
        case "start":
            return _start(client)
        case "stop":
            _stop(client)
            return 0
        case "restart":
            _stop(client)
            return _start(client)
        case "enable":
            return _enable(client)
        case "disable":
            login.disable()
            print("The daemon starts with the first command that needs it")
            return 0
        case _:
            return _logs(client, given.lines, follow=given.follow)


def _start(client: Client) -> int:
    try:
        pid = client.status()["pid"]
        print(f"The daemon is running, pid {pid}")
    except Unreachable:
        link.start_daemon()
        print(f"The daemon is started, pid {client.status()['pid']}")
    return 0


def _stop(client: Client) -> None:
    """Ask it to stop and wait until its process has ended."""
    try:
        pid = client.status()["pid"]
    except Unreachable:
        print("The daemon is not running")
        return
    try:
        process = os.pidfd_open(pid)
    except OSError:  # it has ended, or its pid means nothing in here
        process = None
    client.stop()
    deadline = time.monotonic() + STOP_S
    if process is not None:
        ended = select.poll()
        ended.register(process, select.POLLIN)
        gone = bool(ended.poll(STOP_S * 1000))
        os.close(process)
    else:
        gone = _wait_for_silence(client, pid, deadline)
    if not gone:
        raise ClientError(f"the daemon, pid {pid}, has not ended within {STOP_S:.0f} s", "see: dx daemon logs")
    print(f"The daemon is stopped, it was pid {pid}")


def _enable(client: Client) -> int:
    """Hand it over to systemd; one that runs already makes room."""
    login.check(link.places())
    try:
        client.status()
        _stop(client)
    except Unreachable:
        pass
    login.enable(link.places(), Path(link.need_launcher()).parent)
    print(f"The daemon starts at login, and runs, pid {client.status()['pid']}")
    if not login.lingers():
        screen.say("Where nobody logs in, it starts at boot after: loginctl enable-linger")
    return 0


def _wait_for_silence(client: Client, pid: int, deadline: float) -> bool:
    """Until nobody answers, or another daemon does."""
    while time.monotonic() < deadline:
        try:
            if client.status()["pid"] != pid:
                return True
        except ClientError:
            return True
        time.sleep(0.05)
    return False


def _logs(client: Client, lines: int, *, follow: bool) -> int:
    """Hand over to tail, or to journalctl for a daemon that systemd started."""
    file = link.places().log_file
    try:
        where = client.status().get("log", str(file))
    except ClientError:
        where = str(file)
    if where != "journal" and Path(where).exists():
        command = ["tail", "-n", str(max(lines, 0)), *(["-F"] if follow else []), "--", where]
    elif where == "journal" or Path("/run/systemd/system").is_dir():
        command = ["journalctl", "--user", "-u", "dx.service", "-n", str(max(lines, 0)), *(["-f"] if follow else [])]
    else:
        raise ClientError(f"there is no log yet at {where}", "the daemon begins one when it starts")
    os.execvp(command[0], command)  # noqa: S606 - no shell is wanted


VERBS = (
    Verb(
        "status",
        "Say how the daemon is; exits 0 only if it is ready",
        status,
        _status_arguments,
        description="Starts nothing. Ready is when it knows the containers and runs that were there before it.",
        examples="dx status\ndx daemon start && dx status --wait\ndx status --json | jq .engine",
    ),
    Verb(
        "daemon",
        "Start, stop or restart the daemon, have it start at login, or show its log",
        daemon,
        _daemon_arguments,
        description="It starts by itself when it is needed. Runs do not need it: they go on while it is away.\n"
        "Services need it after a reboot: dx daemon enable has systemd start it when you log in.",
        examples="dx daemon restart\ndx daemon enable\ndx daemon logs -f",
    ),
)
