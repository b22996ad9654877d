"""The JSON of the API about tools and shims; what all of it has in common is in `types`."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from dxd.api.types import VARIABLE, AbsolutePath, Name, Size, Text, Word, schema
from dxd.tools.model import GitAccess, Network, OnChange, Paths, Root, Scratch, Share, User
from dxd.tools.neighbours import NETWORK
from dxd.tools.ulimits import NUMBERS

ID = r"^[A-Za-z0-9._-]{1,128}$"


class Build(Struct, frozen=True, forbid_unknown_fields=True):
    """How to make an image from a Dockerfile."""

    context: Annotated[AbsolutePath, Meta(description="Directory of the build context")]
    file: Annotated[AbsolutePath | None, Meta(description="The Dockerfile; null is `Dockerfile` in the context")] = None
    target: Annotated[Word | None, Meta(description="The stage to build; null is the last")] = None
    args: Annotated[dict[str, Text], schema(propertyNames={"pattern": VARIABLE})] = {}
    secrets: Annotated[
        dict[str, AbsolutePath],
        schema(propertyNames={"pattern": ID}),
        Meta(description="Files that steps may read, by the id that they ask for; needs docker buildx"),
    ] = {}
    ssh: Annotated[
        AbsolutePath | bool,
        Meta(description="The agent that the daemon knows, or an agent's socket or a key; needs docker buildx"),
    ] = False


class MountPaths(Struct, frozen=True, forbid_unknown_fields=True):
    """A mount whose paths have a colon in them."""

    source: AbsolutePath
    target: AbsolutePath
    readonly: bool = False
    missing: Literal["error", "skip", "create"] = "error"


MountText = Annotated[str, schema(pattern=r"^/[^\u0000]*$"), Meta(description="SRC:DST[:ro][,skip|,create]")]
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
NetworkText = Annotated[
    str,
    schema(pattern=rf"^(none|bridge|host|project(:{NETWORK})?)$"),
    Meta(description="Which network a run sees; `project` is that of the compose project around it"),
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
    network: NetworkText = Network.BRIDGE.value
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
    needs: Annotated[
        list[Annotated[str, schema(pattern=rf"^{NETWORK}$")]],
        schema(uniqueItems=True),
        Meta(description="Services of the project around it that are ready before a run begins"),
    ] = []
    project: Annotated[None, Meta(description="As a tool that was read has it; those of projects are not written")] = (
        None
    )


class Tool(Struct, frozen=True):
    """A tool that is defined."""

    name: Annotated[str, Meta(description="With the project's mark behind an @, where a project has it")]
    image: str | None
    build: Build | None
    on_change: OnChange
    smoke: list[str]
    entrypoint: list[str] | None
    commands: list[str]
    network: NetworkText
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
    needs: list[str]
    project: Annotated[str | None, Meta(description="Directory of the project that has it; null for the user's own")]


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
