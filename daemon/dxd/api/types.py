"""What goes over the API as JSON. The OpenAPI document's schemas are made from these, so names and docstrings count.

Bodies refuse fields that they do not know; a misspelt one would otherwise do something else than was meant. What a
schema says is necessary: a body against it is 400, one that holds to it and cannot be done all the same is 422.
"""

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from dxd.engine.model import EngineState
from dxd.rebuild.upgrades import Standing
from dxd.runs.model import RunState
from dxd.store.model import Result
from dxd.tools.model import GitAccess, Network, OnChange, Paths, Root, Scratch, Share, User
from dxd.tools.ulimits import NUMBERS


def schema(**keywords: object) -> Meta:
    """More for a schema than msgspec itself checks; what it says is checked where the value is used."""
    return Meta(extra_json_schema=keywords)


VARIABLE = r"^[^\s=*?\[\]\u0000]+$"
Text = Annotated[str, schema(pattern=r"^[^\u0000]*$")]
AbsolutePath = Annotated[str, schema(pattern=r"^/[^\u0000]*$")]
Word = Annotated[str, schema(pattern=r"^[^\s\u0000]+$")]
Size = Annotated[str, schema(pattern=r"^\s*[0-9][0-9.]* ?[A-Za-z]*\s*$")]
Name = Annotated[
    str,
    Meta(
        description="Of a tool or a command",
        extra_json_schema={"pattern": r"^(?!(dx|dxd|dx-cli)$)[A-Za-z0-9][A-Za-z0-9._+-]{0,127}$"},
    ),
]


class Error(Struct, frozen=True):
    """What went wrong, and what to do about it."""

    code: Annotated[str, Meta(description="Stable, for programs")]
    message: Annotated[str, Meta(description="One line for people, without a full stop")]
    hint: Annotated[str, Meta(description="What to do about it; may be empty")]


class Problem(Struct, frozen=True):
    """The one shape of every error."""

    error: Error


class Engine(Struct, frozen=True):
    """What is known of the engine. Asking for it does not ask the engine."""

    state: EngineState
    address: str | None
    version: str | None
    reason: Annotated[str | None, Meta(description="Why it is down")]


class Step(Struct, frozen=True):
    """How one step of a run is done here."""

    step: Annotated[str, Meta(description="`root`, `grants` or `reach`: a fresh root, paths, reaching the agent")]
    way: Annotated[str, Meta(description="By the name in the reference; empty where nothing has been tried yet")]
    reason: Annotated[str, Meta(description="Why it is not the first choice; empty where it is")]
    cure: str


class Unwatched(Struct, frozen=True):
    """Files whose changes nobody tells of, so that they are looked at again and again."""

    message: str
    cure: str


class FailedBuild(Struct, frozen=True):
    """Why a tool's newest build does not serve; the one before does."""

    tool: str
    reason: Annotated[str, Meta(description="One line for people")]


class Status(Struct, frozen=True):
    """The daemon as a whole."""

    version: str
    wire: Annotated[int, Meta(description="Version of the wire to launchers and agents")]
    pid: int
    uptime_s: float
    ready: bool
    engine: Engine
    ladder: Annotated[list[Step], Meta(description="How the steps of a run are done on this machine")]
    tools: Annotated[int, Meta(description="How many are defined")]
    problem: Annotated[str | None, Meta(description="What is wrong with dx.toml; the last good definitions serve")]
    failed_builds: list[FailedBuild]
    unwatched: list[Unwatched]
    containers: Annotated[int, Meta(description="How many are warm")]
    runs: Annotated[int, Meta(description="How many live")]


class Build(Struct, frozen=True, forbid_unknown_fields=True):
    """How to make an image from a Dockerfile."""

    context: Annotated[AbsolutePath, Meta(description="Directory of the build context")]
    file: Annotated[AbsolutePath | None, Meta(description="The Dockerfile; null is `Dockerfile` in the context")] = None
    target: Annotated[Word | None, Meta(description="The stage to build; null is the last")] = None
    args: Annotated[dict[str, Text], schema(propertyNames={"pattern": VARIABLE})] = {}


class MountPaths(Struct, frozen=True, forbid_unknown_fields=True):
    """A mount whose paths have a colon in them."""

    source: AbsolutePath
    target: AbsolutePath
    readonly: bool = False


MountText = Annotated[str, schema(pattern=r"^/[^\u0000]*$"), Meta(description="SRC:DST[:ro]")]
PortText = Annotated[
    str,
    schema(pattern=r"^((\[[0-9A-Fa-f:.]+\]|[0-9]+(\.[0-9]+){3}):)?[0-9]{1,5}(:[0-9]{1,5})?(/(tcp|udp))?$"),
    Meta(description="[ADDRESS:]PORT[:PORT][/udp]; without an address 127.0.0.1"),
]
DeviceText = Annotated[
    str,
    schema(pattern=r"^/dev/[^:\u0000]+(:/dev/[^:\u0000]+)?(:(r|w|rw))?$"),
    Meta(description="/dev/X[:/dev/Y][:MODE]"),
]
EnvEntry = Annotated[
    str,
    schema(pattern=rf"^({VARIABLE[1:-1]}=[^\u0000]*|[^\s=\u0000]+)$"),
    Meta(description="K=V sets; a shell pattern over names passes those of the caller's variables"),
]


class ToolBody(Struct, frozen=True, forbid_unknown_fields=True):
    """A tool as `dx.toml` defines it: exactly one of `image` and `build`, all paths absolute."""

    name: Annotated[Name | None, Meta(description="If there, as in the path")] = None
    image: Annotated[Word | None, Meta(description="A reference as `docker pull` takes it")] = None
    build: Build | None = None
    on_change: Annotated[OnChange, Meta(description="Of a build: what runs do when its files change")] = OnChange.SERVE
    smoke: Annotated[list[Text], Meta(description="Of a build: arguments with which it has to end well to serve")] = []
    entrypoint: Annotated[
        list[Text] | None, Meta(description="In place of the image's; null is the image's own, [] is none at all")
    ] = None
    commands: Annotated[
        list[Name],
        schema(uniqueItems=True),
        Meta(description="Commands of the image to offer; empty is one, the tool's name, which is the entrypoint"),
    ] = []
    network: Network = Network.BRIDGE
    user: Annotated[User, Meta(description="Who a run is: the caller, root, or the image's USER")] = User.ME
    env: list[EnvEntry] = []
    mounts: list[MountText | MountPaths] = []
    paths: Annotated[Paths, Meta(description="What a run sees of the host beside the mounts")] = Paths.AUTO
    git: Annotated[GitAccess, Meta(description="What a run may do to hooks and config of repositories it sees")] = (
        GitAccess.READ
    )
    caches: Annotated[
        list[AbsolutePath],
        schema(uniqueItems=True, maxItems=16),
        Meta(description="Directories in a run's root that stay from run to run, each a volume of the tool's"),
    ] = []
    root: Annotated[Root, Meta(description="Whether what a run writes to its root goes with it")] = Root.FRESH
    scratch: Annotated[Scratch, Meta(description="Where a fresh root is written to")] = Scratch.MEMORY
    scratch_size: Annotated[Size | None, Meta(description="In memory only; null is the daemon's setting")] = None
    memory: Annotated[Size | None, Meta(description="Like 512m or 2g, at least 6m")] = None
    cpus: Annotated[float | None, schema(minimum=0.01, maximum=8192)] = None
    # A float, since JSON has no other numbers: 1e2 is a whole one.
    pids: Annotated[float | None, schema(minimum=1, maximum=4194304, multipleOf=1)] = None
    ulimits: Annotated[
        dict[str, int | Annotated[str, schema(pattern=r"^([0-9]+|unlimited)(:([0-9]+|unlimited))?$")]],
        schema(propertyNames={"enum": list(NUMBERS)}),
        Meta(description="By name, as for `docker run --ulimit`: a number, SOFT:HARD, or unlimited"),
    ] = {}
    ports: list[PortText] = []
    devices: list[DeviceText] = []
    gpus: Annotated[Literal["all"] | list[Word] | None, Meta(description="Numbers or ids; null is none")] = None
    share: list[Share] = []


class Tool(Struct, frozen=True):
    """A tool that is defined."""

    name: str
    image: str | None
    build: Build | None
    on_change: OnChange
    smoke: list[str]
    entrypoint: list[str] | None
    commands: list[str]
    network: Network
    user: User
    env: list[str]
    mounts: list[str | MountPaths]
    paths: Paths
    git: GitAccess
    caches: list[str]
    root: Root
    scratch: Scratch
    scratch_size: str | None
    memory: str | None
    cpus: float | None
    pids: int | None
    ulimits: dict[str, int | str]
    ports: list[str]
    devices: list[str]
    gpus: Literal["all"] | list[str] | None
    share: list[Share]


class Tools(Struct, frozen=True):
    """Every tool, in the order of dx.toml."""

    tools: list[Tool]


class Shims(Struct, frozen=True):
    """What was done to the directory of shims: names of commands."""

    directory: str
    added: list[str]
    removed: list[str]
    foreign: Annotated[list[str], Meta(description="A file that is not dx's own has the name of the command")]
    kept: list[str]


class CheckBody(Struct, frozen=True, forbid_unknown_fields=True):
    """What a dx.toml might say."""

    text: Annotated[str, Meta(description="The whole of the file")]


class NoteLine(Struct, frozen=True):
    """A line that lasts."""

    note: str


class ProgressLine(Struct, frozen=True):
    """A line that takes the place of the one before it."""

    progress: str


class StepState(Struct, frozen=True, omit_defaults=True):
    """How a part of a pull or a build is; told anew whenever something about it changes."""

    id: Annotated[str, Meta(description="The same in every telling")]
    kind: Annotated[
        Literal["work", "step", "detail", "layer"],
        Meta(description="A whole pull or build; an instruction; what a builder does around them; a layer"),
    ]
    of: Annotated[str, Meta(description="The id of the work that it belongs to")]
    name: str
    started_at: datetime | None = None
    ended_at: datetime | None = None
    duration_s: Annotated[float | None, Meta(description="Once it has ended")] = None
    cached: bool = False
    error: Annotated[str, Meta(description='Why it failed; "cancelled" where another one did')] = ""
    state: Annotated[str, Meta(description="What it does just now")] = ""
    current_bytes: int = 0
    total_bytes: int | None = None
    lines: Annotated[list[str], Meta(description="What it printed since it was told last")] = []


class StepLine(Struct, frozen=True):
    """The state of a step."""

    step: StepState


class ImageLine(Struct, frozen=True):
    """The end: the image is there."""

    image: Annotated[str, Meta(description="Its id")]


class DescribeBody(Struct, frozen=True, forbid_unknown_fields=True):
    """What to describe: exactly one of these."""

    image: Annotated[Word | None, Meta(description="A reference; pulled where it is missing")] = None
    package: Annotated[str | None, Meta(description="The content of a package file of Whalebrew")] = None


class Ask(Struct, frozen=True):
    """Something that a tool may do beyond what every tool may."""

    key: Annotated[str, Meta(description="Of the definition")]
    text: Annotated[str, Meta(description="What it is, for people: `use the host's network`")]


class Description(Struct, frozen=True):
    """What an image, or a package, says of the tool that it is meant to be."""

    definition: Annotated[dict[str, object], Meta(description="Keys of a tool; what is left out is left open")]
    asks: list[Ask]
    notes: Annotated[list[str], Meta(description="What of it cannot be had, a line each")]


class DescriptionLine(Struct, frozen=True):
    """The end: what it says."""

    description: Description


class Base64(Struct, frozen=True, forbid_unknown_fields=True):
    """Bytes that are no UTF-8."""

    base64: Annotated[bytes, schema(pattern=r"^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$")]


Bytes = Text | Base64
"""Bytes: a string where they are UTF-8, which they mostly are."""


class LeaseBody(Struct, frozen=True, forbid_unknown_fields=True):
    """Run this."""

    command: Annotated[
        Annotated[str, schema(pattern=r"^[^\u0000]+$")] | Base64,
        Meta(description="A tool, a command of a tool, or an image"),
    ]
    cwd: Annotated[str, schema(pattern=r"^/[^\u0000]*$")] | Base64
    args: list[Bytes] = []
    env: Annotated[list[Bytes], Meta(description="K=V each")] = []
    options: Annotated[dict[str, Text], Meta(description="Options of `dx run`")] = {}


class Grant(Struct, frozen=True):
    """A path of the host to open and to pass to the agent, in this order."""

    path: Bytes
    readonly: bool
    directory: bool


class Lease(Struct, frozen=True):
    """Where to start the run, and what to bring."""

    run: int
    token: Annotated[str, Meta(description="Hexadecimal; good for one start")]
    agent: Annotated[Bytes, Meta(description="The agent's socket")]
    grants: list[Grant]


class Run(Struct, frozen=True):
    """One execution of a command."""

    id: int
    tool: str
    command: str
    container: str
    client_pid: int
    state: RunState
    created_at: datetime
    started_at: datetime | None
    duration_s: float | None
    exit_code: Annotated[int | None, Meta(description="null until it has ended, and where a signal ended it")]
    signal: Annotated[int | None, Meta(description="The signal that ended it")]
    user_s: float | None
    system_s: float | None
    max_rss_bytes: int | None


class Runs(Struct, frozen=True):
    """The latest first."""

    runs: list[Run]


SignalName = Literal["HUP", "INT", "QUIT", "KILL", "USR1", "USR2", "ALRM", "TERM", "CONT", "STOP", "TSTP", "WINCH"]


class SignalBody(Struct, frozen=True, forbid_unknown_fields=True):
    """A signal to send."""

    signal: SignalName
    group: Annotated[bool, Meta(description="To the run's process group, as a terminal does")] = False


class Container(Struct, frozen=True):
    """A warm container."""

    id: str
    image: str
    image_id: str
    tools: list[str]
    network: str
    state: str
    runs: int
    idle_s: float
    created_at: datetime
    agent_pid: int | None


class Containers(Struct, frozen=True):
    """Every warm container."""

    containers: list[Container]


class Cache(Struct, frozen=True):
    """A directory that stays from run to run."""

    tool: str
    path: Annotated[str, Meta(description="Where it is in the root of the tool's runs")]
    volume: Annotated[str, Meta(description="Its name at the engine")]


class Caches(Struct, frozen=True):
    """Every cache there is, by tool and path; also of tools that are not defined any more."""

    caches: list[Cache]


class RootsDropped(Struct, frozen=True):
    """How many layers of a tool's kept root were removed: one for each image that it had."""

    dropped: int


class CachesDropped(Struct, frozen=True):
    """Which caches were removed."""

    dropped: list[Cache]


class BuildRecord(Struct, frozen=True):
    """One attempt to make a tool's image."""

    id: int
    tool: str
    digest: Annotated[str, Meta(description="Of all that goes into it: 64 hexadecimal digits")]
    image_id: Annotated[str | None, Meta(description="null until it is good")]
    began_at: datetime
    duration_s: Annotated[float | None, Meta(description="null while it goes on, and where nobody saw its end")]
    result: Annotated[Result | None, Meta(description="null while it goes on")]
    cause: Annotated[str, Meta(description="Which files changed, for example")]
    asked_by: Annotated[str, Meta(description="`run`, `change`, `dx add`, `upgrade`; there may be more")]
    error: Annotated[str, Meta(description="Why it failed, on one line; empty where it did not")]
    size_bytes: Annotated[int | None, Meta(description="Of its image; null where there is none any more")]
    current: Annotated[bool, Meta(description="Runs of the tool use it")]
    pinned: Annotated[bool, Meta(description="They do until the tool is unpinned, whatever changes")]


class Builds(Struct, frozen=True):
    """The latest first."""

    builds: list[BuildRecord]


class RollbackBody(Struct, frozen=True, forbid_unknown_fields=True):
    """Which build to go back to."""

    # A float, since JSON has no other numbers: 1e2 is a whole one.
    build: Annotated[
        Annotated[float, Meta(ge=1, le=2**53 - 1, multiple_of=1)] | None,
        Meta(description="Its number; null is the latest good one before the one in use"),
    ] = None


class ComparedImage(Struct, frozen=True):
    """An image of a tool, or one that it is built on, and what its registry has of that name."""

    tool: str
    image: Annotated[str, Meta(description="Empty where a Dockerfile cannot be read")]
    is_base: Annotated[bool, Meta(description="The tool is built on it")]
    standing: Standing
    held: Annotated[str | None, Meta(description="The digest here")]
    offered: Annotated[str | None, Meta(description="The registry's")]
    reason: Annotated[str, Meta(description="Why it is unknown, on one line")]


class Compared(Struct, frozen=True):
    """In the order of dx.toml."""

    images: list[ComparedImage]


class UpgradeBody(Struct, frozen=True, forbid_unknown_fields=True):
    """What to upgrade."""

    tools: Annotated[list[str], Meta(description="By name; none means all")] = []


class UpgradedTool(Struct, frozen=True):
    """What became of one tool."""

    tool: str
    images: Annotated[list[str], Meta(description="Those that were pulled for it")]
    error: Annotated[str, Meta(description="Why it was not upgraded, on one line; empty where it was")]


class UpgradedLine(Struct, frozen=True):
    """The end: what became of the tools that had something new, and of those that could not be asked about."""

    upgraded: list[UpgradedTool]


class LockBody(Struct, frozen=True, forbid_unknown_fields=True):
    """What to do with the lock."""

    check: Annotated[bool, Meta(description="Only say what is not as it is locked")] = False
    upgrade: Annotated[
        list[str] | None, Meta(description="Tools to lock to what their tags mean now; an empty list is all")
    ] = None


class LockComplaint(Struct, frozen=True):
    """Why a tool is not locked, or not as it is."""

    tool: Annotated[str, Meta(description="Empty for the lock as a whole")]
    reason: str


class LockedLine(Struct, frozen=True):
    """The end: what is not locked, or not as it is."""

    complaints: list[LockComplaint]


class Freed(Struct, frozen=True):
    """What was removed."""

    images: int
    bytes: Annotated[int, Meta(description="That the engine got back")]


class Dropped(Struct, frozen=True):
    """How many containers were removed."""

    dropped: int


class Stopping(Struct, frozen=True):
    """The daemon will end by itself."""

    stopping: bool


def to_bytes(value: str | Base64) -> bytes:
    """What a JSON value of type `Bytes` stands for."""
    return value.encode() if isinstance(value, str) else value.base64


def from_bytes(value: bytes) -> str | Base64:
    """Bytes as a JSON value."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return Base64(base64=value)


def encode(value: object) -> bytes:
    """A value of this module as JSON, with a newline at its end for those who read it in a terminal."""
    return msgspec.json.encode(value) + b"\n"
