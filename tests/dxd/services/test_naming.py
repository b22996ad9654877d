"""What a second project of one name is called: by its directory, and by what there is already."""

from pathlib import Path

import pytest

from dxd.compose.model import Project, ProjectName, Service, ServiceName
from dxd.engine.supervised import Supervised
from dxd.errors import Conflict
from dxd.services.naming import Naming, candidates
from dxd.services.networks import DIRECTORY
from dxd.services.news import PROJECT
from tests.fakes.real_engine import Workshop, engine, make_engine, workshop

__all__ = ["engine", "make_engine", "workshop"]

SHOP = ProjectName("shop")


@pytest.mark.parametrize(
    ("directory", "name"),
    [
        ("/src/shop-2", "shop-2"),
        ("/src/shop_login", "shop_login"),
        ("/src/login", "shop-login"),
        ("/src/login/shop", "shop-login"),
        ("/src/Fix #12", "shop-fix12"),
        ("/src/shopping", "shop-shopping"),
        ("/src/.../shop", "shop-src"),
    ],
)
def test_the_directory_tells_it_from_the_first(directory: str, name: str) -> None:
    first, last = candidates(SHOP, Path(directory))
    assert first == name
    assert last.startswith("shop-")
    assert [*candidates(SHOP, Path(directory))] == [first, last]


def test_where_the_name_is_no_help_a_number_is_its_own() -> None:
    assert len([*candidates(SHOP, Path("/shop"))]) == 1
    assert [*candidates(SHOP, Path("/a/shop"))][-1] != [*candidates(SHOP, Path("/b/shop"))][-1]


class Two:
    """Two directories whose files say `name: WORD`, which is nobody's else."""

    def __init__(self, root: Path, workshop: Workshop) -> None:
        self.workshop = workshop
        self.name = ProjectName(workshop.word)
        self.main, self.other = root / "src", root / "login"
        self.main.mkdir()
        self.other.mkdir()
        self.second = ProjectName(f"{self.name}-login")
        self.last = [*candidates(self.name, self.other)][-1]
        self.made: str | None = None
        self.naming = Naming(containers=Supervised(workshop.engine), made_for=self.made_for)

    async def made_for(self, _directory: str) -> str | None:
        return self.made

    async def container(self, project: str, directory: Path, name: str | None = None) -> None:
        """One that Compose has made."""
        labels = {"dx.test": self.workshop.word, PROJECT: project, DIRECTORY: str(directory)}
        spec = self.workshop.spec(await self.workshop.image(), network="none", name=name, labels=labels)
        await self.workshop.engine.create(spec)

    async def choose(self, **known: Path) -> tuple[str, str]:
        names = {name.replace("_", "-"): str(directory) for name, directory in known.items()}
        return await self.naming.choose(self.name, self.other, names)


@pytest.fixture
def two(tmp_path: Path, workshop: Workshop) -> Two:
    return Two(tmp_path, workshop)


async def test_the_name_of_the_file_where_it_is_nobodys_or_its_own(two: Two) -> None:
    assert await two.choose() == (two.name, "")
    assert await two.choose(**{two.name: two.other}) == (two.name, "")
    await two.container(two.name, two.other)
    assert await two.choose() == (two.name, "")


async def test_another_where_that_is_another_directorys(two: Two) -> None:
    assert await two.choose(**{two.name: two.main}) == (two.second, str(two.main))
    await two.container(two.name, two.main)
    assert await two.choose() == (two.second, str(two.main))
    await two.container(two.second, two.main)
    assert await two.choose() == (two.last, str(two.main))
    assert await two.choose(**{two.name: two.main, two.second: two.main}) == (two.last, str(two.main))
    with pytest.raises(Conflict, match="are other projects"):
        await two.choose(**{two.name: two.main, two.second: two.main, two.last: two.main})


async def test_the_one_that_it_has_though_the_first_is_free(two: Two) -> None:
    assert await two.choose(**{two.second: two.other}) == (two.second, "")
    two.made = two.second
    assert await two.choose() == (two.second, "")
    two.made = "something-else"
    assert await two.choose() == (two.name, "")


async def test_what_is_called_after_a_directory_that_is_gone(two: Two) -> None:
    """A project may have been moved; of containers alone nobody knows more than Compose, which would take them over."""
    two.main.rmdir()
    with pytest.raises(Conflict) as caught:
        await two.choose(**{two.name: two.main})
    end = f"which is gone; to go on with it here: dx forget --project {two.name}, then dx up"
    assert caught.value.line() == f"the project {two.name} is that of {two.main}, {end}"
    await two.container(two.name, two.main)
    assert await two.choose() == (two.name, "")


async def test_a_container_name_is_one_containers(two: Two) -> None:
    service = Service(ServiceName("db"), raw={"container_name": two.name})
    mine = Project(two.name, {service.name: service})
    await two.naming.refuse_taken_names(mine, mine.services, [])
    await two.container("another", two.main, two.name)
    whose = f"that of another in {two.main}; take it out of the file, or: "
    for known, end in ((["another"], "dx down --project another"), ([], "docker compose --project-name another down")):
        with pytest.raises(Conflict) as caught:
            await two.naming.refuse_taken_names(mine, mine.services, known)
        assert caught.value.line() == f"db has the container_name {two.name}, which is {whose}{end}"
    same = Project(ProjectName("another"), mine.services)
    await two.naming.refuse_taken_names(same, mine.services, [])
    await two.naming.refuse_taken_names(mine, [], [])
