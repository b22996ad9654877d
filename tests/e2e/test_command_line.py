"""The command line with the real daemon and the real engine; and that the stand-in daemon of tests/dx is like it."""

import json
import re
import secrets
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from dx.api import ApiError, Client
from tests.fakes.daemon import serving
from tests.house import BUSYBOX, House, docker


@pytest.fixture(params=["real", "fake"])
def client(request: pytest.FixtureRequest, house: House, tmp_path: Path) -> Iterator[Client]:
    """A client of the daemon, and of the one that stands in for it."""
    with ExitStack() as stack:
        if request.param == "fake":
            stack.enter_context(serving(str(tmp_path / "s")))
            yield Client(tmp_path / "s")
        else:
            house.start()
            yield Client(house.socket)


def test_both_daemons_keep_tools_alike(client: Client, image: str) -> None:
    """What was put is found, listed, replaced, prepared and gone after; errors have the same codes."""
    assert client.tools() == []
    first = client.put_tool("busy", {"image": image, "commands": ["sh", "id"], "mounts": ["/tmp:/t:ro"]})
    assert first == {
        "name": "busy",
        "project": None,
        "image": image,
        "build": None,
        "on_change": "serve",
        "smoke": [],
        "entrypoint": None,
        "commands": ["sh", "id"],
        "network": "bridge",
        "needs": [],
        "env": [],
        "mounts": ["/tmp:/t:ro"],
        "user": "me",
        "paths": "auto",
        "root": "fresh",
        "scratch": "memory",
        "scratch_size": None,
        "git": "read",
        "caches": [],
        "memory": None,
        "cpus": None,
        "pids": None,
        "ulimits": {},
        "ports": [],
        "devices": [],
        "gpus": None,
        "share": [],
    }
    assert client.tool("busy") == first
    assert client.tools() == [first]
    assert client.reshim()["kept"] == ["id", "sh"] or client.reshim()["kept"] == ["sh", "id"]
    *_, last = client.prepare("busy")
    assert last["image"].startswith("sha256:")
    *_, told = client.describe(image=image)
    assert told == {"description": {"definition": {}, "asks": [], "notes": []}}
    assert client.put_tool("busy", {"image": image})["commands"] == []
    assert client.status()["tools"] == 1
    assert (client.containers(), client.runs(), client.drop_containers()) == ([], [], 0)
    client.check("[tools.x]\nimage = 'x'\n")
    client.delete_tool("busy")
    for ask in (
        lambda: client.tool("busy"),
        lambda: client.delete_tool("busy"),
        lambda: list(client.prepare("busy")),
    ):
        with pytest.raises(ApiError) as caught:
            ask()
        assert (caught.value.status, caught.value.code) == (404, "unknown-tool")


def test_both_daemons_refuse_a_wrong_file_alike(client: Client) -> None:
    """With file and line."""
    with pytest.raises(ApiError) as caught:
        client.check("bad = 1\n")
    assert (caught.value.status, caught.value.code) == (422, "bad-definition")
    assert "dx.toml:1: bad: unknown key" in caught.value.message


def out(house: House, *arguments: str) -> str:
    """What dx prints, where it succeeds."""
    done = house.dx(arguments)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


def refused(house: House, *arguments: str, **environ: str) -> str:
    """The line with which dx fails."""
    done = house.dx(arguments, env={**house.env, **environ})
    assert (done.returncode, done.stdout) == (125, b"")
    text = done.stderr.decode()
    assert re.fullmatch(r"dx: [^\n]+\n", text), text
    return text


@pytest.fixture
def source(house: House) -> Iterator[str]:
    """A directory with a Dockerfile; what is built of it as `NAME` goes away again."""
    directory = Path(house.place("src").decode())
    (directory / "busybox").write_bytes(Path(BUSYBOX).read_bytes())
    (directory / "busybox").chmod(0o755)
    (directory / "Dockerfile").write_text(
        'FROM scratch\nARG GREETING=hello\nENV GREETING=$GREETING\nCOPY busybox /bin/sh\nENTRYPOINT ["/bin/sh", "-c"]\n'
    )
    yield str(directory)
    for name in ("made",):
        docker("image", "rm", "--force", f"dx/{name}:latest")


def test_a_tool_from_a_dockerfile_lives_and_goes(house: House, source: str) -> None:
    """Every verb on the way, each as a user would call it."""
    name = "made"
    assert f"{name} is ready: {name}" in out(house, "add", name, "--build", source, "--arg", "GREETING=hi")
    assert out(house, "run", name, "echo $GREETING") == "hi\n"
    assert out(house, "ls", "--names") == f"{name}\n"
    assert source in out(house, "show", name)
    shim = house.data / "shims" / name
    assert shim.readlink() == house.bin / "dx"
    assert "another build and memory" in refused(house, "add", name, "--build", source, "--memory", "64m")
    assert json.loads(out(house, "ps", "--json"))["containers"][0]["tools"] == [name]
    assert [run["exit_code"] for run in json.loads(out(house, "ps", "--all", "--json"))["runs"]] == [0]
    assert out(house, "stop", name) == "1 warm container removed\n"
    assert out(house, "rm", name) == f"{name} is removed\n"
    assert not shim.is_symlink()
    assert "no tool is called" in refused(house, "show", name)


def test_without_an_image_nothing_is_kept(house: House, source: str) -> None:
    """Neither of a pull nor of a build; a tool that was there stays as it was."""
    out(house, "add", "made", "--build", source)
    before = house.file.read_text()
    missing = f"localhost:1/dx-{secrets.token_hex(4)}"
    assert missing in refused(house, "add", "other", missing)
    assert missing in refused(house, "add", "made", missing, "--yes")
    Path(source, "Dockerfile").write_text("FROM scratch\nCOPY nothing /\n")
    done = house.dx(["add", "broken", "--build", source])
    assert done.returncode == 125
    assert b"nothing" in done.stderr
    assert house.file.read_text() == before
    assert sorted(each.name for each in (house.data / "shims").iterdir()) == ["made"]


def test_comments_outlive_the_command_line(house: House, image: str) -> None:
    """The file is the user's."""
    house.define("# mine\n\n[daemon]\nmax_warm = 7 # lucky\n\n# about a\n[tools.a]\nimage = 'a' # old\n")
    out(house, "add", "b", image)
    out(house, "add", "a", image, "--yes")
    out(house, "rm", "b")
    assert house.file.read_text() == (
        f'# mine\n\n[daemon]\nmax_warm = 7 # lucky\n\n# about a\n[tools.a]\nimage = "{image}" # old\n'
    )


def test_a_broken_file_is_told_and_mended(house: House, image: str) -> None:
    """The last good definition goes on, `dx edit` lets nothing wrong in."""
    house.define(f"[tools.busy]\nimage = '{image}'\n")
    assert out(house, "run", "busy", "echo", "1") == "1\n"
    house.define("[tools.busy]\nimage = 3\n")
    assert out(house, "run", "busy", "echo", "2") == "2\n"
    done = house.dx(["ls"])
    assert b"busy" in done.stdout
    assert f"{house.file}:2: tools.busy.image: must be text".encode() in done.stderr
    assert "must be text" in out(house, "status")
    for wrong in ("[tools.busy]\nimage = 4\n", "[daemon]\nmax_warm = 0\n", "[tools\n"):
        text = house.work / "text"
        text.write_text(wrong)
        done = house.dx(["edit"], env={**house.env, "EDITOR": f"cp {text}", "TMPDIR": str(house.work)})
        assert done.returncode == 125
        assert str(house.file).encode() in done.stderr
    text.write_text(f"[tools.busy]\nimage = '{image}'\ncommands = ['id']\n")
    assert house.dx(["edit"], env={**house.env, "EDITOR": f"cp {text}"}).stdout == b"+ id\n"
    assert json.loads(out(house, "status", "--json"))["problem"] is None


def test_the_daemon_is_started_stopped_and_replaced(house: House) -> None:
    """By hand."""
    assert "not running" in refused(house, "status")
    pid = house.start()
    assert f"pid {pid}" in out(house, "status", "--wait")
    assert f"was pid {pid}" in out(house, "daemon", "restart")
    assert json.loads(out(house, "status", "--wait", "--json"))["pid"] != pid
    assert '"event"' in out(house, "daemon", "logs", "-n", "5")
    out(house, "daemon", "stop")
    assert "not running" in refused(house, "status")
    assert out(house, "daemon", "stop") == "The daemon is not running\n"


def test_doctor_finds_a_dx_that_works_well(house: House) -> None:
    """And one without an engine not."""
    assert house.dx(["doctor"]).returncode == 0, house.dx(["doctor"]).stdout.decode()
    house.stop()
    done = house.dx(["doctor", "--json"], env={**house.env, "DOCKER_HOST": "unix:///nowhere.sock"})
    failed = [check["name"] for check in json.loads(done.stdout)["checks"] if check["state"] == "fail"]
    assert (done.returncode, failed) == (125, ["engine"])
