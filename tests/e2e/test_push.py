"""Publishing a tool at a real registry, and having it elsewhere."""

import json
import secrets
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.real_registry import RealRegistry
from tests.house import House, docker
from tests.waiting import until

pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def registry(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[RealRegistry]:
    with RealRegistry(tmp_path, login=getattr(request, "param", False)) as registry:
        yield registry


@pytest.fixture
def ref(registry: RealRegistry) -> Iterator[str]:
    """A name of its own at the registry, which the engine does not hold in the end."""
    name = registry.ref(f"tool-{secrets.token_hex(4)}:1")
    yield name
    registry.forget(name)


def held(name: str) -> str:
    """The id of the image that the engine has under a name; empty where it has none."""
    return docker("image", "ls", "--quiet", "--no-trunc", name)


def left(house: House) -> list[str]:
    """The images that the house's daemon made to be pushed."""
    return docker("image", "ls", "--quiet", "--all", "--filter", f"label=dev.dx.push={house.instance}").split()


def shown(house: House, name: str) -> dict[str, object]:
    """The tool's definition."""
    tool: dict[str, object] = json.loads(house.dx(["show", name, "--json"]).stdout)
    return tool


private = pytest.mark.parametrize("registry", [True], indirect=True, ids=["private"])


@private
def test_a_tool_that_is_pushed_is_the_same_elsewhere(
    house: House, image: str, registry: RealRegistry, ref: str
) -> None:
    """With its commands, entrypoint and options; what reaches beyond the defaults is asked for there, once."""
    options = ["--command", "env", "--command", "cat", "--entrypoint", 'sh -c \'"$0" "$@"\'', "--network", "host"]
    options += [
        "--env",
        'A=$B "c" \\',
        "--env",
        "AWS_*",
        "--memory",
        "64m",
        "--cache",
        "/var/cache",
        "--git",
        "write",
    ]
    options += ["--mount", "/srv:/srv:ro"]
    assert house.dx(["add", "both", image, *options]).returncode == 0
    refused = house.dx(["push", "both", ref])
    assert (refused.returncode, b"read the value of A" in refused.stderr) == (125, True)
    refused = house.dx(["push", "both", ref, "--yes"])
    assert refused.returncode == 125
    assert f"docker login {registry.host}".encode() in refused.stderr
    registry.docker_config(house.home / ".docker")
    done = house.dx(["push", "both", ref, "--yes"])
    assert done.returncode == 0, done.stderr
    assert b"without the mount of /srv" in done.stderr
    assert (held(ref), left(house)) == ("", [])
    with House() as other:
        registry.docker_config(other.home / ".docker")
        refused = other.dx(["add", "both", ref])
        assert refused.returncode == 125
        for each in (b"use the host's network", b"see your variables AWS_*", b"have A set to", b"Git repositories"):
            assert each in refused.stderr
        added = other.dx(["add", "both", ref, "--yes"])
        assert added.returncode == 0, added.stderr
        assert shown(other, "both") == {**shown(house, "both"), "image": ref, "mounts": []}
        assert b"A=$B" in other.run(["env"]).stdout
        assert other.dx(["add", "both", ref]).returncode == 0
        assert other.dx(["prune"]).returncode == 0
        assert held(ref)


def test_a_tool_that_is_built_is_pushed_as_it_serves(
    house: House, image: str, registry: RealRegistry, ref: str
) -> None:
    """What its image says of itself, or dx of it, is not what the tool is; no layer is made for it."""
    context = house.work / "own"
    context.mkdir()
    lines = (
        f"FROM {image}\nENV WORD=built\n" + "LABEL dev.dx.network=host dev.dx.memory=64m dev.dx.commands='[\"sh\"]'\n"
    )
    lines += "LABEL io.whalebrew.config.environment='[\"SECRET\"]'\n"
    (context / "Dockerfile").write_text(lines)
    name = f"own{secrets.token_hex(4)}"
    try:
        added = house.dx(["add", name, "--build", str(context), "--entrypoint", "sh -c 'echo $WORD'"])
        assert added.returncode == 0, added.stderr
        done = house.dx(["push", name, ref, "--json"])
        assert done.returncode == 0, done.stderr
        last = [json.loads(line) for line in done.stdout.splitlines()][-1]
        assert last["pushed"]["ref"] == ref
        with House() as other:
            added = other.dx(["add", name, ref])
            assert added.returncode == 0, added.stderr
            there = shown(other, name)
            assert (there["network"], there["memory"], there["commands"], there["env"]) == ("bridge", None, [], [])
            assert other.run([name]).stdout == b"built\n"
            docker("pull", "--quiet", ref)
            pushed = json.loads(docker("image", "inspect", ref))[0]
            own = json.loads(docker("image", "inspect", f"dx/{name}:latest"))[0]
            assert pushed["RootFS"] == own["RootFS"]
            assert not pushed["Config"]["Labels"]["dev.dx.builder"]
            assert other.dx(["prune"]).returncode == 0
            assert held(ref)
        again = json.loads(house.dx(["push", name, ref, "--json"]).stdout.splitlines()[-1])
        assert again["pushed"]["ref"] == ref
    finally:
        house.dx(["stop", "--all"])
        house.stop()
        for each in {*docker("image", "ls", "--quiet", "--filter", f"label=dev.dx.tool={name}").split()}:
            docker("image", "rm", "--force", each)


def test_the_name_means_afterwards_what_it_did(house: House, image: str, registry: RealRegistry, ref: str) -> None:
    """Here, where an image of that name was already, and the tool's own may be that."""
    docker("tag", image, ref)
    before = held(ref)
    assert house.dx(["add", "it", ref, "--network", "none", "--entrypoint", "echo"]).returncode == 0
    assert house.dx(["push", "it", ref]).returncode == 0
    assert (held(ref), left(house)) == (before, [])


@pytest.mark.parametrize(
    ("to", "reason"),
    [
        ("a.example/Tool:1", "no registry can take"),
        ("a.example/tool@sha256:" + "0" * 64, "no registry can take"),
        ("127.0.0.1:1/tool:1", "cannot be reached"),
    ],
)
def test_a_push_that_cannot_be_says_why(house: House, image: str, to: str, reason: str) -> None:
    """On one line, and leaves nothing."""
    assert house.dx(["add", "it", image, "--network", "none"]).returncode == 0
    done = house.dx(["push", "it", to], timeout=120)
    assert done.returncode == 125
    assert reason.encode() in done.stderr
    assert done.stderr.strip().splitlines()[-1].startswith(b"dx: ")
    assert (held(to.partition("@")[0]), left(house)) == ("", [])


def begun(house: House, registry: RealRegistry, tool: str, ref: str) -> "subprocess.Popen[bytes]":
    """A push whose registry stands still."""
    registry.hold(0)
    pushing = subprocess.Popen(
        [house.bin / "dx", "push", tool, ref],
        **house.options({"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}),
    )
    until(registry.is_held, "the registry was asked")
    return pushing


def test_ctrl_c_ends_a_push(house: House, image: str, registry: RealRegistry, ref: str) -> None:
    """In the engine too, and leaves nothing there."""
    assert house.dx(["add", "it", image, "--network", "none"]).returncode == 0
    pushing = begun(house, registry, "it", ref)
    pushing.send_signal(signal.SIGINT)
    _, said = pushing.communicate(timeout=30)
    assert (pushing.returncode, said.count(b"Traceback")) == (130, 0)
    until(lambda: not held(ref) and not left(house), "what was made is gone")
    registry.release()
    done = house.dx(["push", "it", ref])
    assert done.returncode == 0, done.stderr


def test_a_daemon_that_is_killed_in_a_push_leaves_what_prune_takes(
    house: House, image: str, registry: RealRegistry, ref: str
) -> None:
    """And the name means again what it did."""
    assert house.dx(["add", "it", image, "--network", "none"]).returncode == 0
    docker("tag", image, ref)
    before = held(ref)
    pushing = begun(house, registry, "it", ref)
    house.stop(signal.SIGKILL)
    pushing.communicate(timeout=30)
    assert pushing.returncode == 125
    registry.release()
    assert (len(left(house)), held(ref) != before) == (1, True)
    done = house.dx(["prune"])
    assert done.returncode == 0, done.stderr
    assert (held(ref), left(house)) == (before, [])


def test_a_registry_that_dies_in_a_push_is_told_of(house: House, image: str, registry: RealRegistry, ref: str) -> None:
    """On one line; the tool runs on, and the push can be done again."""
    assert house.dx(["add", "it", image, "--network", "none", "--entrypoint", "echo"]).returncode == 0
    pushing = begun(house, registry, "it", ref)
    registry.kill()
    registry.release()
    _, said = pushing.communicate(timeout=120)
    assert (pushing.returncode, b"cannot be pushed" in said) == (125, True), said
    assert (held(ref), left(house)) == ("", [])
    assert house.run(["it", "hello"]).stdout == b"hello\n"
    registry.start()
    assert house.dx(["push", "it", ref]).returncode == 0
