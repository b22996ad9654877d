"""What steps of a build may read and log in with, by docker buildx alone; nothing of it is kept."""

import hashlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.project import Project
from tests.fakes.real_buildx import WITHOUT, with_buildx
from tests.house import ME, House, docker

pytestmark = pytest.mark.timeout(240)

TOKEN = b"hunter2-of-the-registry"
READS = "RUN --mount=type=secret,id=token,required sha256sum < /run/secrets/token > /sum"
LOGS_IN = 'RUN --mount=type=ssh,required test -S "$SSH_AUTH_SOCK" && echo agent > /sum'
COMES = '[tools.{tool}]\nnetwork = "none"\n[tools.{tool}.build]\ncontext = "{path}"\n{more}\n'


class Private(Project):
    """Its build has more than files."""

    def __init__(self, house: House, image: str, step: str, more: str) -> None:
        self.more = more
        super().__init__(house, image)
        self.put("Dockerfile", f'FROM {image}\n{step}\nENTRYPOINT ["cat", "/sum"]\n')

    def definition(self) -> str:
        return COMES.format(tool=self.tool, path=self.path, more=self.more)

    def fails(self) -> str:
        """What a run says that cannot be."""
        done = self.house.run([self.tool], timeout=60)
        assert done.returncode == 125, done
        return done.stderr.decode()


@pytest.fixture
def private(tmp_path: Path) -> Iterator[House]:
    """A house whose user has the plugin."""
    with House(ME, **with_buildx(tmp_path)) as made:
        yield made


@pytest.fixture
def token(tmp_path: Path) -> Path:
    """A file that only its owner may read."""
    file = tmp_path / "to,ken"
    file.write_bytes(TOKEN)
    file.chmod(0o600)
    return file


def test_a_step_reads_a_secret_and_nothing_keeps_it(private: House, image: str, token: Path) -> None:
    """Neither the image nor anything that dx writes; another content is no other build."""
    project = Private(private, image, READS, f"secrets = {{ token = '{token}' }}")
    try:
        assert project.run().split()[0] == hashlib.sha256(TOKEN).hexdigest()
        ref = f"dx/{project.tool}:latest"
        saved = subprocess.run(["docker", "save", ref], capture_output=True, check=True).stdout
        told = docker("history", "--no-trunc", ref) + docker("inspect", ref) + private.log
        assert TOKEN not in saved
        assert TOKEN.decode() not in told
        kept = [each for each in Path(private.file).parents[1].rglob("*") if each.is_file()]
        assert kept
        assert not [each for each in kept if TOKEN in each.read_bytes()]
        token.write_bytes(b"another")
        assert project.run().split()[0] == hashlib.sha256(TOKEN).hexdigest()
        assert len(project.builds()) == 1
    finally:
        project.close()


def test_a_secret_that_cannot_be_read_is_named(private: House, image: str, token: Path) -> None:
    """Once it can, it is built."""
    project = Private(private, image, READS, f"secrets = {{ token = '{token}' }}")
    try:
        token.unlink()
        said = project.fails()
        assert f"the secret token of {project.tool} cannot be read: {token}: No such file" in said
        token.write_bytes(TOKEN)
        assert project.run().split()[0] == hashlib.sha256(TOKEN).hexdigest()
    finally:
        project.close()


@pytest.mark.parametrize("named", [False, True], ids=["of the environment", "by its path"])
def test_a_step_logs_in_with_an_agent(image: str, tmp_path: Path, named: bool) -> None:
    agent = tmp_path / "agent"
    with subprocess.Popen(["ssh-agent", "-D", "-a", agent], stdout=subprocess.DEVNULL) as process:
        environ = {} if named else {"SSH_AUTH_SOCK": str(agent)}
        try:
            with House(ME, **with_buildx(tmp_path), **environ) as house:
                project = Private(house, image, LOGS_IN, f"ssh = '{agent}'" if named else "ssh = true")
                try:
                    assert project.run() == "agent"
                finally:
                    project.close()
        finally:
            process.terminate()


@pytest.mark.parametrize(
    ("more", "reason"),
    [("ssh = true", "the daemon knows no SSH agent"), ("ssh = '/nowhere/agent'", "/nowhere/agent is not there")],
)
def test_an_agent_that_is_not_there_is_said(
    monkeypatch: pytest.MonkeyPatch, image: str, tmp_path: Path, more: str, reason: str
) -> None:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    with House(ME, **with_buildx(tmp_path)) as house:
        project = Private(house, image, LOGS_IN, more)
        try:
            assert reason in project.fails()
        finally:
            project.close()


def test_without_the_plugin_it_is_not_built_without_its_secrets(image: str, token: Path) -> None:
    with House(ME, **WITHOUT) as house:
        project = Private(house, image, READS, f"secrets = {{ token = '{token}' }}")
        try:
            said = project.fails()
            assert "only docker buildx can give it" in said
            assert "install docker-buildx" in said
        finally:
            project.close()
