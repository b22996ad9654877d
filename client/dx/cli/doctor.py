"""`dx doctor`: everything that a run needs, tried one by one, each with its cure."""

import os
import stat
import sys
from pathlib import Path
from typing import Literal, NamedTuple

from dx import __version__
from dx.answers import Status, Step
from dx.api import compatible
from dx.cli import link, login, screen, search_path
from dx.cli.daemon import unkept_line, until_ready
from dx.cli.verb import EXIT_DX, Namespace, Verb, add_json
from dx.errors import ClientError, Unreachable
from dx.places import Places

CLONE_NEWNS = 0x00020000
CLONE_NEWUSER = 0x10000000


KEPT = ("up", "asleep")
"""What is wanted of services that are to be there, or to be woken, after a reboot."""
_OWN_DIRECTORY = "set DX_RUNTIME_DIR to a directory of yours"


class Finding(NamedTuple):
    """What one check found: `warn` is a thing that runs do without."""

    name: str
    state: Literal["ok", "warn", "fail"]
    detail: str
    cure: str = ""


def doctor(given: Namespace) -> int:
    """Check everything; 0 only if nothing failed."""
    places = link.places()
    status, found = check_daemon()
    steps = ladder(status) if status else []
    findings = [
        check_launcher(),
        check_runtime_dir(places),
        *found,
        check_agent(),
        *(finding_of(step) for step in steps if step["step"] != "launcher" or step["reason"]),
        *check_shims(places),
        *(check_login() if status else []),
    ]
    if given.json:
        screen.print_json({"checks": [finding._asdict() for finding in findings], "ladder": steps})
    else:
        colours: dict[str, screen.Colour] = {"ok": "green", "warn": "yellow", "fail": "red"}
        for finding in findings:
            print(
                screen.paint(f"{finding.state:<6}", colours[finding.state])
                + f"{finding.name:<12}{screen.clean(finding.detail)}"
            )
            if finding.cure:
                print(f"{'':18}{screen.paint('cure:', 'bold')} {screen.clean(finding.cure)}")
    return EXIT_DX if any(finding.state == "fail" for finding in findings) else 0


def check_launcher() -> Finding:
    """`dx`, which is what every shim points at."""
    path = link.launcher()
    if path is None:
        return Finding("launcher", "fail", f"dx is not beside {sys.argv[0]}", "install dx again")
    return Finding("launcher", "ok", path)


def check_runtime_dir(places: Places) -> Finding:
    """Where the sockets are: nobody else may put one there."""
    directory = places.runtime_dir
    try:
        found = directory.lstat()
    except FileNotFoundError:
        return Finding("runtime", "ok", f"{directory} is made when the daemon starts")
    except OSError as error:
        return Finding(
            "runtime", "fail", f"{directory}: {error.strerror}", "set DX_RUNTIME_DIR to a directory of yours"
        )
    if not stat.S_ISDIR(found.st_mode):
        return Finding("runtime", "fail", f"{directory} is no directory", f"rm {directory}")
    if found.st_uid != os.geteuid():
        return Finding("runtime", "fail", f"{directory} belongs to uid {found.st_uid}", _OWN_DIRECTORY)
    if stat.S_IMODE(found.st_mode) & 0o077:
        return Finding("runtime", "fail", f"{directory} is open to others", f"chmod 700 {directory}")
    try:
        socket = places.socket.lstat()
    except FileNotFoundError:
        return Finding("runtime", "ok", f"{directory}, without a socket")
    if not stat.S_ISSOCK(socket.st_mode) or socket.st_uid != os.geteuid():
        return Finding("runtime", "fail", f"{places.socket} is no socket of yours", f"rm {places.socket}")
    return Finding("runtime", "ok", str(directory))


def check_daemon() -> tuple[Status | None, list[Finding]]:
    """The daemon, started where it does not run, and what it knows: the engine, dx.toml."""
    try:
        status = until_ready(link.client())
    except Unreachable as error:
        return None, [Finding("daemon", "fail", error.message, error.hint)]
    except ClientError as error:
        return None, [Finding("daemon", "fail", error.message, error.hint or "dx daemon logs")]
    findings = [_daemon_finding(status), _engine_finding(status)]
    if status["problem"]:
        findings.append(Finding("dx.toml", "fail", status["problem"], "dx edit"))
    else:
        findings.append(Finding("dx.toml", "ok", f"{status['tools']} tool{'s' * (status['tools'] != 1)}"))
    findings += [Finding("output", "warn", unkept_line(each), each["cure"]) for each in status["unkept"]]
    findings += [Finding("watching", "warn", each["message"], each["cure"]) for each in status["unwatched"]]
    findings += [
        Finding("build", "warn", failed["reason"], "mend what it is built from; until then the build before it serves")
        for failed in status["failed_builds"]
    ]
    return status, findings


def _daemon_finding(status: Status) -> Finding:
    if not compatible(status["version"]):
        detail = f"the daemon is dx {status['version']}, this is dx {__version__}"
        return Finding("daemon", "fail", detail, "dx daemon restart")
    if not status["ready"]:
        return Finding("daemon", "warn", f"pid {status['pid']} is starting", "wait a moment")
    return Finding("daemon", "ok", f"pid {status['pid']}, dx {status['version']}")


def _engine_finding(status: Status) -> Finding:
    engine = status["engine"]
    if engine["state"] == "up":
        return Finding("engine", "ok", f"version {engine['version']} at {engine['address']}")
    if engine["state"] == "down":
        reason, _, hint = (engine["reason"] or "it does not answer").partition("; ")
        return Finding("engine", "fail", reason, hint or "start Docker, or set DOCKER_HOST")
    return Finding("engine", "warn", "the daemon has not asked it yet", "run dx doctor again")


def check_agent() -> Finding:
    """The program that is PID 1 of every warm container, in the daemon's package."""
    from importlib.util import find_spec

    machine = os.uname().machine
    spec = find_spec("dxd")
    if spec is None or not spec.submodule_search_locations:
        return Finding("agent", "fail", "the daemon's package dxd is not installed", "install dx again")
    path = Path(spec.submodule_search_locations[0], "agent-bin", machine, "agent")
    if not path.is_file():
        return Finding("agent", "fail", f"there is no agent for {machine}: {path} is missing", "install dx again")
    if not os.access(path, os.X_OK):
        return Finding("agent", "fail", f"{path} is not executable", f"chmod +x {path}")
    return Finding("agent", "ok", str(path))


def ladder(status: Status) -> list[Step]:
    """How each step of a run is done here: what the daemon knows, and what only who runs things can try."""
    steps = {step["step"]: step for step in status["ladder"]}
    portable = steps["reach"]["way"] == "portable"
    if not steps["grants"]["reason"] and os.geteuid() != 0 and (error := _try_unshare()):
        refused = f"users may not make namespaces of their own: {os.strerror(error)}"
        detail = f"{refused}; so the engine mounts what runs see, with a container for each set of paths"
        steps["grants"] = {"step": "grants", "way": "bind", "reason": detail, "cure": _allow_namespaces()}
    by_python = "it speaks to agents that are out of a launcher's reach"
    steps["launcher"] = {
        "step": "launcher",
        "way": "python" if portable else "c",
        "reason": by_python if portable else "",
        "cure": "",
    }
    return list(steps.values())


def finding_of(step: Step) -> Finding:
    """The step as a check; whatever is in use works."""
    if not step["way"]:
        return Finding(step["step"], "ok", "not tried yet; the first run does")
    if not step["reason"]:
        return Finding(step["step"], "ok", step["way"])
    return Finding(step["step"], "warn", f"{step['way']}: {step['reason']}", step["cure"])


def _allow_namespaces() -> str:
    for setting, bad, cure in (
        ("kernel/apparmor_restrict_unprivileged_userns", "1", "sysctl kernel.apparmor_restrict_unprivileged_userns=0"),
        ("kernel/unprivileged_userns_clone", "0", "sysctl kernel.unprivileged_userns_clone=1"),
        ("user/max_user_namespaces", "0", "sysctl user.max_user_namespaces=10000"),
    ):
        try:
            if Path("/proc/sys", setting).read_text().strip() == bad:
                return f"as root: {cure}"
        except OSError:
            continue
    return "ask who runs this machine to allow them"


def _try_unshare() -> int:
    """Make one in a child; 0, or the error."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    child = os.fork()
    if child == 0:
        failed = libc.unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0
        os._exit(ctypes.get_errno() if failed else 0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def check_shims(places: Places) -> list[Finding]:
    """The directory of commands: on PATH, before others of the same name, and pointing at this dx."""
    directory = places.shims_dir
    if not search_path.has(str(directory)):
        cure = f"put this into your shell's start-up file: {search_path.activation()}"
        return [Finding("shims", "warn", f"{directory} is not on PATH", cure)]
    try:
        shims = sorted(each for each in directory.iterdir() if each.is_symlink())
    except OSError:
        shims = []
    findings = [Finding("shims", "ok", f"{len(shims)} in {directory}")]
    hidden = {shim.name: before for shim in shims if (before := search_path.before(shim.name, str(directory)))}
    if hidden:
        shown = ", ".join(hidden.values())
        cure = "let the line with dx activate be the last that changes PATH"
        findings.append(Finding("PATH", "warn", f"these come before dx's: {shown}", cure))
    broken = [shim.name for shim in shims if not shim.exists()]
    if broken:
        findings.append(Finding("shims", "fail", f"these lead nowhere: {', '.join(broken)}", "dx reshim"))
    return findings


def check_login() -> list[Finding]:
    """Whether services come back after a reboot without a command, where any are kept."""
    try:
        projects = link.client().projects()
    except ClientError:
        return []  # the daemon's own finding says it
    if not any(service["wanted"] in KEPT for project in projects for service in project["services"]):
        return []
    if by := login.starter():
        return [Finding("login", "ok", by)]
    return [Finding("login", "warn", "services are down after a reboot until the first dx command", login.cure())]


VERBS = (
    Verb(
        "doctor",
        "Check everything that a run needs, and say how to mend it",
        doctor,
        add_json,
        description="Starts the daemon where it does not run, to see whether it can.",
        examples="dx doctor\ndx doctor --json | jq '.checks[] | select(.state != \"ok\")'",
    ),
)
