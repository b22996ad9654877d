"""What projects ask for, and what is allowed; over real files and a real store."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from dxd.errors import Conflict, NotFound, NotTrusted, UnknownTool
from dxd.store.consents import Consents
from dxd.store.database import Database
from dxd.store.schema import MIGRATIONS
from dxd.tools.catalogue import Catalogue
from dxd.tools.model import OnChange
from dxd.trust.projects import Projects
from dxd.trust.tools import Tools

ME = os.getuid()


class Desk:
    """One daemon's knowledge of projects; another one begins where it left off."""

    def __init__(self, directory: Path) -> None:
        self.own = directory / "own" / "dx.toml"
        self.own.parent.mkdir(exist_ok=True)
        self.database = Database(directory / "history.db", MIGRATIONS)
        self.projects = Projects(consents=Consents(self.database), own=self.own, uid=ME)
        self.tools = Tools(user=Catalogue(self.own), projects=self.projects)

    async def trust(self, project: Path) -> None:
        await self.projects.allow(project, self.projects.review(project).digest)


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    desk = Desk(tmp_path)
    await desk.projects.start()
    yield desk
    await desk.database.close()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    directory = tmp_path / "demo"
    (directory / "deep" / "er").mkdir(parents=True)
    write(directory, '[tools.jq]\nimage = "jq"\n')
    return directory


def write(project: Path, text: str) -> None:
    (project / "dx.toml").write_text(text)


def mean(desk: Desk, command: str, cwd: Path) -> str:
    tool = desk.tools.of_project(command, os.fsencode(cwd))
    return "" if tool is None else tool.name


async def test_a_tool_is_the_projects_own(desk: Desk, project: Path) -> None:
    """Its name has the project's mark, its commands have none; one that is built makes its runs wait."""
    write(project, '[tools.jq]\nimage = "jq"\n[tools.a]\nbuild = "."\n[tools.b]\nbuild = "."\non_change = "serve"\n')
    await desk.trust(project)
    jq = desk.tools.of_project("jq", os.fsencode(project / "deep" / "er"))
    assert jq is not None
    assert (jq.word, jq.offers, jq.project) == ("jq", ("jq",), project)
    assert desk.tools.get(jq.name) == jq
    made = {each.word: each.on_change for each in desk.tools.here(os.fsencode(project))}
    assert made == {"jq": OnChange.SERVE, "a": OnChange.WAIT, "b": OnChange.SERVE}
    assert mean(desk, "jq", project.parent) == ""
    assert desk.tools.elsewhere("jq") == project


async def test_nothing_is_known_before_it_is_allowed(desk: Desk, project: Path) -> None:
    """Not by command, not by name, not among all, and no shim."""
    with pytest.raises(NotTrusted, match="is not trusted") as refusal:
        mean(desk, "jq", project)
    assert refusal.value.project == project
    name = desk.tools.here(os.fsencode(project))[0].name
    with pytest.raises(NotTrusted):
        desk.tools.get(name)
    assert desk.tools.all() == ()
    assert desk.tools.commands() == ()
    assert desk.tools.elsewhere("jq") is None
    with pytest.raises(NotTrusted):
        desk.tools.defined(project)


@pytest.mark.parametrize(
    ("more", "ask"),
    [
        ('network = "host"', "use the host's network"),
        ('user = "root"', "run as root inside"),
        ('env = ["AWS_*"]', "see your variables AWS_*"),
        ('env = ["A=1"]', 'have A set to "1"'),
        ('mounts = ["/etc:ro"]', "read /etc"),
        ('mounts = ["..:/up"]', "read and write {parent}"),
        ('ports = ["80"]', "be reached at port 80:80"),
        ('devices = ["/dev/kvm"]', "open /dev/kvm"),
        ('gpus = "all"', "use all GPUs"),
        ('share = ["ssh-agent"]', "use your ssh-agent"),
        ('root = "kept"', "keep its root from run to run"),
        ('git = "write"', "change hooks and configuration of Git repositories"),
        ('commands = ["jq", "git"]', "be what jq and git mean in the project"),
    ],
)
async def test_what_it_asks_for_beyond_is_asked(desk: Desk, project: Path, more: str, ask: str) -> None:
    """And only that is new; until it is allowed the tool is refused, and only it."""
    write(project, '[tools.jq]\nimage = "jq"\n[tools.yq]\nimage = "yq"\n')
    await desk.trust(project)
    write(project, f'[tools.jq]\nimage = "other"\n{more}\n[tools.yq]\nimage = "yq"\n')
    expected = "jq: " + ask.format(parent=project.parent)
    assert desk.projects.review(project).new == (expected,)
    with pytest.raises(NotTrusted, match="more than you have allowed"):
        mean(desk, "jq", project)
    assert mean(desk, "yq", project)
    assert [each.word for each in desk.tools.all()] == ["yq"]
    await desk.trust(project)
    assert mean(desk, "jq", project)


@pytest.mark.parametrize(
    ("more", "asks"),
    [
        ("secrets = { a = '/etc/shadow', b = 'own' }", ["let its build read /etc/shadow"]),
        ("ssh = true", ["let its build log in by SSH with your SSH agent"]),
        ("ssh = '/run/agent'", ["let its build log in by SSH with /run/agent"]),
    ],
)
async def test_what_a_build_is_given_beyond_the_project_is_asked(
    desk: Desk, project: Path, more: str, asks: list[str]
) -> None:
    write(project, "[tools.jq.build]\ncontext = '.'\n")
    await desk.trust(project)
    write(project, f"[tools.jq.build]\ncontext = '.'\n{more}\n")
    assert desk.projects.review(project).new == tuple(f"jq: {each}" for each in asks)


async def test_less_is_asked_again_only_once_it_was_reviewed(desk: Desk, project: Path) -> None:
    """To allow something is to allow just that."""
    write(project, '[tools.jq]\nimage = "jq"\nnetwork = "host"\n')
    await desk.trust(project)
    write(project, '[tools.jq]\nimage = "jq"\n')
    assert mean(desk, "jq", project)
    await desk.trust(project)
    write(project, '[tools.jq]\nimage = "jq"\nnetwork = "host"\n')
    with pytest.raises(NotTrusted):
        mean(desk, "jq", project)


async def test_only_what_was_shown_is_allowed(desk: Desk, project: Path) -> None:
    """A file that changes between the question and the answer is asked about again."""
    digest = desk.projects.review(project).digest
    write(project, '[tools.jq]\nimage = "jq"\nnetwork = "host"\n')
    with pytest.raises(Conflict, match="has changed"):
        await desk.projects.allow(project, digest)
    with pytest.raises(NotTrusted):
        mean(desk, "jq", project)


async def test_consent_outlives_the_daemon(desk: Desk, project: Path, tmp_path: Path) -> None:
    """Until it is taken back. Names of directories may be any bytes."""
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe"))
    odd.mkdir()
    write(odd, '[tools.odd]\nimage = "jq"\n')
    await desk.trust(project)
    await desk.trust(odd)
    next_one = Desk(tmp_path)
    try:
        await next_one.projects.start()
        assert mean(next_one, "jq", project)
        assert mean(next_one, "odd", odd)
        await next_one.projects.forget(project)
        with pytest.raises(NotTrusted):
            mean(next_one, "jq", project)
        with pytest.raises(NotFound):
            await next_one.projects.forget(project)
    finally:
        await next_one.database.close()


async def test_the_users_own_file_makes_no_project(desk: Desk) -> None:
    """Though it is called the same."""
    desk.own.write_text('[tools.jq]\nimage = "jq"\n')
    assert desk.projects.at(os.fsencode(desk.own.parent)) is None
    assert [each.name for each in desk.tools.here(os.fsencode(desk.own.parent))] == ["jq"]


async def test_a_project_hides_what_it_redefines(desk: Desk, project: Path) -> None:
    """By the name of a tool, or by a command."""
    kit = '[tools.kit]\nimage = "kit"\ncommands = ["cc"]\n'
    desk.own.write_text(f'[tools.jq]\nimage = "mine"\n{kit}[tools.x]\nimage = "x"\n')
    write(project, '[tools.jq]\nimage = "jq"\n[tools.cc]\nimage = "cc"\n')
    assert [each.word for each in desk.tools.here(os.fsencode(project))] == ["jq", "cc", "x"]
    assert [each.word for each in desk.tools.here(b"/")] == ["jq", "kit", "x"]


async def test_names_that_nobody_has(desk: Desk, project: Path) -> None:
    """A mark that is no project's, and a file that went away."""
    with pytest.raises(UnknownTool):
        desk.tools.get("jq@000000")
    await desk.trust(project)
    (project / "dx.toml").unlink()
    assert desk.tools.all() == ()
    with pytest.raises(NotFound, match=r"no dx\.toml"):
        desk.projects.review(project)
