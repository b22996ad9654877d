"""What the edge needs of the rooms below and of `app`: one narrow interface each.

All methods may raise `DxError`; nothing here knows of HTTP.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from dxd.compose.model import Source
from dxd.engine.model import ContainerId, EngineStatus, Image
from dxd.kit.progress import Progress
from dxd.logs.model import Query, ServiceId, Unkept
from dxd.logs.weave import Entry
from dxd.rebuild.comparison import Compared
from dxd.rebuild.locking import Complaint
from dxd.rebuild.pushes import Pushed
from dxd.rebuild.upgrades import Consent, Upgraded
from dxd.runs.model import Elsewhere, Lease, LeaseRequest, Run, RunId, StillAlive
from dxd.services.model import ProjectView
from dxd.snapshots.model import Snapshot
from dxd.store.consumers import Consumer
from dxd.store.model import BuildId, BuildView, Freed
from dxd.tools.model import Tool
from dxd.tools.shims import Changes
from dxd.trust.projects import Review
from dxd.warm.ladder import Step
from dxd.warm.model import ContainerView, VolumeKind
from dxd.warm.volumes import VolumeView
from dxd.watch.model import Problem as Unwatched


class Runs(Protocol):
    """Leases, and the runs that came of them."""

    async def lease(self, request: LeaseRequest, progress: Progress) -> Lease | StillAlive | Elsewhere:
        """Answer a request; `StillAlive` only where `request.late` is set, `Elsewhere` only where `framed` is not.

        Cancelled when the client goes away. `progress` may be used until it returns.
        """

    async def connect(self, run: RunId, inner: asyncio.Protocol) -> None:
        """The run link of a run that is leased, through the engine: `inner` gets its bytes, and closes it.

        Raises `NotFound`, and `Conflict` where the run does not wait for one.
        """

    def all(self) -> Sequence[Run]:
        """The runs that are known, the latest first: all that live, and a bounded number of those that ended."""

    def get(self, run: RunId) -> Run:
        """One of them; raises `NotFound`."""

    async def signal(self, run: RunId, number: int, *, group: bool) -> None:
        """Send a signal to a run, or to its process group; raises `NotFound`, and `Conflict` where it has ended."""


class Containers(Protocol):
    """The warm containers."""

    def all(self) -> Sequence[ContainerView]:
        """Every one there is, starting ones too."""

    async def drop(self, container: ContainerId) -> None:
        """Remove one, with the runs in it; raises `NotFound`."""

    async def drop_all(self, tool: str | None) -> int:
        """Remove those that take runs of the tool, or all; returns how many."""


class Volumes(Protocol):
    """What stays between runs."""

    async def all(self, kind: VolumeKind) -> Sequence[VolumeView]:
        """Every one of the kind, by tool and path."""

    async def remove(self, kind: VolumeKind, tool: str, path: str | None) -> Sequence[VolumeView]:
        """Remove those of the tool, or the one at that path; raises `Conflict` where a run uses one."""


class Builds(Protocol):
    """What was built, and which of it runs use."""

    async def all(self, tool: str | None) -> Sequence[BuildView]:
        """Every build, or those of the tool, the latest first."""

    async def get(self, build: BuildId) -> BuildView:
        """One of them; raises `NotFound`."""

    async def log(self, build: BuildId) -> AsyncGenerator[bytes, None]:
        """What it said, bit by bit; the caller closes it. Raises `NotFound` before the first bit."""

    async def rollback(self, tool: str, build: BuildId | None) -> BuildView:
        """Have runs use that build, or the one that served before the one in use, until `unpin`; the build it is.

        Raises `UnknownTool`, `NotFound` where there is none of that number or none before, and `Conflict` where it is
        not the tool's, is not good, or its image is gone.
        """

    async def unpin(self, tool: str) -> None:
        """Have runs use what the tool's inputs make; nothing changes where nothing is pinned. Raises `UnknownTool`."""

    async def prune(self) -> Freed:
        """Remove builds, and images of ours, that are neither used nor kept; what that freed."""


class Upgrades(Protocol):
    """What registries have anew."""

    async def outdated(self, names: Sequence[str] = ()) -> Sequence[Compared]:
        """Every image of these tools, or of all, and how it stands; raises `UnknownTool`."""

    async def upgrade(self, names: Sequence[str], progress: Progress, consent: Consent) -> Sequence[Upgraded]:
        """Pull what is outdated, and build what is built on it; what became of each tool. Raises `UnknownTool`."""


class Locking(Protocol):
    """The locks, each beside a dx.toml: a project's by its directory, and the user's."""

    async def lock(
        self, project: Path | None, upgrade: Sequence[str] | None, progress: Progress
    ) -> Sequence[Complaint]:
        """Lock what is not, and what those tools' tags mean now, of all where none is named; why some are not."""

    async def check(self, project: Path | None, progress: Progress) -> Sequence[Complaint]:
        """What is not as it is locked; writes nothing."""


class Pushes(Protocol):
    """Publishing tools."""

    async def push(self, name: str, to: str, wanted: Mapping[str, str], progress: Progress) -> Pushed:
        """Push the tool's image with these labels; raises `UnknownTool`, `BadDefinition`, `Refused`, `PushFailed`."""


class Projects(Protocol):
    """What projects ask for and may, by their directories."""

    def known(self) -> Sequence[Path]:
        """Those of which something is allowed."""

    def review(self, directory: Path) -> Review:
        """What there is to allow; raises `NotFound`."""

    async def allow(self, directory: Path, digest: str) -> None:
        """Allow what the review of that digest showed; raises `Conflict`."""

    async def forget(self, directory: Path) -> None:
        """Allow nothing any more; raises `NotFound`."""


class Logs(Protocol):
    """What services printed, and print."""

    def unkept(self) -> Mapping[ServiceId, Unkept]:
        """Whose output is not kept for now, because of the disk."""

    async def read(self, query: Query) -> AsyncGenerator[list[Entry], None]:
        """Lines and marks in the order of their times; the caller closes it. Raises `NotFound` before the first."""


LogServices = Callable[[str, str, Sequence[str]], Awaitable[Sequence[ServiceId]]]
"""The services that are meant by a directory or a project's name, of which one is empty, and by their own names, where
none means all. Raises `NotFound`, `BadName`."""


class Images(Protocol):
    """Images by name."""

    async def resolve(self, source: Tool | str, progress: Progress, *, rebuild: bool = False) -> Image:
        """The image of a tool, or of a reference: pulled or built where it is missing.

        Raises `Conflict` where it shall be built and is pinned.
        """

    async def removed(self, name: str) -> None:
        """The tool is defined no more."""


class Services(Protocol):
    """Projects that are known, and their services."""

    async def all(self) -> Sequence[ProjectView]:
        """Every one, by name."""

    async def find(self, name: str | None, cwd: str | None) -> ProjectView:
        """The one of that name, else the one that the directory belongs to; raises `UnknownProject`."""

    async def up(
        self, source: Source, services: Sequence[str], progress: Progress, *, wait: bool, recreate: bool, build: bool
    ) -> ProjectView:
        """Have services, or all, and what they depend on; with `wait` until they are ready, or one has fallen."""

    async def start(self, name: str, services: Sequence[str], progress: Progress, *, wait: bool) -> ProjectView:
        """Start services that were stopped."""

    async def stop(self, name: str, services: Sequence[str], progress: Progress) -> ProjectView:
        """Stop services, or all."""

    async def restart(
        self, name: str, source: Source, services: Sequence[str], progress: Progress, *, wait: bool
    ) -> ProjectView:
        """Read the files again, with the environment of `source` where it has one, and start services anew."""

    async def wait(self, name: str, services: Sequence[str], progress: Progress) -> ProjectView:
        """Return when services are ready or done; raises `ServiceFailed`."""

    async def down(self, name: str, progress: Progress, *, volumes: bool) -> None:
        """Remove containers and networks, and volumes where that is asked for."""

    async def forget(self, name: str) -> None:
        """Look after it no more."""

    async def variables(self, name: str) -> Mapping[str, str]:
        """Where its services are."""

    async def on_terminal(self, name: str, service: str) -> tuple[Sequence[str], Mapping[str, str]]:
        """How to call Compose for a service; raises `UnknownService`."""


class Sharing(Protocol):
    """Uses of services by other projects."""

    async def all(self) -> Sequence[Consumer]:
        """Every one."""

    async def use(self, consumer: str, alias: str, *, of: str, service: str, progress: Progress) -> Mapping[str, str]:
        """Have the service be ready; where it is, as variables."""

    async def leave(self, consumer: str, alias: str) -> None:
        """A use has ended."""


class Data(Protocol):
    """What services have in their volumes."""

    async def all(self, project: str | None) -> Sequence[Snapshot]:
        """The snapshots of a project, known or not, or every one; the latest first."""

    async def save(self, project: str, name: str, services: Sequence[str], progress: Progress) -> Snapshot:
        """Save the volumes of services, or of all; raises `BadName`, `NotFound`, `Conflict`, `ServiceFailed`."""

    async def restore(self, project: str, name: str, services: Sequence[str], progress: Progress) -> Snapshot:
        """Put back what a snapshot has of services, or all; raises `NotFound`, `Conflict`, `ServiceFailed`."""

    async def reset(self, project: str, services: Sequence[str], progress: Progress) -> ProjectView:
        """Empty the volumes of services, or of all; raises `NotFound`, `Conflict`, `ServiceFailed`."""

    async def remove(self, project: str, name: str) -> Snapshot:
        """Remove a snapshot; raises `NotFound`."""


class Status(Protocol):
    """What only `app` knows of the whole."""

    def ready(self) -> bool:
        """Whether what was there before the daemon started has been adopted."""

    def engine(self) -> EngineStatus:
        """What is known of the engine; does not ask it."""

    def failed_builds(self) -> Mapping[str, str]:
        """By tool, why its newest build does not serve."""

    def unwatched(self) -> Sequence[Unwatched]:
        """What is looked at again and again, because nobody tells of changes."""

    def ladder(self) -> Sequence[Step]:
        """How each step of a run is done here."""


Stop = Callable[[str], None]
"""Asks the daemon to stop, with the reason; returns at once."""

Shims = Callable[[], Changes]
"""Makes the shims agree with the catalogue; touches the file system, called in a thread."""
