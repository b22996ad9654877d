"""Labels of images: what they make of a tool, what they ask for, and what is wrong with them."""

import re
from pathlib import Path

import pytest

from dxd.errors import BadDefinition
from dxd.tools import parse
from dxd.tools.description import of_labels
from dxd.tools.labels import KEYS, OWN, PREFIX, asks, check_table, complete, read_labels

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "labels.md"


def test_every_key_is_read() -> None:
    """As text where it is one, else as JSON."""
    values = {
        "entrypoint": ('["a", "b c"]', ["a", "b c"]),
        "commands": ('["cc", "c++"]', ["cc", "c++"]),
        "network": ("bridge", "bridge"),
        "user": ("root", "root"),
        "env": ('["A=1", "AWS_*"]', ["A=1", "AWS_*"]),
        "mounts": ('["~/.aws:~/.aws:ro"]', ["~/.aws:~/.aws:ro"]),
        "paths": ("project", "project"),
        "git": ("write", "write"),
        "caches": ('["/var/cache"]', ["/var/cache"]),
        "root": ("fresh", "fresh"),
        "scratch": ("memory", "memory"),
        "scratch_size": ("64m", "64m"),
        "memory": ("1g", "1g"),
        "cpus": ("1.5", 1.5),
        "pids": ("100", 100),
        "ulimits": ('{"nofile": 1024}', {"nofile": 1024}),
        "ports": ('["8000"]', ["8000"]),
        "devices": ('["/dev/fuse"]', ["/dev/fuse"]),
        "gpus": ("all", "all"),
        "share": ('["x11"]', ["x11"]),
        "needs": ('["db"]', ["db"]),
    }
    assert tuple(values) == KEYS
    labels = {PREFIX + key: text for key, (text, _) in values.items()}
    assert read_labels(labels) == {key: value for key, (_, value) in values.items()}


def test_an_entrypoint_and_gpus_have_two_forms() -> None:
    """As in dx.toml."""
    assert read_labels({"dev.dx.entrypoint": "sh -c 'a b'", "dev.dx.gpus": '["0"]'}) == {
        "entrypoint": "sh -c 'a b'",
        "gpus": ["0"],
    }


def test_what_dx_itself_wrote_and_what_others_wrote_is_left_alone() -> None:
    """An image may have been committed from a container of dx's."""
    labels = {PREFIX + name: "x" for name in OWN} | {"maintainer": "me", "dev.dxx.network": "none"}
    assert read_labels(labels) == {}
    assert not OWN & set(parse.KEYS) - {"image", "build"}


def test_an_empty_label_takes_back_what_a_base_says() -> None:
    """Also what it says in another way."""
    said = {"io.whalebrew.config.environment": '["A"]', "dev.dx.memory": "64m"}
    assert of_labels(said).given == ("env", "memory")
    assert of_labels({**said, "dev.dx.env": "", "dev.dx.memory": ""}).given == ()


def test_labels_are_completed_so_that_nothing_of_the_base_counts() -> None:
    """Nor what dx itself noted on it; labels of others stay as they are."""
    base = {"dev.dx.network": "host", "dev.dx.memory": "64m", "dev.dx.build": "x", "maintainer": "me"}
    assert complete({"dev.dx.network": "none"}, base, ["env"]) == {
        "dev.dx.network": "none",
        "dev.dx.memory": "",
        "dev.dx.build": "",
        "dev.dx.env": "",
    }
    for wrong in ({"maintainer": "me"}, {"dev.dx.builder": "x"}, {"dev.dx.network": "any"}):
        with pytest.raises(BadDefinition):
            complete(wrong, {}, ())


@pytest.mark.parametrize(
    ("label", "value", "complaint"),
    [
        ("dev.dx.netwrok", "none", "unknown key"),
        ("dev.dx.smoke", "[]", "unknown key"),
        ("dev.dx.", "x", "unknown key"),
        ("dev.dx.network", "bridg", '"bridg" is no network'),
        ("dev.dx.commands", "cc", "is no JSON"),
        ("dev.dx.commands", '"cc"', "must be a list"),
        ("dev.dx.commands", '["dx"]', "is the name of a program of dx"),
        ("dev.dx.env", "[1]", "must be text"),
        ("dev.dx.cpus", "many", "is no JSON"),
        ("dev.dx.pids", "null", "has no value"),
        ("dev.dx.pids", "1e999", "must be"),
        ("dev.dx.ulimits", "[" * 100_000, "is no JSON"),
        ("dev.dx.memory", "lots", "is not a size"),
        ("dev.dx.mounts", '["data:/data"]', "is relative"),
        ("dev.dx.caches", '["cache"]', "is relative"),
    ],
)
def test_what_is_wrong_names_its_label(label: str, value: str, complaint: str) -> None:
    """Nothing is guessed."""
    with pytest.raises(BadDefinition, match=f"^the label {re.escape(label)}.*{re.escape(complaint)}"):
        read_labels({label: value})


def test_what_is_beyond_the_defaults_is_asked_for() -> None:
    """In words; what every tool may do, and what only binds it, is not."""
    table = {
        "network": "host",
        "user": "root",
        "env": ["A=1", "AWS_*"],
        "mounts": ["/srv:/srv:ro", "/data:/data"],
        "git": "write",
        "root": "kept",
        "devices": ["/dev/fuse"],
        "gpus": "all",
        "share": ["ssh-agent"],
        "needs": ["db"],
    }
    assert [(each.key, each.text) for each in asks(check_table(table, ""))] == [
        ("network", "use the host's network"),
        ("user", "run as root inside"),
        ("env", 'have A set to "1"'),
        ("env", "see your variables AWS_*"),
        ("mounts", "read /srv"),
        ("mounts", "read and write /data"),
        ("git", "change hooks and configuration of Git repositories"),
        ("root", "keep its root from run to run"),
        ("devices", "open /dev/fuse"),
        ("gpus", "use all GPUs"),
        ("share", "use your ssh-agent"),
        ("needs", "start the service db"),
    ]
    for text, which in (("project", "the network"), ("project:backend", "the network backend")):
        (ask,) = asks(check_table({"network": text}, ""))
        assert (ask.key, ask.text) == ("network", f"be on {which} of the compose project around it")
    ports = check_table({"ports": ["0.0.0.0:80:8080"]}, "")
    assert [each.text for each in asks(ports)] == ["be reached at port 0.0.0.0:80:8080"]
    bounds = {"network": "none", "paths": "none", "memory": "1g", "commands": ["cc"], "caches": ["/c"]}
    assert asks(check_table(bounds, "")) == ()


def test_the_reference_has_each_label_and_no_other() -> None:
    """One line each."""
    section = PAGE.read_text().partition("## What an image says of itself")[2].partition("\n## ")[0]
    assert re.findall(r"^\| `dev\.dx\.([a-z_]+)` \|", section, re.MULTILINE) == list(KEYS)
