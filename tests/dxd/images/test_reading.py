"""Naming a build whose context takes long to read."""

import asyncio
from pathlib import Path

import pytest

from dxd.images import reading
from dxd.images.identity import Memory, Reading, Stopped, identify
from dxd.images.reading import identified
from dxd.tools.model import Build
from tests.fakes.real_engine import Listener
from tests.waiting import until_turned


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A context that takes half an hour: a terabyte, none of which is on the disk."""
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(1 << 40)
    return tmp_path


async def test_it_is_told_how_far_it_is_and_ends_when_it_is_cancelled(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread too, which nobody else could end."""
    monkeypatch.setattr(reading, "TELL_S", 0.05)
    listener = Listener()
    task = asyncio.create_task(
        identified("t", Build(root), platform="linux/amd64", bases={}, memory=Memory(), progress=listener)
    )
    await until_turned(lambda: len(listener.lines) > 1)
    assert listener.lines[-1].startswith("reading the build context of t: ")
    task.cancel()
    async with asyncio.timeout(5):
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.get_running_loop().shutdown_default_executor()


def test_what_was_read_before_it_stopped_is_remembered(tmp_path: Path) -> None:
    """So that what cannot be read to its end is not read again and again."""
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    (tmp_path / "a").write_text("a")
    memory, build = Memory(now=lambda: 2**62), Build(tmp_path)

    class Until(Reading):
        def went_on(self, size_bytes: int) -> None:
            Reading.went_on(self, size_bytes)
            self.stop = self.stop or self.read_bytes > 10

    with pytest.raises(Stopped):
        identify(build, platform="linux/amd64", bases={}, memory=memory, reading=Until())
    assert memory.reads == 1
    identify(build, platform="linux/amd64", bases={}, memory=memory)
    assert memory.reads == 2
