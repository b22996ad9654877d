"""Tools as tables."""

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dxd.errors import BadDefinition, BadName
from dxd.kit import toml
from dxd.tools.model import (
    Build,
    Device,
    GitAccess,
    Limits,
    Missing,
    Mount,
    Network,
    Paths,
    Port,
    Share,
    Tool,
    ToolName,
    Ulimit,
    User,
)
from dxd.tools.parse import parse_tool, to_table
from dxd.tools.ulimits import NUMBERS

BASE = Path("/etc/dx")
HOME = str(Path.home())


def parse(**table: object) -> Tool:
    """A tool named x."""
    return parse_tool("x", table, base=BASE)


def test_everything_at_once() -> None:
    """Each key ends in its field."""
    tool = parse(
        image="team/x:1",
        entrypoint=["x", "--quiet", ""],
        commands=["x", "y"],
        network="bridge",
        env=["A=1", "LC_*", "E=", "N=a\nb=c"],
        mounts=["data", "~/m:/m", "/r:/s:ro", "/t:ro", "/u:/v:rw", "/w:ro,skip", "/x:/y:create"],
        user="root",
        paths="project",
        git="write",
        caches=["~/.cache/x", "/var/cache//x/"],
        scratch="memory",
        scratch_size="64m",
        memory="512m",
        cpus=2,
        pids=100,
        ulimits={"nproc": "100:unlimited", "nofile": 1024, "stack": "unlimited"},
        ports=["8000", "8001:80", "0.0.0.0:53:5353/udp", "[::1]:1:2/tcp"],
        devices=["/dev/kvm", "/dev/snd:r", "/dev/a:/dev/b:rw"],
        gpus=["0", "GPU-1", "0"],
        share=["wayland", "ssh-agent"],
    )
    assert tool == Tool(
        name=ToolName("x"),
        image="team/x:1",
        entrypoint=("x", "--quiet", ""),
        commands=("x", "y"),
        network=Network.BRIDGE,
        env=("A=1", "LC_*", "E=", "N=a\nb=c"),
        mounts=(
            Mount("/etc/dx/data", "/etc/dx/data"),
            Mount(f"{HOME}/m", "/m"),
            Mount("/r", "/s", readonly=True),
            Mount("/t", "/t", readonly=True),
            Mount("/u", "/v"),
            Mount("/w", "/w", readonly=True, missing=Missing.SKIP),
            Mount("/x", "/y", missing=Missing.CREATE),
        ),
        user=User.ROOT,
        paths=Paths.PROJECT,
        git=GitAccess.WRITE,
        caches=(f"{HOME}/.cache/x", "/var/cache/x"),
        scratch_bytes=64 << 20,
        limits=Limits(memory_bytes=512 << 20, cpus=2.0, pids=100),
        ulimits=(Ulimit("nofile", 1024, 1024), Ulimit("nproc", 100, None), Ulimit("stack", None, None)),
        ports=(Port(8000, 8000), Port(8001, 80), Port(53, 5353, "0.0.0.0", "udp"), Port(1, 2, "::1")),
        devices=(Device("/dev/kvm", "/dev/kvm"), Device("/dev/snd", "/dev/snd", "r"), Device("/dev/a", "/dev/b")),
        gpus=("0", "GPU-1"),
        share=(Share.SSH_AGENT, Share.WAYLAND),
    )


def test_a_build_is_relative_to_the_file() -> None:
    """Its arguments are sorted, so that equal builds are equal."""
    tool = parse(build={"context": "../src/", "file": "./D", "target": "run", "args": {"B": "2", "A": ""}})
    assert tool.build == Build(Path("/etc/src"), Path("/etc/dx/D"), "run", (("A", ""), ("B", "2")))
    assert parse(build="~").build == Build(Path(HOME))
    private = {"context": ".", "secrets": {"npmrc": "~/.npmrc", "a.b-c": "../token"}, "ssh": "~/agent"}
    secrets = (("a.b-c", Path("/etc/token")), ("npmrc", Path(HOME, ".npmrc")))
    assert parse(build=private).build == Build(Path("/etc/dx"), secrets=secrets, ssh=Path(HOME, "agent"))
    assert parse(build={"context": ".", "ssh": True}).build == Build(Path("/etc/dx"), ssh=True)


@pytest.mark.parametrize(
    ("entrypoint", "words"),
    [("jq", ("jq",)), ("python3 -m 'a b'", ("python3", "-m", "a b")), ("", ()), ([], ()), ([""], ("",))],
)
def test_an_entrypoint_is_words_or_a_text_of_words(entrypoint: object, words: tuple[str, ...]) -> None:
    """Empty is none at all, which is not the same as missing."""
    assert parse(image="x", entrypoint=entrypoint).entrypoint == words


def test_missing_and_none_are_the_same() -> None:
    """JSON has nulls, TOML has not."""
    assert parse(image="x", build=None, entrypoint=None, mounts=None, memory=None) == parse(image="x")


def test_paths_with_colons_need_a_table() -> None:
    """And are written as one."""
    mount = Mount("/a:b", "/c", readonly=True)
    tool = parse(image="x", mounts=[{"source": "/a:b", "target": "/c", "readonly": True}, {"source": "/d"}])
    assert tool.mounts == (mount, Mount("/d", "/d"))
    assert to_table(tool)["mounts"] == [{"source": "/a:b", "target": "/c", "readonly": True}, "/d:/d"]
    given = {"source": "/a:b", "target": "/c", "readonly": False, "missing": "skip"}
    assert to_table(parse(image="x", mounts=[given]))["mounts"] == [given]
    with pytest.raises(BadDefinition, match="too many colons"):
        parse(image="x", mounts=["/a:/b:/c"])


BAD: list[tuple[dict[str, Any], str]] = [
    ({}, "has neither image nor build"),
    ({"image": "x", "build": "."}, "has both image and build"),
    ({"image": "x", "netwrk": "none"}, "netwrk: unknown key"),
    ({"image": ""}, 'image: "" cannot refer to an image'),
    ({"image": "Not An Image"}, 'image: "Not An Image" cannot refer'),
    ({"image": 3}, "image: must be text"),
    ({"image": "x\0"}, "image: has a NUL"),
    ({"image": "\ud800"}, "image: is no valid Unicode"),
    ({"build": {}}, "build: has no context"),
    ({"build": 1}, "build: must be a table"),
    ({"build": {"context": ""}}, "build.context: must be a path"),
    ({"build": {"context": "https://x.example/y"}}, "build.context: .* is no path"),
    ({"build": {"context": "~nobody-at-all/x"}}, "build.context: .* cannot be resolved"),
    ({"build": {"context": ".", "dockerfile": "x"}}, "build.dockerfile: unknown key"),
    ({"build": {"context": ".", "target": "a b"}}, "build.target: .* one word"),
    ({"build": {"context": ".", "args": ["A=1"]}}, "build.args: must be a table of texts"),
    ({"build": {"context": ".", "args": {"A": 1}}}, "build.args.A: must be text"),
    ({"build": {"context": ".", "secrets": ["a"]}}, "build.secrets: must be a table of files"),
    ({"build": {"context": ".", "secrets": {"a,b": "c"}}}, 'build.secrets."a,b": cannot be the id of a secret'),
    ({"build": {"context": ".", "secrets": {"a": 1}}}, "build.secrets.a: must be text"),
    ({"build": {"context": ".", "ssh": 1}}, "build.ssh: must be true, or the path"),
    ({"build": {"context": ".", "args": {"A=": "1"}}}, 'build.args."A=": cannot be the name'),
    ({"image": "x", "entrypoint": "a 'b"}, "entrypoint: .* quotation without end"),
    ({"image": "x", "entrypoint": 1}, "entrypoint: must be a list of texts"),
    ({"image": "x", "entrypoint": ["a", 1]}, r"entrypoint\[1\]: must be text"),
    ({"image": "x", "entrypoint": ["a\0b"]}, r"entrypoint\[0\]: has a NUL"),
    ({"image": "x", "commands": "a"}, "commands: must be a list of texts"),
    ({"image": "x", "commands": ["a", "b", "a"]}, r"commands\[2\]: a is there twice"),
    ({"image": "x", "commands": ["../a"]}, r'commands\[0\]: "../a" cannot be a name'),
    ({"image": "x", "commands": ["dx"]}, r"commands\[0\]: dx is the name of a program of dx"),
    ({"image": "x", "network": "hots"}, 'network: "hots" is no network'),
    ({"image": "x", "env": "A=1"}, "env: must be a list of texts"),
    ({"image": "x", "env": ["A=1\0"]}, r"env\[0\]: has a NUL"),
    ({"image": "x", "env": ["=1"]}, r'env\[0\]: "" cannot be the name of a variable'),
    ({"image": "x", "env": ["A =1"]}, r"env\[0\]: .* cannot be the name of a variable"),
    ({"image": "x", "env": ["LC_*=1"]}, r"env\[0\]: .* cannot be the name of a variable"),
    ({"image": "x", "env": [""]}, r"env\[0\]: .* no pattern"),
    ({"image": "x", "env": ["A B"]}, r"env\[0\]: .* no pattern"),
    ({"image": "x", "mounts": "/a"}, "mounts: must be a list"),
    ({"image": "x", "mounts": ["/a:b"]}, r"mounts\[0\]: .* no absolute path"),
    ({"image": "x", "mounts": ["/a:/"]}, r"mounts\[0\]: nothing can be mounted over the root"),
    ({"image": "x", "mounts": ["/a:/b/.."]}, r"mounts\[0\]: nothing can be mounted over the root"),
    ({"image": "x", "mounts": [""]}, r"mounts\[0\]: must be a path"),
    ({"image": "x", "mounts": [":/a"]}, r"mounts\[0\]: must be a path"),
    ({"image": "x", "mounts": ["/a:/x", "/b:/y/../x"]}, r"mounts\[1\]: .* mounted twice"),
    ({"image": "x", "mounts": [{"target": "/a"}]}, r"mounts\[0\]: has no source"),
    ({"image": "x", "mounts": [{"source": "/a", "readonly": "yes"}]}, r"mounts\[0\].readonly: must be true or false"),
    ({"image": "x", "mounts": [{"source": "/a", "ro": True}]}, r"mounts\[0\].ro: unknown key"),
    ({"image": "x", "memory": "lots"}, "memory: .* is not a size"),
    ({"image": "x", "memory": "5m"}, "memory: must be at least 6m"),
    ({"image": "x", "memory": 2**63}, "memory: is too large"),
    ({"image": "x", "memory": True}, "memory: must be text"),
    ({"image": "x", "cpus": "2"}, "cpus: must be a number"),
    ({"image": "x", "cpus": True}, "cpus: must be a number"),
    ({"image": "x", "cpus": float("nan")}, "cpus: must be from 0.01"),
    ({"image": "x", "cpus": float("inf")}, "cpus: must be from 0.01"),
    ({"image": "x", "cpus": 0}, "cpus: must be from 0.01"),
    ({"image": "x", "user": "1000"}, 'user: "1000" is no user'),
    ({"image": "x", "git": True}, "git: must be text"),
    ({"image": "x", "paths": "projects"}, 'paths: "projects" is no setting of paths'),
    ({"image": "x", "ulimits": {"files": 1}}, "ulimits.files: unknown key"),
    ({"image": "x", "ulimits": {"nofile": "many"}}, 'ulimits.nofile: "many" is no limit'),
    ({"image": "x", "ulimits": {"nofile": "2:1"}}, "ulimits.nofile: .* above the hard"),
    ({"image": "x", "ulimits": {"nofile": "unlimited:1"}}, "ulimits.nofile: .* above the hard"),
    ({"image": "x", "ulimits": {"nofile": -1}}, "ulimits.nofile: is no limit"),
    ({"image": "x", "ulimits": {"nofile": True}}, "ulimits.nofile: is no limit"),
    ({"image": "x", "ulimits": {"nofile": 2**63}}, "ulimits.nofile: is too large"),
    ({"image": "x", "root": "keep"}, 'root: "keep" is no kind of root'),
    ({"image": "x", "scratch": "tape"}, 'scratch: "tape" is no place'),
    ({"image": "x", "scratch_size": "1k"}, "scratch_size: must be at least 1m$"),
    ({"image": "x", "scratch": "disk", "scratch_size": "8m"}, "scratch_size: holds in memory only"),
    ({"image": "x", "root": "kept", "scratch": "disk"}, "root: is kept"),
    ({"image": "x", "caches": "/a"}, "caches: must be a list"),
    ({"image": "x", "caches": ["a"]}, r"caches\[0\]: .* no absolute path"),
    ({"image": "x", "caches": ["/"]}, r"caches\[0\]: .* over the root"),
    ({"image": "x", "caches": ["/a", "/a/"]}, r"caches\[1\]: .* there twice"),
    ({"image": "x", "caches": ["/proc/x"]}, r"caches\[0\]: .* the kernel's"),
    ({"image": "x", "caches": [f"/{n}" for n in range(17)]}, "caches: has more than 16"),
    ({"image": "x", "pids": 0}, "pids: must be from 1"),
    ({"image": "x", "pids": 1.5}, "pids: must be a whole number"),
    ({"image": "x", "pids": True}, "pids: must be a whole number"),
    ({"image": "x", "ports": 80}, "ports: must be a list of texts"),
    ({"image": "x", "ports": [80]}, r"ports\[0\]: must be text"),
    ({"image": "x", "ports": ["80-90:80"]}, r'ports\[0\]: "80-90:80" is no port'),
    ({"image": "x", "ports": ["80/sctp"]}, r'ports\[0\]: "80/sctp" is no port'),
    ({"image": "x", "ports": ["0:80"]}, r"ports\[0\]: 0 is no port"),
    ({"image": "x", "ports": ["80:65536"]}, r"ports\[0\]: 65536 is no port"),
    ({"image": "x", "ports": ["1.2.3.999:80:80"]}, r'ports\[0\]: "1.2.3.999" is no address'),
    ({"image": "x", "ports": ["80:1", "80:2"]}, r"ports\[1\]: port 127.0.0.1:80 of this machine is there twice"),
    ({"image": "x", "ports": ["0.0.0.0:80:1", "80:2"]}, r"ports\[1\]: port 127.0.0.1:80 of this machine is there"),
    ({"image": "x", "ports": ["80"], "network": "none"}, "ports: there is nothing to publish without a network"),
    ({"image": "x", "ports": ["80"], "network": "host"}, "ports: on the host's network"),
    ({"image": "x", "network": "project:"}, 'network: "" is no network of a compose file'),
    ({"image": "x", "network": "project:a b"}, 'network: "a b" is no network of a compose file'),
    ({"image": "x", "network": "bridge:a"}, 'network: "bridge:a" is no network'),
    ({"image": "x", "needs": "db"}, "needs: must be a list of texts"),
    ({"image": "x", "needs": ["a/b"]}, r'needs\[0\]: "a/b" is no name of a service'),
    ({"image": "x", "needs": ["db", "db"]}, r'needs\[1\]: "db" is there twice'),
    ({"image": "x", "devices": "/dev/x"}, "devices: must be a list of texts"),
    ({"image": "x", "devices": ["/etc/x"]}, r'devices\[0\]: "/etc/x" is no device'),
    ({"image": "x", "devices": ["/dev/../etc/x"]}, r'devices\[0\]: "/dev/../etc/x" is no device'),
    ({"image": "x", "devices": ["/dev/x:/x"]}, r'devices\[0\]: "/x" is no device'),
    ({"image": "x", "devices": ["/dev/x:rwm"]}, r'devices\[0\]: "rwm" is no way to open'),
    ({"image": "x", "devices": ["/dev/a:/dev/b:/dev/c"]}, r"devices\[0\]: .* too many colons"),
    ({"image": "x", "devices": ["/dev/a", "/dev/b:/dev/a"]}, r'devices\[1\]: "/dev/a" is there twice'),
    ({"image": "x", "gpus": 1}, "gpus: must be a list of texts"),
    ({"image": "x", "gpus": ["0,1"]}, r'gpus\[0\]: "0,1" is no GPU'),
    ({"image": "x", "gpus": ["0", "all"]}, "gpus: all is all there are"),
    ({"image": "x", "share": ["ssh"]}, r'share\[0\]: "ssh" cannot be shared'),
]


@pytest.mark.parametrize(("table", "complaint"), BAD, ids=[complaint for _, complaint in BAD])
def test_what_is_wrong_is_named(table: dict[str, Any], complaint: str) -> None:
    """By its key; the message is one line."""
    with pytest.raises((BadDefinition, BadName), match=f"^{complaint}") as caught:
        parse(**table)
    assert "\n" not in caught.value.line()


@pytest.mark.parametrize("value", [None, 3, "jq", ["jq"]])
def test_a_tool_is_a_table(value: object) -> None:
    """`[tools]` with `jq = "jq"` below is a common mistake."""
    with pytest.raises(BadDefinition, match="must be a table"):
        parse_tool("x", value, base=BASE)


def test_a_complaint_names_file_line_and_key() -> None:
    """Of names too, which are keys themselves."""
    document = toml.parse(b"[tools.x]\nimage = 'x'\nmemory = '1'\n[tools.\"a b\"]\n", Path("/etc/dx/dx.toml"))
    tables: Any = document.data["tools"]
    with pytest.raises(BadDefinition, match=r"^/etc/dx/dx.toml:3: tools.x.memory: must be at least"):
        parse_tool("x", tables["x"], base=BASE, spot=toml.Spot(document, ("tools", "x")))
    with pytest.raises(BadName, match=r'^/etc/dx/dx.toml:4: tools."a b": "a b" cannot be a name'):
        parse_tool("a b", tables["a b"], base=BASE, spot=toml.Spot(document, ("tools", "a b")))


_text = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)
_name = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,5}", fullmatch=True)
_variable = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,5}", fullmatch=True)
_path = (
    st.lists(st.from_regex(r"[^/\0~]{1,5}", fullmatch=True), min_size=1, max_size=3)
    .map(lambda parts: os.path.normpath("/x/" + "/".join(part for part in parts if part not in {".", ".."})))
    .filter(lambda path: "://" not in path)
)
_ports = st.builds(
    Port,
    st.integers(1, 65535),
    st.integers(1, 65535),
    st.sampled_from(["127.0.0.1", "0.0.0.0", "::1", "192.0.2.1"]),
    st.sampled_from(["tcp", "udp"]),
)
_devices = st.builds(
    Device, *[st.from_regex(r"/dev/[a-z]{1,3}(/[a-z]{1,3})?", fullmatch=True)] * 2, st.sampled_from(["r", "w", "rw"])
)
_builds = st.builds(
    Build,
    context=_path.map(Path),
    file=st.none() | _path.map(Path),
    target=st.none() | _name,
    args=st.dictionaries(_variable, _text, max_size=3).map(lambda args: tuple(sorted(args.items()))),
    secrets=st.dictionaries(_variable, _path.map(Path), max_size=3).map(lambda each: tuple(sorted(each.items()))),
    ssh=st.booleans() | _path.map(Path),
)
_service = st.from_regex(r"[a-zA-Z0-9._-]{1,8}", fullmatch=True)
tools = st.builds(
    lambda image_or_build, reach, **rest: Tool(**rest, **image_or_build, **reach),
    st.from_regex(r"[a-z0-9]{1,5}(:[a-z]{1,3})?", fullmatch=True).map(lambda image: {"image": image})
    | _builds.map(lambda build: {"build": build}),
    st.sampled_from(Network).map(lambda network: {"network": network})
    | _service.map(lambda name: {"network": Network.PROJECT, "network_name": name})
    | st.lists(_ports, max_size=2, unique_by=lambda each: each.host).map(lambda ports: {"ports": tuple(ports)}),
    name=_name,
    entrypoint=st.none() | st.lists(_text, max_size=3).map(tuple),
    commands=st.lists(_name, max_size=3, unique=True).map(tuple),
    env=st.lists(st.builds("{}={}".format, _variable, _text) | _variable.map("{}*".format), max_size=3).map(tuple),
    mounts=st.lists(st.builds(Mount, _path, _path, st.booleans()), max_size=3, unique_by=lambda m: m.target).map(tuple),
    needs=st.lists(_service, max_size=3, unique=True).map(tuple),
    user=st.sampled_from(User),
    paths=st.sampled_from(Paths),
    git=st.sampled_from(GitAccess),
    caches=st.lists(_path, max_size=3, unique=True).map(tuple),
    ulimits=st.dictionaries(st.sampled_from(sorted(NUMBERS)), st.none() | st.integers(0, 2**63 - 1), max_size=3).map(
        lambda limits: tuple(Ulimit(name, limits[name], None) for name in sorted(limits))
    ),
    scratch_bytes=st.none() | st.integers(1 << 20, 2**63 - 1),
    limits=st.builds(
        Limits,
        memory_bytes=st.none() | st.integers(6 << 20, 2**63 - 1),
        cpus=st.none() | st.floats(0.01, 100),
        pids=st.none() | st.integers(1, 4194304),
    ),
    devices=st.lists(_devices, max_size=2, unique_by=lambda each: each.target).map(tuple),
    gpus=st.just(("all",)) | st.lists(_name.filter(lambda name: name != "all"), max_size=2, unique=True).map(tuple),
    share=st.sets(st.sampled_from(Share)).map(lambda some: tuple(each for each in Share if each in some)),
)
"""Any tool that can be defined."""


@given(tools)
def test_what_is_written_is_read_as_the_same_tool(tool: Tool) -> None:
    """So nothing is lost between dx.toml, the API and the daemon."""
    assert parse_tool(tool.name, to_table(tool), base=BASE) == tool
