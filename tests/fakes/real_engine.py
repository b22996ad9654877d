"""Fixtures for tests that use the machine's real engine, and leave nothing behind in it."""

import asyncio
import io
import secrets
import tarfile
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import aiodocker
import pytest

from dxd.engine.docker import Engine
from dxd.engine.model import ContainerSpec, ImageId
from dxd.kit.plain import Plain
from dxd.kit.progress import Step
from tests.fakes.proxy import ENGINE, Proxy

BUSYBOX = Path("/bin/busybox")


class Listener:
    """A progress that keeps what it is told, steps in plain lines too."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.lines: list[str] = []
        self.steps: list[Step] = []
        self._plain = Plain(self.note, self.progress)

    def note(self, text: str) -> None:
        self.notes.append(text)

    def progress(self, text: str) -> None:
        self.lines.append(text)

    def step(self, step: Step) -> None:
        self.steps.append(step)
        self._plain.step(step)


class Workshop:
    """Makes images and names for them; all are removed at the test's end, with the containers made from them."""

    def __init__(self, engine: Engine, docker: aiodocker.Docker) -> None:
        self.engine = engine
        self.docker = docker
        self.word = f"dx-test-{secrets.token_hex(4)}"
        """In every name, and the label of every container."""
        self._refs: set[str] = set()

    def name(self, suffix: str = "") -> str:
        """A name for an image, removed at the end if there is one by then."""
        ref = f"{self.word}{suffix}:1"
        self._refs.add(ref)
        return ref

    def forget(self, ref: str) -> str:
        """Have that image removed at the end as well."""
        self._refs.add(ref)
        return ref

    async def image(self, lines: str = "", suffix: str = "") -> ImageId:
        """An image with busybox in it, and what the Dockerfile's lines add."""
        dockerfile = f"FROM scratch\nCOPY busybox /bin/busybox\nLABEL dx.test={self.word}\n{lines}\n"
        files = {"Dockerfile": dockerfile.encode(), "busybox": BUSYBOX.read_bytes()}
        image = await self.engine.build(
            archive(files), dockerfile="Dockerfile", tag=self.name(suffix), progress=Listener()
        )
        self._refs.add(image)
        return image

    def spec(self, image: ImageId, *command: str, **more: object) -> ContainerSpec:
        """A container of that image, on no network; busybox is the command by default."""
        given = {"network": "none", "labels": {"dx.test": self.word}, **more}
        return ContainerSpec(image=image, entrypoint=command or ("/bin/busybox", "sleep", "60"), **given)  # type: ignore[arg-type]

    async def clean(self) -> None:
        for container in await self.engine.containers({"dx.test": self.word}):
            await self.engine.remove(container.id)
        async with asyncio.timeout(20):
            while self._refs:  # more than once round, because one image may be the base of another
                for ref in sorted(self._refs):
                    await self._remove(ref)

    async def _remove(self, ref: str) -> None:
        try:
            await self.docker.images.delete(ref, force=True)
        except aiodocker.DockerError as error:
            if error.status == 409:
                return
            if error.status != 404:
                raise
        self._refs.discard(ref)


async def archive(files: Mapping[str, bytes]) -> AsyncIterator[bytes]:
    """A tar archive of these files, executable each."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(content), 0o755
            tar.addfile(info, io.BytesIO(content))
    yield buffer.getvalue()


EngineMaker = Callable[..., Engine]
"""Makes engines like the class itself does; they are closed at the test's end."""


@pytest.fixture
async def make_engine() -> AsyncIterator[EngineMaker]:
    made: list[Engine] = []

    def make(*args: Any, **more: Any) -> Engine:
        made.append(Engine(*args, **more))
        return made[-1]

    yield make
    for engine in made:
        await engine.close()


@pytest.fixture
def engine(make_engine: EngineMaker) -> Engine:
    return make_engine(f"unix://{ENGINE}")


@pytest.fixture
async def workshop(engine: Engine) -> AsyncIterator[Workshop]:
    docker = aiodocker.Docker(url=f"unix://{ENGINE}")
    workshop = Workshop(engine, docker)
    try:
        yield workshop
    finally:
        await workshop.clean()
        await docker.close()


@pytest.fixture
async def proxy(tmp_path: Path) -> AsyncIterator[Proxy]:
    async with Proxy(tmp_path / "engine.sock") as proxy:
        yield proxy
