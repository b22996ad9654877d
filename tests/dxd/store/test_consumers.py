from pathlib import Path

from dxd.store.consumers import Consumer, Consumers
from dxd.store.database import Database
from dxd.store.schema import MIGRATIONS


async def test_uses_come_back_each_once_until_they_end(tmp_path: Path) -> None:
    database = Database(tmp_path / "history.db", MIGRATIONS)
    consumers = Consumers(database)
    await consumers.put(Consumer("site", "db", "shop", "postgres"))
    await consumers.put(Consumer("site", "db", "shop", "db", ("db", "init")))
    await consumers.put(Consumer("blog", "db", "shop", "db"))
    other = Database(tmp_path / "history.db", MIGRATIONS)
    assert await Consumers(other).all() == [
        Consumer("blog", "db", "shop", "db"),
        Consumer("site", "db", "shop", "db", ("db", "init")),
    ]
    await other.close()
    await consumers.remove("site", "db")
    await consumers.remove("site", "other")
    assert [each.consumer for each in await consumers.all()] == ["blog"]
    await database.close()
