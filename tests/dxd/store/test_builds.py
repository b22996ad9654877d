"""The history of builds, over a real file."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from dxd.errors import NotFound
from dxd.store.builds import LINE_CHARACTERS, Builds
from dxd.store.database import Database
from dxd.store.model import BuildId, Result
from dxd.store.schema import MIGRATIONS

DIGEST = "d" * 64
IMAGE = "sha256:" + "1" * 64


class History(Builds):
    """One daemon's, which a test may end and begin again."""

    def __init__(self, directory: Path) -> None:
        self.logs = directory / "builds"
        self.database = Database(directory / "history.db", MIGRATIONS)
        super().__init__(self.database, self.logs)

    async def read_log(self, build: BuildId) -> str:
        return b"".join([bit async for bit in await self.log(build)]).decode()


@pytest.fixture
async def builds(tmp_path: Path) -> AsyncIterator[History]:
    builds = History(tmp_path)
    await builds.start()
    yield builds
    await builds.database.close()


async def good(builds: Builds, tool: str = "jq", cause: str = "Dockerfile") -> BuildId:
    build = await builds.begin(tool, DIGEST, cause=cause, asked_by="change")
    await builds.end(build, Result.GOOD, image_id=IMAGE)
    return build


async def test_a_build_begins_and_ends(builds: History) -> None:
    before = datetime.now(UTC)
    build = await builds.begin("jq", DIGEST, cause="Dockerfile,\n main.c", asked_by="run", parts=b"\0parts" * 1000)
    (begun,) = await builds.all()
    assert (begun.id, begun.tool, begun.digest, begun.asked_by) == (build, "jq", DIGEST, "run")
    assert begun.cause == "Dockerfile, main.c"
    assert (begun.result, begun.seconds, begun.image_id, begun.error) == (None, None, None, "")
    assert before - timedelta(seconds=1) < begun.began <= datetime.now(UTC)
    ended = await builds.end(build, Result.GOOD, image_id=IMAGE)
    assert ended == await builds.get(build)
    assert (ended.result, ended.image_id) == (Result.GOOD, IMAGE)
    assert ended.seconds is not None
    assert 0 <= ended.seconds < 20
    assert await builds.last_parts("jq") == b"\0parts" * 1000


async def test_an_image_that_was_pulled_is_listed_once(builds: History) -> None:
    """Beside builds, of which it is none: what changed since the last one is not asked of it."""
    built = await good(builds)
    for digest in (f"sha256:{DIGEST}", f"sha256:{DIGEST}", f"sha256:{'e' * 64}"):
        await builds.pulled("jq", digest, IMAGE, cause="its tag moved", asked_by="upgrade", seconds=2.5, fetched="a@b")
    second, first, _ = await builds.all("jq")
    assert [each.is_pulled for each in await builds.all("jq")] == [True, True, False]
    assert (first.result, first.seconds, first.image_id, first.asked_by) == (Result.GOOD, 2.5, IMAGE, "upgrade")
    assert await builds.parts(second.id) == b"a@b"
    assert await builds.last_parts("jq") == await builds.parts(built)


async def test_an_image_is_known_before_its_build_ends(builds: History) -> None:
    """Also where that does not end well, or nobody sees its end; afterwards nothing is noted any more."""
    failed, left = [await builds.begin("jq", DIGEST, cause="", asked_by="run") for _ in range(2)]
    for build in (failed, left):
        await builds.made(build, IMAGE)
    assert (await builds.end(failed, Result.FAILED, error="x")).image_id == IMAGE
    await builds.start()
    await builds.made(left, "sha256:" + "2" * 64)
    ended = await builds.get(left)
    assert (ended.result, ended.image_id) == (Result.CANCELLED, IMAGE)


async def test_a_failure_says_why_on_one_line(builds: History) -> None:
    build = await builds.begin("jq", DIGEST, cause="", asked_by="dx add")
    ended = await builds.end(build, Result.FAILED, error="Dockerfile:3:\n no such\tcommand \udcff" + "x" * 5000)
    assert ended.error.startswith("Dockerfile:3: no such command \\udcff")
    assert len(ended.error) <= LINE_CHARACTERS + 5
    assert (ended.result, ended.image_id) == (Result.FAILED, None)


async def test_a_second_end_changes_nothing(builds: History) -> None:
    """What cleans up after a build need not know whether it had ended."""
    build = await good(builds)
    assert (await builds.end(build, Result.CANCELLED)).result is Result.GOOD


async def test_the_latest_is_first(builds: History) -> None:
    first, second, third = await good(builds), await good(builds, "yq"), await good(builds)
    assert [each.id for each in await builds.all()] == [third, second, first]
    assert [each.id for each in await builds.all("jq")] == [third, first]
    assert await builds.all("nothing") == []


async def test_the_parts_of_the_last_good_one(builds: History) -> None:
    """Of that tool; failures do not count."""
    assert await builds.last_parts("jq") is None
    for tool, parts, result in (("jq", b"1", Result.GOOD), ("yq", b"2", Result.GOOD), ("jq", b"3", Result.FAILED)):
        build = await builds.begin(tool, DIGEST, cause="", asked_by="run", parts=parts)
        await builds.end(build, result)
    await builds.begin("jq", DIGEST, cause="", asked_by="run", parts=b"4")
    assert await builds.last_parts("jq") == b"1"


async def test_what_served_is_remembered_in_its_order(builds: History) -> None:
    """And again where it serves again; what another dx has built gets a row the first time."""
    first, second = await good(builds, cause="1"), await builds.begin("jq", DIGEST, cause="2", asked_by="run")
    await builds.end(second, Result.GOOD, image_id="sha256:2")
    assert [each.served for each in await builds.all()] == [None, None]
    for each in (first, second, first):
        await builds.serves(each)
    assert [each.served for each in await builds.all()] == [2, 3]
    for _ in range(2):
        other = await builds.adopt("jq", "e" * 64, "sha256:3", cause="it was there", asked_by="change", parts=b"3")
        assert (other.result, other.image_id, other.cause, other.seconds) == (
            Result.GOOD,
            "sha256:3",
            "it was there",
            None,
        )
    assert len(await builds.all()) == 3
    assert (await builds.adopt("jq", DIGEST, IMAGE, cause="", asked_by="run")).id == first
    assert await builds.last_parts("jq") == b"3"
    await builds.serves(other.id)
    assert (await builds.get(other.id)).served == 4


async def test_what_is_not_known_is_not_found(builds: History) -> None:
    nothing = BuildId(77)
    for asked in (builds.get(nothing), builds.log(nothing), builds.end(nothing, Result.GOOD)):
        with pytest.raises(NotFound, match="there is no build 77"):
            await asked


async def test_a_daemon_that_died_ends_its_builds(builds: History, tmp_path: Path) -> None:
    """As the next one finds; those that had ended stay as they were."""
    done = await good(builds)
    build = await builds.begin("jq", DIGEST, cause="", asked_by="run")
    after = History(tmp_path)
    await after.start()
    left = await after.get(build)
    assert (left.result, left.seconds, left.error) == (Result.CANCELLED, None, "the daemon ended before it")
    assert (await after.get(done)).result is Result.GOOD
    await after.database.close()


async def test_a_build_whose_beginning_is_cancelled_does_not_go_on_for_ever(builds: History) -> None:
    task = asyncio.create_task(builds.begin("jq", DIGEST, cause="", asked_by="run"))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [each.result for each in await builds.all()] == [Result.CANCELLED]


async def test_the_log_is_read_while_the_build_goes_on_and_after(builds: History, tmp_path: Path) -> None:
    build = await builds.begin("jq", DIGEST, cause="", asked_by="run")
    builds.tell(build, "step 1")
    assert await builds.read_log(build) == "step 1\n"
    builds.tell(build, "step 2")
    await builds.end(build, Result.FAILED, error="x")
    builds.tell(build, "too late")
    assert await builds.read_log(build) == "step 1\nstep 2\n"
    after = History(tmp_path)
    await after.start()
    assert await after.read_log(build) == "step 1\nstep 2\n"
    await after.database.close()


async def test_a_long_log_comes_in_bits(builds: History) -> None:
    """And is whole, its last lines too, which are not in the file yet."""
    build = await builds.begin("jq", DIGEST, cause="", asked_by="run")
    for number in range(3000):
        builds.tell(build, f"{number:04} " + "x" * 1000)
    bits = [bit async for bit in await builds.log(build)]
    assert len(bits) > 10
    assert b"".join(bits).splitlines()[-1].startswith(b"2999 ")
    await builds.end(build, Result.GOOD, image_id=IMAGE)


async def test_a_reader_that_goes_away_leaves_nothing_open(builds: History) -> None:
    build = await good(builds)
    path = builds.logs / f"{build}.log"
    path.write_bytes(b"x" * 1_000_000)
    rest = await builds.log(build)
    assert len(await anext(rest)) < 1_000_000
    await rest.aclose()
    await builds.database.run(lambda: None)
    links = [each.readlink() for each in Path("/proc/self/fd").iterdir() if each.is_symlink()]
    assert path not in links


async def test_a_log_that_is_lost_is_told(builds: History) -> None:
    build = await good(builds)
    (builds.logs / f"{build}.log").unlink()
    with pytest.raises(NotFound, match="has no log"):
        await builds.log(build)


async def test_what_is_pruned_is_gone_with_its_log(builds: History) -> None:
    """Never what is held, nor what goes on."""
    ids = [await good(builds) for _ in range(4)]
    going = await builds.begin("jq", DIGEST, cause="", asked_by="run")
    gone = await builds.prune(keep=1, keep_days=14, held={ids[0]})
    assert [each.id for each in gone] == [ids[2], ids[1]]
    assert [each.id for each in await builds.all()] == [going, ids[3], ids[0]]
    await builds.remove([going, BuildId(99)])
    assert (await builds.get(going)).result is None
    late = await builds.prune(keep=9, keep_days=14, held=(), now=datetime.now(UTC) + timedelta(days=15))
    assert {each.id for each in late} == {ids[0], ids[3]}
    await builds.end(going, Result.CANCELLED)
    await builds.database.run(lambda: None)
    assert [each.name for each in builds.logs.iterdir()] == [f"{going}.log"]


async def test_a_number_is_never_given_twice(builds: History, tmp_path: Path) -> None:
    """Somebody may have written it down."""
    first = await good(builds)
    await builds.remove([first])
    assert await good(builds) > first


async def test_logs_without_a_build_are_swept_away(builds: History, tmp_path: Path) -> None:
    """As where somebody deleted the history."""
    kept = await good(builds)
    stray = builds.logs / "4711.log"
    stray.write_text("old")
    after = History(tmp_path)
    await after.start()
    await after.database.close()
    assert [each.name for each in builds.logs.iterdir()] == [f"{kept}.log"]


async def test_without_a_place_to_write_it_is_history_all_the_same(tmp_path: Path) -> None:
    """Until the daemon ends."""
    (tmp_path / "state").write_text("a file")
    builds = History(tmp_path / "state")
    await builds.start()
    build = await builds.begin("jq", DIGEST, cause="", asked_by="run", parts=json.dumps({"a": 1}).encode())
    builds.tell(build, "line")
    assert (await builds.end(build, Result.GOOD, image_id=IMAGE)).result is Result.GOOD
    assert json.loads(await builds.last_parts("jq") or b"") == {"a": 1}
    with pytest.raises(NotFound, match="has no log"):
        await builds.log(build)
    await builds.database.close()


async def test_a_build_is_shown_with_what_others_know(builds: History) -> None:
    view = (await builds.get(await good(builds))).shown(size_bytes=5, current=True, pinned=False)
    assert (view.tool, view.size_bytes, view.current, view.pinned) == ("jq", 5, True, False)
