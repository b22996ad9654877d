"""Publishing a tool at a real registry, and having it elsewhere."""

import json
import secrets
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pexpect
import pytest

from tests.fakes.real_registry import RealRegistry
from tests.house import ME, Forwarder, House, docker
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


def test_a_terminal_is_asked_before_values_are_published(
    house: House, image: str, registry: RealRegistry, ref: str
) -> None:
    """No pushes nothing; yes pushes what `--yes` would."""
    assert house.dx(["add", "it", image, "--network", "none", "--env", "A=value"]).returncode == 0
    for answer, status in (("n", 125), ("", 125), ("y", 0)):
        terminal = pexpect.spawn(
            str(house.bin / "dx"), ["push", "it", ref], cwd=str(house.work), env=house.env, timeout=60
        )
        terminal.expect_exact("Whoever has the image will be able to read the value of A. Push it? [y/N] ")
        assert b"value of A" not in terminal.before  # asked once
        terminal.sendline(answer)
        terminal.expect(pexpect.EOF)
        terminal.close()
        assert terminal.exitstatus == status, terminal.before
        assert (f"{ref} is ".encode() in terminal.before) is (status == 0)
        assert ('"PUT /v2/' in registry.log) is (status == 0)


def test_a_tool_of_a_project_is_pushed_by_its_name_there(
    house: House, image: str, registry: RealRegistry, ref: str
) -> None:
    """And is a tool like any other elsewhere; one of a project that is not trusted cannot be pushed."""
    project = Path(house.place("project").decode())
    (project / "tool").mkdir()
    word = secrets.token_hex(4)
    (project / "tool" / "Dockerfile").write_text(f'FROM {image}\nENTRYPOINT ["echo", "made", "{word}"]\n')
    text = (
        "[tools.made]\nbuild = 'tool'\nnetwork = 'none'\ncommands = ['made', 'env']\nenv = ['WORD_*']\nmemory = '64m'\n"
    )
    (project / "dx.toml").write_text(text)
    refused = house.dx(["push", "made", ref], cwd=project)
    assert (refused.returncode, b"dx trust" in refused.stderr) == (125, True), refused.stderr
    assert house.dx(["trust", "--yes"], cwd=project).returncode == 0
    assert house.dx(["push", "made", ref]).returncode == 125  # it is none outside
    try:
        done = house.dx(["push", "made", ref], cwd=project)
        assert done.returncode == 0, done.stderr
        assert f"dx add made {ref}".encode() in done.stderr
        with House() as other:
            refused = other.dx(["add", "made", ref])
            assert (refused.returncode, b"see your variables WORD_*" in refused.stderr) == (125, True)
            added = other.dx(["add", "made", ref, "--yes"])
            assert added.returncode == 0, added.stderr
            there = shown(other, "made")
            assert {key: there[key] for key in ("network", "commands", "env", "memory", "build", "image")} == {
                "network": "none", "commands": ["made", "env"], "env": ["WORD_*"], "memory": "64m", "build": None,
                "image": ref,
            }  # fmt: skip
            environ = {**other.env, "WORD_A": "a"}
            assert b"WORD_A=a" in other.run(["env"], env=environ).stdout
    finally:
        house.dx(["stop", "--all"])
        house.stop()
        for each in {*docker("image", "ls", "--quiet", "--filter", f"label=dev.dx.builder={house.instance}").split()}:
            docker("image", "rm", "--force", each)


def pushed(house: House, name: str, ref: str, **options: object) -> str:
    """The digest of a push that ends well."""
    done = house.dx(["push", name, ref, "--json"], **options)
    assert done.returncode == 0, done.stderr
    digest: str = json.loads(done.stdout.splitlines()[-1])["pushed"]["digest"]
    return digest


@pytest.fixture
def base(image: str) -> Iterator[str]:
    """An image with several layers, instructions that make none, and one for who builds on it."""
    name = f"dx-push-{secrets.token_hex(4)}"
    lines = (
        f"FROM {image}\nCOPY --from={image} /bin/busybox /one\nENV A=1\nRUN echo 2 >/two\nONBUILD RUN touch /three\n"
    )
    docker("build", "--quiet", "--tag", name, "-", stdin=lines.encode())
    yield name
    docker("image", "rm", "--force", name)


def test_the_same_tool_is_the_same_image_each_time(house: House, base: str, registry: RealRegistry, ref: str) -> None:
    """Under any name, from any daemon that starts anew; other labels are another one. Nothing is run to make it."""
    assert house.dx(["add", "it", base, "--network", "none"]).returncode == 0
    first = pushed(house, "it", ref)
    house.stop()
    assert pushed(house, "it", ref) == first
    other = registry.ref(f"tool-{secrets.token_hex(4)}:2")
    assert pushed(house, "it", other) == first
    assert (held(ref), held(other), left(house)) == ("", "", [])
    docker("pull", "--quiet", ref)
    here, there = (json.loads(docker("image", "inspect", each))[0] for each in (base, ref))
    assert (there["RootFS"], there["Created"]) == (here["RootFS"], here["Created"])
    assert there["Config"]["OnBuild"] == ["RUN touch /three"]
    histories = [docker("history", "--no-trunc", "--quiet=false", "--format", "{{.CreatedBy}} {{.Size}}", each)
                 for each in (base, ref)]  # fmt: skip
    assert histories[0] == histories[1]
    assert docker("run", "--rm", "--network", "none", ref, "ls", "/two") == "/two"
    house.dx(["add", "it", base, "--network", "none", "--memory", "64m", "--yes"])
    assert pushed(house, "it", ref) != first


def test_two_pushes_of_one_tool_at_once(house: House, base: str, registry: RealRegistry, ref: str) -> None:
    """Neither takes the image away from the other."""
    assert house.dx(["add", "it", base, "--network", "none"]).returncode == 0
    names = [ref, *(registry.ref(f"tool-{secrets.token_hex(4)}:{number}") for number in range(3))]
    pushing = [house.popen(["push", "it", name], stdout=subprocess.PIPE, stderr=subprocess.PIPE) for name in names]
    digests = set()
    for each in pushing:
        out, said = each.communicate(timeout=60)
        assert each.returncode == 0, said
        digests.add(out.split()[-1])
    assert len(digests) == 1
    assert ([held(each) for each in names], left(house)) == ([""] * 4, [])


def test_an_image_that_is_here_by_its_digest_stays(house: House, base: str, registry: RealRegistry, ref: str) -> None:
    """Though a push makes the very same one, and takes its own name away."""
    assert house.dx(["add", "it", base, "--network", "none"]).returncode == 0
    at = f"{ref.rpartition(':')[0]}@{pushed(house, 'it', ref)}"
    docker("pull", "--quiet", at)
    try:
        assert at.endswith(pushed(house, "it", ref))
        assert docker("image", "inspect", "--format", "{{.Id}}", at)
    finally:
        registry.forget(at)


def test_an_engine_that_wants_all_layers_has_it_built(
    image: str, registry: RealRegistry, ref: str, tmp_path: Path
) -> None:
    """It says so when it is to load the image; what is pushed is the same but for its digest."""
    with Forwarder(tmp_path / "e", ME) as engine, House(ME, DOCKER_HOST=engine.address) as house:
        assert house.dx(["add", "it", image, "--network", "none", "--memory", "64m"]).returncode == 0
        engine.refuse(b"/images/load", "layer not found")
        pushed(house, "it", ref)
        assert any("/build?" in each for each in engine.requests)
        assert (held(ref), left(house)) == ("", [])
    with House() as other:
        assert other.dx(["add", "it", ref]).returncode == 0
        assert shown(other, "it")["memory"] == "64m"


def test_what_somebody_builds_on_a_pushed_image_stays(
    house: House, image: str, registry: RealRegistry, ref: str
) -> None:
    """Though it has the label, and no name: after a push, and after the next one with a prune."""
    assert house.dx(["add", "it", image, "--network", "none"]).returncode == 0
    assert house.dx(["push", "it", ref]).returncode == 0
    docker("pull", "--quiet", ref)
    mine = docker("build", "--quiet", "--network", "none", "-", stdin=f"FROM {ref}\nENV MINE=1\n".encode())
    try:
        registry.forget(ref)
        assert house.dx(["push", "it", ref]).returncode == 0
        assert house.dx(["prune"]).returncode == 0
        assert docker("image", "inspect", "--format", "{{.Id}}", mine) == mine
    finally:
        docker("image", "rm", "--force", mine)
