from pathlib import Path

from dxd.store.database import Database
from dxd.store.model import KnownProject
from dxd.store.projects import KnownProjects
from dxd.store.schema import MIGRATIONS
from dxd.store.service_images import ServiceImage, ServiceImages


async def test_the_last_image_of_each_service_comes_back_until_its_project_is_forgotten(tmp_path: Path) -> None:
    database = Database(tmp_path / "history.db", MIGRATIONS)
    images, projects = ServiceImages(database), KnownProjects(database)
    await projects.put(KnownProject("shop", "/shop", (), None, (), {}))
    await images.put("shop", "web", ServiceImage("sha256:1", "one"))
    await images.put("shop", "web", ServiceImage("sha256:2", "two"))
    await images.put("shop", "db", ServiceImage("sha256:3", "three"))
    await images.put("blog", "web", ServiceImage("sha256:4", "four"))
    other = Database(tmp_path / "history.db", MIGRATIONS)
    assert await ServiceImages(other).of("shop") == {
        "web": ServiceImage("sha256:2", "two"),
        "db": ServiceImage("sha256:3", "three"),
    }
    await other.close()
    await projects.forget("shop")
    assert await images.of("shop") == {}
    assert await images.of("blog") == {"web": ServiceImage("sha256:4", "four")}
    await database.close()
