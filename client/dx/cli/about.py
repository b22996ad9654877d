"""`dx help` and `dx version`."""

from typing import NoReturn

from dx import __version__, protocol
from dx.cli import link, screen
from dx.cli.verb import Namespace, Parser, UsageError, Verb, add_json
from dx.errors import ClientError

GROUPS = (
    ("Run", ("run",)),
    ("Tools", ("add", "rm", "ls", "show", "edit", "import", "export", "push")),
    ("Builds", ("builds", "rollback", "unpin", "prune", "outdated", "upgrade", "lock")),
    ("Projects", ("trust",)),
    ("Services", ("up", "down", "start", "restart", "wait", "services", "forget", "port", "env", "exec", "shell")),
    ("Data", ("snapshot", "reset")),
    ("What is going on", ("ps", "stop", "logs", "cache", "status", "daemon", "doctor")),
    ("Your shell", ("activate", "reshim", "completions")),
    ("About dx", ("version", "help")),
)

TOPICS = {
    "environment": """\
Where dx keeps things, and what it looks at.

  DX_CONFIG_DIR    holds dx.toml; else $XDG_CONFIG_HOME/dx, else ~/.config/dx
  DX_STATE_DIR     logs and history; else $XDG_STATE_HOME/dx, else ~/.local/state/dx
  DX_DATA_DIR      the shims; else $XDG_DATA_HOME/dx, else ~/.local/share/dx
  DX_RUNTIME_DIR   sockets and locks; else $XDG_RUNTIME_DIR/dx, else `run` in the state directory
  DX_NO_START      set: never start the daemon by itself
  DOCKER_HOST      the engine; else the current context of docker, else the usual sockets
  VISUAL, EDITOR   what `dx edit` opens
  NO_COLOR         set: no colours

The daemon has the environment of whoever started it.
""",
    "exit-status": """\
What `dx` and the tools' commands exit with.

  0-255   the tool's own status; where a signal ended it, the same signal ends dx
  125     dx or the engine failed, or the arguments made no sense; one line on stderr says what to do
  126     the command is in the image but cannot be executed
  127     the command is not in the image

`dx status` exits 0 only if the daemon is ready.
""",
    "tools": """\
What can stand in dx.toml; `dx edit` opens it, `dx edit --path` says where it is.

  [tools.NAME]
  image = "debian:12"                 the image, or instead of it:
  build = { context = "DIR", file = "DIR/Dockerfile", target = "STAGE", args = { K = "V" } }
                                      and secrets = { ID = "FILE" }, ssh = true: what its steps may read, log in with
  on_change = "serve"                 when what it is built from changes: runs take the image before until the new one
                                      is ready; or "wait", or "manual": nothing is built
  smoke = ["--version"]               arguments with which a new build has to end well before it serves
  entrypoint = ["WORD", "WORD"]       in place of the image's; [] for none at all
  commands = ["cc", "c++"]            commands of the image to offer; without it one: NAME, the entrypoint
  network = "bridge"                  none, bridge, host, or project: that of the compose file around it
  needs = ["db"]                      services of that project that are started, and ready, first
  user = "me"                         me, root or image: who it is inside; your files stay yours
  env = ["K=V", "AWS_*"]              K=V sets; a pattern passes your own variables
  mounts = ["~/data:/data:ro"]        SRC[:DST][:ro], or { source = "...", target = "...", readonly = true }
  paths = "auto"                      what it sees beside: the project, and what its arguments name; or less:
                                      project, none
  git = "read"                        write: it may change hooks and config of the repositories that it sees
  caches = ["~/.cache/pip"]           directories in its root that stay from run to run
  root = "kept"                       its root stays from run to run; dx reset NAME empties it
  scratch = "disk"                    where a fresh root is written to; or "memory", with
  scratch_size = "512m"               what one run may write there
  memory = "512m"                     what all runs may use together
  cpus = 1.5
  pids = 100
  ulimits = { nofile = 1024 }         of each process: a number, "SOFT:HARD" or "unlimited"
  ports = ["8000:80"]                 [ADDRESS:]PORT[:PORT][/udp] of this machine, published while a run lives
  devices = ["/dev/ttyUSB0"]          /dev/X[:/dev/Y][:r|w|rw]
  gpus = "all"                        or ["0", "1"]
  share = ["ssh-agent", "x11"]        and "wayland": the sockets of your session

  [daemon]
  idle_s = 1800                       how long a warm container is kept without runs
  max_warm = 20                       how many at most
  keep_builds = 5                     how many builds of a tool are kept to go back to
  keep_days = 14                      and for how long

Paths are relative to dx.toml's directory; ~ is your home. `dx add` and `dx rm` change the file in place and keep your
comments. An edit counts for the next run; what is wrong in it leaves what was there before, and `dx status` says so.
""",
    "compose": """\
Services: the containers of a project's compose file, kept by the daemon.

  dx up              reads the compose file where you are, has Docker Compose make what is missing, and starts it in
                     order; from then on the project is known, and comes back with dx, until: dx forget
  docker compose     goes on working beside it. What you stop or start that way counts as what you want

A port that somebody else has is another one, which stays; up says which and why, and port and env know it. A second
checkout of a repository is a project of its own, called after its directory.

What falls is started again after a pause of 1 to 60 s, and left alone after 5 falls within 10 minutes; what is ill
is restarted. The file's `restart` is respected: with "no" dx starts nothing again, with "always" also what ended well,
and where the file says nothing, what ended badly.

What a service may have that is dx's own:

  x-dx:
    ready: pg_isready -q           a test that has to succeed once before it is ready; a text for the shell, or a list
    restart-unhealthy: true        false: an unhealthy service is left alone
    seed: psql -f /seed.sql        run once in its container, where a volume was empty, before it is ready
    lazy: true                     it sleeps until somebody connects to its port, or something else needs it
    idle: 10m                      it sleeps again after so long without use
    http: 8000                     it is at http://SERVICE.PROJECT.localhost:7355/; 8000 is in its container

States: ready, done (ended well, and that was all), starting, waiting (for what it depends on), backoff (fell, and is
started again), unhealthy, failed, paused, stopping, stopped, sleeps (until it is needed), absent (it has no container).
""",
}


RUN = Verb("run", "Run a tool, a command of a tool, or any image", lambda _: hand_over(["run", "--help"]))
"""Only its name and summary are used here: it is the launcher's."""


def _help_arguments(parser: Parser) -> None:
    parser.add_argument("topic", metavar="VERB|TOPIC", nargs="?", help=f"a verb, or one of {', '.join(TOPICS)}")


def help_(given: Namespace) -> int:
    """Show the list of verbs, or one verb's help, or a topic."""
    from dx.cli import find

    if given.topic is None:
        print(overview(), end="")
    elif given.topic in TOPICS:
        print(TOPICS[given.topic], end="")
    elif given.topic == "run":
        hand_over(["run", "--help"])
    else:
        try:
            print(find(given.topic).parser().format_help(), end="")
        except UsageError:
            raise UsageError(f"there is no verb or topic {given.topic!r}; see dx help") from None
    return 0


def overview() -> str:
    """The list of verbs."""
    from dx.cli import find

    lines = ["Usage: dx VERB [ARGUMENT...]", "", "Commands that live in images, run as if they were native."]
    for title, names in GROUPS:
        lines += ["", screen.paint(f"{title}:", "bold")]
        lines += [f"  {name:<14}{find(name).summary}" for name in names]
    topics = ", ".join(TOPICS)
    return "\n".join([*lines, "", f"dx VERB --help says more of a verb, dx help TOPIC about: {topics}", ""])


def hand_over(arguments: list[str]) -> NoReturn:
    """Become the launcher."""
    import os
    import sys

    if sys.stdout is not None:
        sys.stdout.flush()
    os.execv(link.need_launcher(), ["dx", *arguments])  # noqa: S606 - no shell is wanted


def version(given: Namespace) -> int:
    """Show this program's version, and the daemon's where one runs."""
    try:
        daemon = link.client(start=False).status()["version"]
    except ClientError:
        daemon = None
    if given.json:
        screen.print_json({"client": __version__, "daemon": daemon, "wire": protocol.WIRE_VERSION})
    else:
        print(f"dx {__version__}")
        if daemon is not None and daemon != __version__:
            print(f"daemon {screen.clean(daemon)}")
    return 0


VERBS = (
    Verb("version", "Show the version", version, add_json, examples="dx version\ndx version --json"),
    Verb("help", "Show the verbs, or more about one", help_, _help_arguments, examples="dx help add\ndx help tools"),
)
