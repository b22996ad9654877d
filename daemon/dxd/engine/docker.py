"""The engine, as the rest of the daemon sees it.

    engine = Engine(partial(find_address, os.environ, Path.home()))   # or Engine("unix:///var/run/docker.sock")

Making one never fails and connects nothing. The engine is looked for at the first call, and anew after each
`EngineDown`. Every call has a deadline, within which the looking has to happen too; pulls and builds have a limit on
silence instead. `close` it at the end. Raises `EngineDown`, `EngineTimeout`, `EngineError`, and what a method says
besides.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dxd.engine import raw, reference
from dxd.engine.answer import Answer
from dxd.engine.builders import Builders
from dxd.engine.model import (
    Container,
    ContainerId,
    ContainerSpec,
    EngineInfo,
    EngineStatus,
    HeldImage,
    Image,
    ImageId,
    Printing,
    Published,
    Volume,
)
from dxd.engine.reach import Reach
from dxd.engine.refusal import explained
from dxd.engine.registries import Registries
from dxd.errors import Conflict, EngineDown, ImageMissing, NotFound
from dxd.kit.progress import Progress, Silent

if TYPE_CHECKING:
    from aiodocker import Docker

    from dxd.engine.output import Output

DEADLINE_S = 10.0
DF_DEADLINE_S = 120.0
"""Counting what layers take goes through all of them."""
MAX_LOG_LINES = 1000


class Engine:
    """The one door to the engine. Its methods may be called from any number of tasks at the same time."""

    def __init__(
        self,
        address: str | Callable[[], Sequence[str]],
        *,
        environ: Mapping[str, str] = os.environ,
        deadline_s: float = DEADLINE_S,
        directory: Path | None = None,
    ) -> None:
        """`address` is fixed, or gives the candidates each time that the engine is looked for. In `directory` files are
        put for a moment; those of a process that was killed stay there.
        """
        find = (lambda: [address]) if isinstance(address, str) else address
        self._reach = Reach(find, environ=environ, deadline_s=deadline_s)
        self._registries = Registries(self._reach, environ)
        self._builders = Builders(self._reach, environ, directory)

    def status(self) -> EngineStatus:
        """What the last call found; asks nobody."""
        return self._reach.status()

    async def address(self) -> str:
        """Where the engine is, as DOCKER_HOST has it; looks for it where it was not found yet."""
        async with self._reach.deadline():
            return (await self._reach.found()).address

    @property
    def reach(self) -> Reach:
        """For this room only."""
        return self._reach

    async def close(self) -> None:
        """Cut every connection; calls that are under way fail."""
        await self._reach.close()

    async def info(self) -> EngineInfo:
        """Ask the engine what it is and can do."""
        told = await self._reach.call(lambda docker: docker.system.info())
        connection = await self._reach.found()
        options = told.get("SecurityOptions") or ()
        return EngineInfo(
            version=connection.version,
            api_version=connection.api_version,
            architecture=connection.architecture,
            rootless=any(each.startswith("name=rootless") for each in options),
            apparmor=any(each.startswith("name=apparmor") for each in options),
            cgroup_version=int(told.get("CgroupVersion") or 1),
            address=connection.address,
        )

    async def image(self, ref: str) -> Image | None:
        """The image of that name or id, if the engine holds it; a text that is neither is none."""
        if not reference.may_be_local(ref):
            return None

        async def inspect(docker: "Docker") -> Image:
            return raw.image(await docker.images.inspect(ref))

        try:
            return await self._reach.call(inspect)
        except Answer as answer:
            if answer.status == 404:
                return None
            raise

    async def pull(self, ref: str, progress: Progress) -> None:
        """Fetch an image from its registry, with the user's login; returns when the engine holds it.

        Raises `ImageMissing` or `WrongArchitecture` where it cannot be had. Cancelling it ends the pull.
        """
        # Podman does not say the words, and a stream that was cut looks like one that ended.
        if not await self._registries.pull(ref, progress) and await self.image(ref) is None:
            raise EngineDown(f"the engine broke off pulling {ref}", "try again")

    async def push(self, ref: str, progress: Progress) -> str:
        """Send the image of that name to its registry, with the user's login; returns its digest there.

        Raises `PushFailed`. Cancelling it ends the push.
        """
        return await self._registries.push(ref, progress)

    async def digest(self, ref: str) -> str:
        """The digest that a registry has for a name now, with the user's login; nothing is pulled.

        Raises `ImageMissing` where that cannot be had.
        """
        return await self._registries.digest(ref)

    async def build(
        self,
        context: AsyncIterator[bytes],
        *,
        dockerfile: str,
        tag: str | None,
        progress: Progress,
        target: str | None = None,
        args: Mapping[str, str] | None = None,
        labels: Mapping[str, str] | None = None,
        secrets: Mapping[str, Path] | None = None,
        ssh: Path | bool = False,
        classic: bool = False,
        path: str | None = None,
    ) -> ImageId:
        """Build an image from a tar archive, and tag it where a tag is given; the caller closes `context`.

        Raises `BuildFailed`, after telling the failing step's last lines, and what `context` raises, as it is.
        Cancelling it ends the build. `classic` is for a Dockerfile that begins with an image's id, `path` for one that
        has another name in the archive than the user knows. Only the plugin can have `secrets`, files by id, and `ssh`,
        an agent or a key.
        """
        from dxd.engine.build import BuildRequest  # noqa: PLC0415 - brings aiodocker

        request = BuildRequest(dockerfile, tag, target, args or {}, labels or {}, classic, path, secrets or {}, ssh)
        return await self._builders.build(context, request, progress)

    async def relabel(self, image: ImageId, labels: Mapping[str, str]) -> ImageId:
        """An image that is that one with these labels besides, or instead; the same each time, where the engine can.

        Raises `ImageMissing`, and `BuildFailed` where it had to be built.
        """
        from dxd.engine.relabel import context, load, read, relabelled  # noqa: PLC0415 - brings aiodocker

        async with self._reach.deadline():
            connection = await self._reach.found()
            with self._reach.noting():
                wanted = relabelled(*await read(connection, image), labels)
        with self._reach.noting():
            loaded = await load(connection, wanted)
        if loaded and await self.image(wanted.id) is not None:
            return wanted.id
        return await self.build(
            context(image), dockerfile="Dockerfile", tag=None, labels=labels, progress=Silent(), classic=True
        )

    async def tag(self, image: ImageId, ref: str) -> None:
        """Give an image one more name, which may have been another's; raises `ImageMissing`."""
        repository, _, tag = ref.rpartition(":")
        try:
            await self._reach.call(lambda docker: docker.images.tag(image, repository, tag=tag))
        except Answer as answer:
            if answer.status == 404:
                raise ImageMissing(f"the image {image[7:19]} is gone", "build it again") from None
            raise

    async def images(self, labels: Mapping[str, str]) -> list[HeldImage]:
        """Every image that has all these labels, untagged ones too; an empty value stands for any."""
        wanted = [f"{key}={value}" if value else key for key, value in labels.items()]

        async def find(docker: "Docker") -> list[HeldImage]:
            found = await docker.images.list(filters={"label": wanted})
            return [raw.held_image(each) for each in found]

        return await self._reach.call(find)

    async def layer_bytes(self) -> int:
        """What the layers of all images take together."""
        async with self._reach.deadline(DF_DEADLINE_S):
            connection = await self._reach.found()
            with self._reach.noting():
                told = await connection.get("system/df", {"type": "image"})
        return int(told.get("LayersSize") or 0)

    async def remove_image(self, ref: str) -> bool:
        """Take a name away, or an image by its id; the image goes with its last name. False where it is in use, or the
        id has names; what is gone already is fine.
        """
        try:
            await self._reach.call(lambda docker: docker.images.delete(ref))
        except Answer as answer:
            if answer.status == 409:
                return False
            if answer.status != 404:
                raise
        return True

    async def create(self, spec: ContainerSpec) -> ContainerId:
        """Create a container, not started."""
        connection = await self._reach.facts()
        config = raw.container_config(spec, json_file="json-file" in (connection.log_drivers or ()))
        return await self._reach.call(lambda docker: _create(docker, config, spec.name))

    async def start(self, container: ContainerId) -> None:
        """Start it; a container that does run is left as it is. Raises `PortTaken`, and `Refused` where a device or a
        GPU is not there.
        """
        try:
            await self._reach.call(lambda docker: docker.containers.container(container).start())
        except Answer as answer:
            raise explained(answer) from None

    async def put(self, container: ContainerId, archive: bytes) -> None:
        """Unpack a tar archive at the root of a container, which need not run."""
        await self._reach.call(lambda docker: docker.containers.container(container).put_archive("/", archive))  # type: ignore[no-untyped-call]  # has no types

    async def execute(self, container: str, argv: Sequence[str], inner: asyncio.Protocol) -> None:
        """Begin a program beside a container's own, as root; the id or the name will do.

        `inner` gets a connection that is the program's stdin and stdout, and closes it. Raises `NotFound` where there
        is no such container, or it does not run.
        """
        async with self._reach.deadline():
            connection = await self._reach.found()
            try:
                with self._reach.noting():
                    await connection.execute(container, argv, inner)
            except Answer as answer:
                if answer.status in (404, 409):
                    raise NotFound(f"the container {container} is gone", "try again") from None
                raise

    async def remove(self, container: ContainerId) -> None:
        """Kill it and remove it with its anonymous volumes; returns when it is gone, also where it was already."""
        try:
            await self._reach.call(lambda docker: docker.containers.container(container).delete(force=True, v=True))
        except Answer as answer:
            if answer.status == 404:
                return
            if answer.status != 409:
                raise
            await self._gone(container)  # it is removing itself already, as it does when it ends

    async def _gone(self, container: ContainerId) -> None:
        try:
            await self._reach.call(lambda docker: docker.containers.container(container).wait(condition="removed"))
        except Answer as answer:
            if answer.status != 404:
                raise

    async def containers(self, labels: Mapping[str, str]) -> list[Container]:
        """Every container, running or not, that has all these labels; an empty value stands for any."""
        wanted = [f"{key}={value}" if value else key for key, value in labels.items()]

        async def find(docker: "Docker") -> list[Container]:
            found = await docker.containers.list(all=True, filters={"label": wanted})
            return [raw.container({key: each[key] for key in raw.CONTAINER_KEYS}) for each in found]

        return await self._reach.call(find)

    async def published(self) -> list[Published]:
        """Every port of this machine that leads into a running container."""

        async def find(docker: "Docker") -> list[Published]:
            found = await docker.containers.list()
            return [port for each in found for port in raw.published({key: each[key] for key in raw.PUBLISHED_KEYS})]

        return await self._reach.call(find)

    async def volumes(self, labels: Mapping[str, str]) -> list[Volume]:
        """Every volume that has all these labels; an empty value stands for any."""
        wanted = [f"{key}={value}" if value else key for key, value in labels.items()]

        async def find(docker: "Docker") -> list[Volume]:
            found = await docker.volumes.list(filters={"label": wanted})  # type: ignore[no-untyped-call]  # no types
            return [raw.volume(each) for each in found.get("Volumes") or ()]

        return await self._reach.call(find)

    async def remove_volume(self, name: str) -> None:
        """Remove a volume with what is in it; one that is gone already is fine. `Conflict` where a container has it."""
        try:
            await self._reach.call(lambda docker: _remove_volume(docker, name))
        except Answer as answer:
            if answer.status == 409:
                hint = f"see: docker ps -a --filter volume={name}"
                raise Conflict(f"a container still has the volume {name}", hint) from None
            if answer.status != 404:
                raise

    async def printing(self, container: ContainerId) -> Printing | None:
        """How its output is kept; None where it is gone."""

        async def show(docker: "Docker") -> Printing:
            return raw.printing(await docker.containers.container(container).show())

        try:
            return await self._reach.call(show)
        except Answer as answer:
            if answer.status == 404:
                return None
            raise

    @asynccontextmanager
    async def output(
        self, container: ContainerId, *, since_ns: int = 0, tail: int | None = None, follow: bool, tty: bool
    ) -> "AsyncIterator[Output]":
        """What it printed from `since_ns` on, that moment included, and what it prints until it ends where `follow`.

        `tail` entries of that at most, the latest; without it the engine goes through all that it has. Engine 20.10 may
        end what is followed before the last entries, when the container ends.

        Leaving the block cuts the connection. Raises `NotFound` where the container is gone, `EngineError` where the
        engine does not keep its output.
        """
        seconds, nanoseconds = divmod(since_ns, 10**9)
        params = {"stdout": "1", "stderr": "1", "timestamps": "1", "since": f"{seconds}.{nanoseconds:09}"}
        if tail is not None:
            params["tail"] = str(tail)
        if follow:
            params["follow"] = "1"
        async with self._reach.deadline():
            connection = await self._reach.found()
            try:
                with self._reach.noting():
                    output = await connection.output(container, params, tty=tty)
            except Answer as answer:
                if answer.status in (404, 409):
                    raise NotFound(f"the container {container[:12]} is gone", "see: docker ps -a") from None
                raise
        try:
            yield output
        finally:
            output.close()

    async def ping(self) -> None:
        """Raise `EngineTimeout` or `EngineDown` unless the engine answers now."""
        async with self._reach.deadline():
            connection = await self._reach.found()
            with self._reach.noting():
                await connection.ping()

    async def logs(self, container: ContainerId, lines: int = 20) -> str:
        """The last lines that it printed; empty where it is gone."""

        async def read(docker: "Docker") -> str:
            tail = min(lines, MAX_LOG_LINES)
            return "".join(await docker.containers.container(container).log(stdout=True, stderr=True, tail=tail))

        try:
            return await self._reach.call(read)
        except Answer as answer:
            if answer.status in (404, 409):
                return ""
            raise


async def _remove_volume(docker: "Docker", name: str) -> None:
    from aiodocker.volumes import DockerVolume  # noqa: PLC0415 - brings aiodocker

    # A text, because the library hands it to a query that knows no bool.
    await DockerVolume(docker, name).delete(force="false")  # type: ignore[no-untyped-call]  # has no types


async def _create(docker: "Docker", config: dict[str, Any], name: str | None) -> ContainerId:
    return ContainerId((await docker.containers.create(config, name=name)).id)
