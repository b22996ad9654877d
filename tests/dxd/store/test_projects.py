from pathlib import Path

import pytest

from dxd.store.database import Database
from dxd.store.model import KnownFall, KnownPast, KnownProject, KnownService
from dxd.store.projects import KnownProjects
from dxd.store.schema import MIGRATIONS

SHOP = KnownProject(
    name="shop",
    directory="/home/me/shop",
    files=("a.yaml", "b.yaml"),
    given_name="shop",
    profiles=("debug",),
    environ={"TOKEN": "s3cret", "ODD": "\udcff"},
)


@pytest.fixture
async def database(tmp_path: Path):  # type: ignore[no-untyped-def]
    made = Database(tmp_path / "history.db", MIGRATIONS)
    yield made
    await made.close()


async def test_a_project_comes_back_as_it_was_with_what_is_wanted_of_it(tmp_path: Path, database: Database) -> None:
    projects = KnownProjects(database)
    await projects.put(SHOP)
    fall = KnownFall("id@2", "ended with status 3", 7.5)
    past = (KnownPast("boot", 1, (1.5, 7.5), 2, fall, None), KnownPast("boot", 2, (), 0, None, fall))
    wanted = {
        "db": KnownService("up", (("id@1", "failed", "ended with status 3"),)),
        "web": KnownService("down"),
        "api": KnownService("up", past=past),
    }
    await projects.want("shop", wanted)
    other = Database(tmp_path / "history.db", MIGRATIONS)
    (found,) = await KnownProjects(other).all()
    await other.close()
    assert (found.name, found.directory, found.files, found.profiles) == (
        "shop",
        "/home/me/shop",
        SHOP.files,
        ("debug",),
    )
    assert (dict(found.environ), dict(found.services)) == (SHOP.environ, wanted)
    assert "s3cret" not in repr(found)
    assert (tmp_path / "history.db").stat().st_mode & 0o777 == 0o600


async def test_knowing_it_anew_keeps_what_is_wanted(database: Database) -> None:
    projects = KnownProjects(database)
    await projects.put(SHOP)
    await projects.want("shop", {"db": KnownService("up")})
    await projects.put(KnownProject("shop", "/elsewhere", (), None, (), {}))
    (found,) = await projects.all()
    assert (found.directory, dict(found.services)) == ("/elsewhere", {"db": KnownService("up")})
    await projects.want("shop", {"web": KnownService("up")})
    assert [*(await projects.all())[0].services] == ["web"]


async def test_a_forgotten_project_is_gone_and_nothing_is_wanted_of_it_any_more(database: Database) -> None:
    projects = KnownProjects(database)
    await projects.put(SHOP)
    await projects.forget("shop")
    await projects.want("shop", {"db": KnownService("up")})
    assert await projects.all() == []
    await projects.put(SHOP)
    assert [dict(each.services) for each in await projects.all()] == [{}]


async def test_a_file_of_the_version_before_gets_the_tables(tmp_path: Path) -> None:
    old = Database(tmp_path / "history.db", MIGRATIONS[:2])
    await old.read(lambda connection: connection.execute("SELECT 1").fetchone())
    await old.close()
    new = Database(tmp_path / "history.db", MIGRATIONS)
    await KnownProjects(new).put(SHOP)
    assert [each.name for each in await KnownProjects(new).all()] == ["shop"]
    await new.close()
