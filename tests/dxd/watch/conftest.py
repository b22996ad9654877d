import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from dxd.watch.model import Spec, Tree
from dxd.watch.watcher import Watcher
from tests.waiting import until_turned


class Told:
    """A watcher and what it told; a watcher's user that settles at once, if it is asked to."""

    def __init__(self, **options: Any) -> None:
        self.calls: list[str] = []
        self.settles = False
        self.watcher = Watcher(self._heard, **options)

    def _heard(self, key: str) -> None:
        self.calls.append(key)
        if self.settles:
            self.watcher.settled(key)

    async def rest(self) -> None:
        """All is watched, and everything told of; then begin anew."""
        await until_turned(lambda: not self.watcher.busy)
        for key in list(self.watcher._keys):
            self.watcher.settled(key)
            assert not self.watcher.dirty(key), key
        self.calls.clear()

    async def begin(self, **specs: Spec | Path) -> None:
        for key, spec in specs.items():
            self.watcher.set(key, [Tree(str(spec)) if isinstance(spec, Path) else spec])
        await self.rest()

    async def sees(self, change: Callable[[], object], *keys: str) -> None:
        """The change makes these keys dirty, by the time it is done, and no other; and they are told of, once."""
        change()
        dirty = {key for key in self.watcher._keys if self.watcher.dirty(key)}
        assert dirty == set(keys)
        if keys:
            await until_turned(lambda: set(self.calls) >= set(keys))
        assert sorted(self.calls) == sorted(keys)
        await self.rest()


@asynccontextmanager
async def told(**options: Any) -> AsyncIterator[Told]:
    made = Told(**options)
    try:
        yield made
    finally:
        await made.watcher.close()


@pytest.fixture
async def watch() -> AsyncIterator[Told]:
    descriptors = set(os.listdir("/proc/self/fd"))
    async with told(quiet_s=0.02) as made:
        yield made
    assert len(os.listdir("/proc/self/fd")) <= len(descriptors), "descriptors are left"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    made = tmp_path / "context"
    (made / "src" / "inner").mkdir(parents=True)
    (made / "src" / "file").write_text("one")
    (made / "Dockerfile").write_text("FROM busybox")
    return made
