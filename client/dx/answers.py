"""What the daemon answers, as `Client` returns it: plain dictionaries, typed."""

from typing import Literal, NotRequired, TypedDict


class Build(TypedDict):
    """How to make an image."""

    context: str
    file: str | None
    target: str | None
    args: dict[str, str]
    secrets: dict[str, str]
    ssh: str | bool


class Mount(TypedDict):
    """A mount whose paths have colons."""

    source: str
    target: str
    readonly: bool
    missing: NotRequired[Literal["error", "skip", "create"]]


class Definition(TypedDict):
    """A tool as one defines it; what is left out has its default."""

    image: NotRequired[str | None]
    build: NotRequired[Build | None]
    on_change: NotRequired[str]
    smoke: NotRequired[list[str]]
    entrypoint: NotRequired[list[str] | None]
    commands: NotRequired[list[str]]
    network: NotRequired[str]
    user: NotRequired[str]
    env: NotRequired[list[str]]
    mounts: NotRequired[list[str | Mount]]
    paths: NotRequired[str]
    git: NotRequired[str]
    caches: NotRequired[list[str]]
    root: NotRequired[str]
    scratch: NotRequired[str]
    scratch_size: NotRequired[str | None]
    memory: NotRequired[str | None]
    cpus: NotRequired[float | None]
    pids: NotRequired[int | None]
    ulimits: NotRequired[dict[str, int | str]]
    ports: NotRequired[list[str]]
    devices: NotRequired[list[str]]
    gpus: NotRequired[Literal["all"] | list[str] | None]
    share: NotRequired[list[str]]
    needs: NotRequired[list[str]]


class Tool(TypedDict):
    """A tool that is defined."""

    name: str
    image: str | None
    build: Build | None
    on_change: str
    smoke: list[str]
    entrypoint: list[str] | None
    commands: list[str]
    network: str
    user: str
    env: list[str]
    mounts: list[str | Mount]
    paths: str
    git: str
    caches: list[str]
    root: str
    scratch: str
    scratch_size: str | None
    memory: str | None
    cpus: float | None
    pids: int | None
    ulimits: dict[str, int | str]
    ports: list[str]
    devices: list[str]
    gpus: Literal["all"] | list[str] | None
    share: list[str]
    needs: list[str]
    project: str | None
    """Directory of the project that has it."""


class Review(TypedDict):
    """What a project asks for."""

    directory: str
    asks: list[str]
    new: list[str]
    """What is not allowed yet."""
    digest: str
    problem: str | None


class Shims(TypedDict):
    """What was done to the shims."""

    directory: str
    added: list[str]
    removed: list[str]
    foreign: list[str]
    kept: list[str]


class Container(TypedDict):
    """A warm container."""

    id: str
    image: str
    image_id: str
    tools: list[str]
    network: str
    state: str
    runs: int
    idle_s: float
    created_at: str
    agent_pid: int | None


class Run(TypedDict):
    """One execution of a command."""

    id: int
    tool: str
    command: str
    container: str
    client_pid: int
    state: str
    created_at: str
    started_at: str | None
    duration_s: float | None
    exit_code: int | None
    signal: int | None
    user_s: float | None
    system_s: float | None
    max_rss_bytes: int | None


class Cache(TypedDict):
    """A directory that stays from run to run."""

    tool: str
    path: str
    volume: str


class BuildRecord(TypedDict):
    """One attempt to make a tool's image."""

    id: int
    tool: str
    digest: str
    """Of all that goes into it."""
    image_id: str | None
    began_at: str
    duration_s: float | None
    result: str | None
    """"good", "failed" or "cancelled"; None while it goes on."""
    cause: str
    asked_by: str
    error: str
    size_bytes: int | None
    current: bool
    pinned: bool


class Freed(TypedDict):
    """What was removed."""

    images: int
    bytes: int


class Engine(TypedDict):
    """What the daemon knows of the engine."""

    state: str
    address: str | None
    version: str | None
    reason: str | None


class Step(TypedDict):
    """How one step of a run is done on this machine."""

    step: str
    way: str
    """Empty where nothing has been tried yet."""
    reason: str
    """Why it is not the first choice; empty where it is."""
    cure: str


class Unwatched(TypedDict):
    """Files whose changes nobody tells of, so that they are looked at again and again."""

    message: str
    cure: str


class Unkept(TypedDict):
    """A service whose output is not kept for now."""

    project: str
    service: str
    reason: str
    cure: str


class FailedBuild(TypedDict):
    """Why a tool's newest build does not serve; the one before does."""

    tool: str
    reason: str


class Status(TypedDict):
    """The daemon as a whole."""

    version: str
    wire: int
    pid: int
    uptime_s: float
    ready: bool
    engine: Engine
    ladder: list[Step]
    tools: int
    problem: str | None
    failed_builds: list[FailedBuild]
    unwatched: list[Unwatched]
    unkept: list[Unkept]
    containers: int
    runs: int
    log: NotRequired[str]


class ComparedImage(TypedDict):
    """An image of a tool, or one that it is built on, and what its registry has of that name."""

    tool: str
    image: str
    is_base: bool
    standing: str
    """"current", "outdated", "missing", "local" or "unknown"."""
    held: str | None
    offered: str | None
    reason: str


class UpgradedTool(TypedDict):
    """What became of one tool."""

    tool: str
    images: list[str]
    error: str
    asks: list["Ask"]
    """What its new image asks for beyond what was allowed; then it was not upgraded."""
    digest: str
    """Of the image that asks."""


class Pushed(TypedDict):
    """What a registry has now."""

    ref: str
    digest: str


class PushLine(TypedDict, total=False):
    """A line of progress: one of these."""

    note: str
    progress: str
    step: "WorkStep"
    pushed: Pushed


class LockComplaint(TypedDict):
    """Why a tool is not locked, or not as it is."""

    tool: str
    """Empty for the lock as a whole."""
    reason: str


class LockLine(TypedDict, total=False):
    """A line of progress: one of these."""

    note: str
    progress: str
    complaints: list[LockComplaint]


class UpgradeLine(TypedDict, total=False):
    """A line of progress: one of these."""

    note: str
    progress: str
    upgraded: list[UpgradedTool]


class WorkStep(TypedDict):
    """How a part of a pull or a build is; told anew whenever something about it changes."""

    id: str
    kind: str
    """"work" for the whole, "step", "detail" or "layer"."""
    of: str
    """The id of the work that it belongs to."""
    name: str
    started_at: NotRequired[str]
    ended_at: NotRequired[str]
    duration_s: NotRequired[float]
    cached: NotRequired[bool]
    error: NotRequired[str]
    """"cancelled" where another step failed."""
    state: NotRequired[str]
    current_bytes: NotRequired[int]
    total_bytes: NotRequired[int]
    lines: NotRequired[list[str]]
    """What it printed since it was told last."""


class LogEntry(TypedDict):
    """A line that a service printed, or a mark between the lines; which one the keys `line` and `mark` say."""

    time: str
    service: str
    container: NotRequired[str]
    """Its name."""
    stream: NotRequired[Literal["stdout", "stderr"]]
    line: NotRequired[str | dict[str, str]]
    """Without its newline; bytes that are no UTF-8 are `{"base64": ...}`."""
    level: NotRequired[str]
    partial: NotRequired[bool]
    """Whether no newline came after it."""
    mark: NotRequired[str]
    reason: NotRequired[str]


class PrepareLine(TypedDict, total=False):
    """A line of progress: one of these."""

    note: str
    progress: str
    step: WorkStep
    image: str


class Ask(TypedDict):
    """Something that a tool may do beyond what every tool may."""

    key: str
    """Of the definition."""
    text: str


class Description(TypedDict):
    """What an image, or a package, says of the tool that it is meant to be."""

    definition: Definition
    asks: list[Ask]
    notes: list[str]
    """What of it cannot be had, a line each."""


class DescribeLine(TypedDict, total=False):
    """A line of progress, or the last: one of these."""

    note: str
    progress: str
    description: Description


class Event(TypedDict):
    """Something that happened; `kind` says which of the others are there."""

    time: str
    kind: str
    """"run.started", "run.finished", "container.ready", "container.gone", or "dropped"; there may be more."""
    id: NotRequired[int | str]
    """The run's, or the container's."""
    tool: NotRequired[str]
    command: NotRequired[str]
    container: NotRequired[str]
    state: NotRequired[str]
    exit_code: NotRequired[int | None]
    signal: NotRequired[int | None]
    duration_s: NotRequired[float | None]
    user_s: NotRequired[float | None]
    system_s: NotRequired[float | None]
    rss: NotRequired[int | None]
    image: NotRequired[str]
    network: NotRequired[str]
    reason: NotRequired[str]
