"""What goes over the API as JSON. The OpenAPI document's schemas are made from these, so names and docstrings count.

Bodies refuse fields that they do not know; a misspelt one would otherwise do something else than was meant. What a
schema says is necessary: a body against it is 400, one that holds to it and cannot be done all the same is 422.
"""

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from dxd.engine.model import EngineState
from dxd.runs.model import RunState
from dxd.store.model import Result


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


class Unkept(Struct, frozen=True):
    """A service whose output is not kept for now."""

    project: str
    service: str
    reason: Annotated[str, Meta(description="One line for people")]
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
    unkept: list[Unkept]
    containers: Annotated[int, Meta(description="How many are warm")]
    runs: Annotated[int, Meta(description="How many live")]


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
    """One attempt to make a tool's image, or one that was pulled for it."""

    id: int
    tool: str
    digest: Annotated[
        str,
        Meta(description="Of all that goes into it; with `sha256:` before it that of an image that was pulled"),
    ]
    image_id: Annotated[str | None, Meta(description="null until there is one")]
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
        Meta(description="Its number; null is the one that served before the one in use"),
    ] = None


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
