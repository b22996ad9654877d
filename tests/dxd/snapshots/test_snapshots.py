"""Volumes saved and put back: the real engine, real files, and the daemon gone in the middle."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from pathlib import Path

import pytest

from dxd.app import find_agent
from dxd.engine.model import VolumeSpec
from dxd.engine.storage import Storage
from dxd.errors import BadName, Conflict, EngineError, NotFound
from dxd.kit.progress import Silent
from dxd.snapshots import labels
from dxd.snapshots.helper import HELPER_LABEL
from dxd.snapshots.seeds import Seeds
from dxd.snapshots.snapshots import Snapshots
from dxd.store.database import Database
from dxd.store.schema import MIGRATIONS
from dxd.store.seeds import SeedRows
from tests.agent.trees import fill, seen
from tests.fakes.proxy import ENGINE
from tests.fakes.real_engine import Listener, Workshop
from tests.waiting import until_turned

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="looking into volumes from outside needs root")


class Bench:
    """Some volumes, and snapshots of them."""

    def __init__(self, workshop: Workshop) -> None:
        self.workshop = workshop
        self.engine = workshop.engine
        self.storage = Storage(workshop.engine)
        self.snapshots = self.daemon()
        self.compose = {"com.docker.compose.project": workshop.word, "com.docker.compose.volume": "db"}

    def daemon(self) -> Snapshots:
        """As another daemon of the same user has it."""
        agent = find_agent({}) / "agent"
        return Snapshots(engine=self.engine, agent=agent, agent_version="test", owner=self.workshop.word)

    async def volume(self, name: str) -> str:
        full = f"{self.workshop.word}-{name}"
        await self.storage.make_volume(full, self.compose)
        return full

    def place(self, volume: str) -> Path:
        said = subprocess.run(["docker", "volume", "inspect", volume], check=True, capture_output=True).stdout
        return Path(json.loads(said)[0]["Mountpoint"])

    async def ours(self) -> list[str]:
        """The volumes that are there for snapshots."""
        found = await self.engine.volumes({labels.OWNER_LABEL: self.workshop.word})
        return sorted(each.labels[labels.PART_LABEL] for each in found)

    async def helpers(self) -> int:
        return len(await self.engine.containers({HELPER_LABEL: self.workshop.word}))

    async def helpers_are_gone(self) -> bool:
        return not await self.helpers()

    async def swept(self) -> bool:
        """What the engine was asked for by a daemon that was killed may come after the first sweep."""
        await self.daemon().sweep()
        return await self.helpers_are_gone()

    async def clean(self) -> None:
        for container in await self.engine.containers({HELPER_LABEL: self.workshop.word}):
            await self.engine.remove(container.id)
        for container in await self.engine.containers({"dx.test": self.workshop.word}):
            await self.engine.remove(container.id)
        for key in (labels.OWNER_LABEL, "com.docker.compose.project"):
            for volume in await self.engine.volumes({key: self.workshop.word}):
                await self.engine.remove_volume(volume.name)


@pytest.fixture
async def bench(workshop: Workshop) -> AsyncIterator[Bench]:
    bench = Bench(workshop)
    workshop.forget("dx/volumes:test")
    yield bench
    await bench.clean()


async def test_a_snapshot_is_exact_and_comes_back_exactly(bench: Bench) -> None:
    db, cache = await bench.volume("db"), await bench.volume("cache")
    fill(bench.place(db), "then")
    (bench.place(cache) / "x").write_text("then")
    before = seen(bench.place(db)), seen(bench.place(cache))
    listener = Listener()
    saved = await bench.snapshots.save("shop", "before", [db, cache], listener)
    assert listener.notes[0].startswith(f"saved before: {saved.files} files")
    assert [seen(bench.place(each.volume)) for each in saved.copies] == list(before)
    (bench.place(db) / "data" / "1").write_text("now")
    (bench.place(db) / "more").write_text("now")
    (bench.place(cache) / "x").unlink()
    assert await bench.daemon().all("shop") == [saved]
    await bench.daemon().restore("shop", "before", listener)
    assert (seen(bench.place(db)), seen(bench.place(cache))) == before
    assert await bench.ours() == ["copy", "copy", "record"]
    await bench.snapshots.remove("shop", "before")
    assert await bench.ours() == []
    assert await bench.helpers() == 0


async def test_the_same_name_again_replaces_when_the_new_one_is_whole(bench: Bench) -> None:
    db = await bench.volume("db")
    (bench.place(db) / "x").write_text("1")
    await bench.snapshots.save("shop", "a", [db], Silent())
    (bench.place(db) / "x").write_text("2")
    second = await bench.snapshots.save("shop", "a", [db], Silent())
    assert await bench.snapshots.all() == [second]
    assert await bench.ours() == ["copy", "record"]
    (bench.place(db) / "x").write_text("3")
    await bench.snapshots.restore("shop", "a", Silent())
    assert (bench.place(db) / "x").read_text() == "2"


async def test_a_volume_that_is_gone_is_made_again_as_composes_own(bench: Bench) -> None:
    db = await bench.volume("db")
    (bench.place(db) / "x").write_text("1")
    await bench.snapshots.save("shop", "a", [db], Silent())
    await bench.engine.remove_volume(db)
    await bench.snapshots.restore("shop", "a", Silent())
    assert (bench.place(db) / "x").read_text() == "1"
    made = await bench.storage.volume(db)
    assert made is not None
    assert made.labels == bench.compose


async def test_who_still_writes_is_in_the_way(bench: Bench) -> None:
    """A paused service may be saved, and not restored under."""
    db = await bench.volume("db")
    image = await bench.workshop.image()
    spec = bench.workshop.spec(image, name=f"{bench.workshop.word}-c", volumes=(VolumeSpec(db, "/d"),))
    container = await bench.engine.create(spec)
    await bench.engine.start(container)
    for call in (
        bench.snapshots.save("shop", "a", [db], Silent()),
        bench.snapshots.reset([db], Silent()),
    ):
        with pytest.raises(Conflict, match=f"{bench.workshop.word}-c is running and has the volume {db}"):
            await call
    assert await bench.ours() == []
    subprocess.run(["docker", "pause", container], check=True, capture_output=True)
    await bench.snapshots.save("shop", "a", [db], Silent())
    with pytest.raises(Conflict, match="paused"):
        await bench.snapshots.restore("shop", "a", Silent())
    await bench.engine.remove(container)
    await bench.snapshots.restore("shop", "a", Silent())


async def test_what_is_not_there_is_said(bench: Bench) -> None:
    db = await bench.volume("db")
    with pytest.raises(NotFound, match="no volume nosuch"):
        await bench.snapshots.save("shop", "a", [db, "nosuch"], Silent())
    with pytest.raises(NotFound, match="shop has no snapshot 'a'"):
        await bench.snapshots.restore("shop", "a", Silent())
    with pytest.raises(BadName):
        await bench.snapshots.save("shop", "../a", [db], Silent())
    assert await bench.ours() == []


async def test_a_save_that_is_cancelled_leaves_nothing_or_all_of_it(bench: Bench) -> None:
    """At whatever moment; all of it where only telling was left."""
    db = await bench.volume("db")
    place = bench.place(db)
    for number in range(2000):
        (place / f"{number}").write_text("x")
    await bench.snapshots.is_empty(db)  # builds the image, which takes longer than all that follows
    for wait_s in (0, 0.02, 0.1, 0.2, 0.3, 0.4):
        saving = asyncio.create_task(bench.snapshots.save("shop", "a", [db], Silent()))
        await asyncio.sleep(wait_s)
        saving.cancel()
        await asyncio.wait({saving})
        if not saving.cancelled():
            continue
        await until_turned(bench.helpers_are_gone)
        whole = await bench.snapshots.all()
        assert await bench.ours() == ["copy", "record"] * len(whole)
        assert wait_s or not whole
        for each in whole:
            assert each.files == 2000
            await bench.snapshots.restore("shop", "a", Silent())
            await bench.snapshots.remove("shop", "a")


async def test_a_save_that_is_cancelled_while_it_is_recorded_waits_for_that(bench: Bench) -> None:
    """The engine makes the record, asked once, whoever has gone meanwhile: without copies it would be no snapshot."""
    db = await bench.volume("db")
    recording, cancelled = asyncio.Event(), asyncio.Event()

    class Slow(Storage):
        async def make_volume(self, name: str, labelled: Mapping[str, str]) -> None:
            if labelled.get(labels.PART_LABEL) == labels.RECORD:
                recording.set()
                await cancelled.wait()
            await super().make_volume(name, labelled)

    bench.snapshots._storage = Slow(bench.engine)
    saving = asyncio.create_task(bench.snapshots.save("shop", "a", [db], Silent()))
    await recording.wait()
    saving.cancel()
    await asyncio.wait({saving}, timeout=0.2)
    cancelled.set()
    await asyncio.wait({saving}, timeout=20)
    assert saving.cancelled()
    assert await bench.ours() == ["copy", "record"]
    await bench.snapshots.restore("shop", "a", Silent())


async def test_a_restore_whose_daemon_dies_is_brought_to_an_end_by_the_next(bench: Bench) -> None:
    """The helper is killed with it, and the volume is in the middle of it."""
    db = await bench.volume("db")
    place = bench.place(db)
    fill(place, "now")
    (place / ".dx-ready" / "sub").mkdir(parents=True)
    (place / ".dx-ready" / "x").write_text("then")
    (place / ".dx-old").mkdir()
    (place / "data").rename(place / ".dx-old" / "data")
    await bench.storage.make_volume(
        f"dx-restore-{bench.workshop.word}", labels.of_restore(bench.workshop.word, [db, "gone"])
    )
    await bench.daemon().sweep()
    assert sorted(each.name for each in place.iterdir()) == ["sub", "x"]
    assert await bench.ours() == []


async def test_a_save_whose_daemon_died_is_swept_away(bench: Bench) -> None:
    db = await bench.volume("db")
    (bench.place(db) / "x").write_text("1")
    saved = await bench.snapshots.save("shop", "a", [db], Silent())
    await bench.storage.make_volume(f"dx-snapshot-{bench.workshop.word}", labels.of_copy(bench.workshop.word, "dead"))
    await bench.daemon().sweep()
    assert await bench.ours() == ["copy", "record"]
    assert await bench.snapshots.all() == [saved]


DAEMON = """
import asyncio, sys
from pathlib import Path
from dxd.engine.docker import Engine
from dxd.kit.progress import Silent
from dxd.snapshots.snapshots import Snapshots

async def main():
    address, agent, owner, what, *volumes = sys.argv[1:]
    snapshots = Snapshots(engine=Engine(address), agent=Path(agent), agent_version="test", owner=owner)
    await snapshots.all()  # what is slow at the first call is over
    print("begins", flush=True)
    if what == "save":
        await snapshots.save("shop", "b", volumes, Silent())
    else:
        await snapshots.restore("shop", "a", Silent())

asyncio.run(main())
"""


@pytest.mark.parametrize("what", ["save", "restore"])
async def test_whenever_a_daemon_is_killed_a_volume_has_the_one_or_the_other(bench: Bench, what: str) -> None:
    """Ever later, until one comes to its end; what it was at is brought to an end by the next daemon."""
    db = await bench.volume("db")
    place = bench.place(db)
    for number in range(300):
        (place / f"{number}").write_text("then")
    await bench.snapshots.save("shop", "a", [db], Silent())
    command = [sys.executable, "-c", DAEMON, f"unix://{ENGINE}", str(find_agent({}) / "agent"), bench.workshop.word]
    wait_s, ended = 0.0, False
    while not ended:
        for each in place.iterdir():
            each.write_text("now")
        daemon = subprocess.Popen([*command, what, db], stdout=subprocess.PIPE)
        assert daemon.stdout is not None
        assert await asyncio.to_thread(daemon.stdout.readline) == b"begins\n"
        with suppress(subprocess.TimeoutExpired):
            await asyncio.to_thread(daemon.wait, wait_s)
        ended = daemon.poll() is not None
        daemon.kill()
        daemon.communicate()
        wait_s += 0.15
        await until_turned(bench.swept)
        names = sorted(each.name for each in place.iterdir())
        found = {each.read_text() for each in place.iterdir()}
        assert names == sorted(map(str, range(300)))
        assert found == {"then"} if what == "restore" and ended else len(found) == 1
        saved = [each.name for each in await bench.daemon().all("shop")]
        assert sorted(saved) == (["a", "b"] if what == "save" and "b" in saved else ["a"])
        assert await bench.ours() == sorted(["copy", "record"] * len(saved))
    assert daemon.returncode == 0


async def test_a_restore_of_a_copy_that_was_removed_leaves_what_was_there(bench: Bench) -> None:
    """An engine makes a volume, empty, where a container wants one that is missing."""
    db, other = await bench.volume("db"), await bench.volume("other")
    (bench.place(db) / "x").write_text("1")
    saved = await bench.snapshots.save("shop", "a", [other, db], Silent())
    (bench.place(db) / "x").write_text("2")
    await bench.engine.remove_volume(saved.copies[1].volume)
    with pytest.raises(NotFound, match=saved.copies[1].volume):
        await bench.snapshots.restore("shop", "a", Silent())
    assert (bench.place(db) / "x").read_text() == "2"
    assert await bench.ours() == ["copy", "record"]


async def test_a_restore_that_fails_half_way_leaves_what_was_there(bench: Bench) -> None:
    """A tree deeper than the agent goes; the first volume is restored, the second is not touched."""
    first, db = await bench.volume("first"), await bench.volume("db")
    (bench.place(first) / "x").write_text("1")
    saved = await bench.snapshots.save("shop", "a", [first, db], Silent())
    (bench.place(first) / "x").write_text("2")
    (bench.place(db) / "x").write_text("2")
    dig = "import os\nfor each in range(2100):\n os.mkdir('d')\n os.chdir('d')"
    subprocess.run([sys.executable, "-c", dig], cwd=bench.place(saved.copies[1].volume), check=True)
    with pytest.raises(EngineError, match="cannot "):
        await bench.snapshots.restore("shop", "a", Silent())
    assert (bench.place(first) / "x").read_text() == "1"
    assert [each.name for each in bench.place(db).iterdir()] == ["x"]
    assert await bench.ours() == ["copy", "copy", "record"]


async def test_a_reset_empties_and_a_seed_is_due_once_for_each_volume(bench: Bench, tmp_path: Path) -> None:
    database = Database(tmp_path / "history.db", MIGRATIONS)
    seeds = Seeds(snapshots=bench.snapshots, rows=SeedRows(database))
    db = await bench.volume("db")
    assert await seeds.due(db)
    (bench.place(db) / "x").write_text("half a seed")
    assert await seeds.due(db)
    await seeds.done(db)
    assert not await seeds.due(db)
    await bench.snapshots.reset([db], Silent())
    assert await bench.snapshots.is_empty(db)
    assert await seeds.due(db)
    full = await bench.volume("full")
    (bench.place(full) / "x").write_text("the user's own")
    assert not await seeds.due(full)
    await database.close()
