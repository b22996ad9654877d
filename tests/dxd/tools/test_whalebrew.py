"""Packages of Whalebrew: what their labels and files make of a tool, and what is said of the rest."""

import re
from pathlib import Path
from typing import Any

import pytest

from dxd.errors import BadDefinition
from dxd.tools.whalebrew import LABELS, PREFIX, Package, read_file, read_labels

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "labels.md"


def of(**values: str) -> Package:
    """By the last part of the labels' names."""
    names = {each.rpartition(".")[2]: each for each in LABELS}
    return read_labels({PREFIX + names[key]: value for key, value in values.items()})


@pytest.mark.parametrize(
    ("labels", "table"),
    [
        ({"name": "jq"}, {}),
        ({"environment": '["TERM", "FOO"]'}, {"env": ["TERM", "FOO"]}),
        ({"environment": "[A=1, 'B=$B', 'C=${C}', D=]"}, {"env": ["A=1", "B", "C", "D="]}),
        ({"environment": "- A\n- A\n"}, {"env": ["A"]}),
        ({"environment": "[yes, 1]"}, {"env": ["yes", "1"]}),
        ({"environment": ""}, {}),
        ({"volumes": '["~/.docker:/root/.docker:ro"]'}, {"mounts": ["~/.docker:/root/.docker:ro"]}),
        ({"volumes": "[$HOME/x:/x, '${HOME}:/y']"}, {"mounts": ["~/x:/x", "~:/y"]}),
        ({"volumes": "['$PWD:$PWD']"}, {}),
        ({"volumes": "[/a:/b:rw]"}, {"mounts": ["/a:/b"]}),
        ({"volumes": "[~/.aws:/.aws]"}, {"env": ["HOME=/"], "mounts": ["~/.aws:/.aws"]}),
        (
            {"volumes": "[~/.aws:/.aws]", "keep_container_user": "true"},
            {"mounts": ["~/.aws:/.aws"], "user": "image"},
        ),
        ({"volumes_from_args": '["-C", "--exec-path"]'}, {}),
        ({"missing_volumes": "skip"}, {}),
        ({"volumes": "[/a:/b:ro, /c:/d]", "missing_volumes": "skip"}, {"mounts": ["/a:/b:ro,skip", "/c:/d:skip"]}),
        ({"volumes": "[/a:/b]", "missing_volumes": "mount"}, {"mounts": ["/a:/b:create"]}),
        ({"working_dir": "$PWD"}, {}),
        ({"ports": '["8100:8100"]'}, {"ports": ["0.0.0.0:8100:8100"]}),
        ({"ports": "[22:22, 127.0.0.1:53:53/udp]"}, {"ports": ["0.0.0.0:22:22", "127.0.0.1:53:53/udp"]}),
        ({"networks": '["host"]'}, {"network": "host"}),
        ({"keep_container_user": "yes"}, {"user": "image"}),
        ({"keep_container_user": "off"}, {}),
        ({"required_version": ">=0.1.0 <1.0.0"}, {}),
        ({"required_version": ">9 || <1, >0.1"}, {}),
    ],
)
def test_labels_make_a_tool(labels: dict[str, str], table: dict[str, Any]) -> None:
    """With nothing left to say."""
    assert of(**labels) == Package(table)


@pytest.mark.parametrize(
    ("labels", "note"),
    [
        ({"environment": "[A=$B]"}, "A cannot be made of other variables: $B"),
        ({"volumes": "[$DATA:/data]"}, "cannot be mounted: $DATA:/data"),
        ({"volumes": "[/data]"}, "cannot be mounted: /data"),
        ({"volumes": "[data:/data]"}, "data:/data is a volume of the engine: name a directory with --cache /data"),
        ({"ports": '["80"]'}, "cannot be published: 80"),
        ({"ports": '["80-90:80-90"]'}, "cannot be published: 80-90:80-90"),
        ({"networks": "[mine]"}, "the network mine cannot be joined"),
        ({"networks": "[host, bridge]"}, "only one network can be joined, not bridge as well"),
        ({"networks": "[host]", "ports": "[80:80]"}, "ports have no meaning with the network host"),
        ({"working_dir": "[/src]"}, "the current directory keeps its own path, and is not [/src]"),
        ({"working_dir": "/src"}, "the current directory keeps its own path, and is not /src"),
    ],
)
def test_what_cannot_be_had_is_said(labels: dict[str, str], note: str) -> None:
    """One line."""
    (said,) = of(**labels).notes
    assert said.startswith(note)


@pytest.mark.parametrize(
    ("labels", "complaint"),
    [
        ({"environment": "[A"}, "io.whalebrew.config.environment is no YAML in line 1"),
        ({"environment": "A"}, "io.whalebrew.config.environment: must be a list of texts"),
        ({"volumes": "[[a]]"}, "io.whalebrew.config.volumes: must be a list of texts"),
        ({"volumes_from_args": "{}"}, "io.whalebrew.config.volumes_from_args: must be a list"),
        ({"missing_volumes": "other"}, 'io.whalebrew.config.missing_volumes: "other" is unknown'),
        ({"keep_container_user": "maybe"}, "io.whalebrew.config.keep_container_user: must be true or false"),
        ({"required_version": "some-other"}, "some-other"),
        ({"required_version": ">1.0.0"}, "it is for Whalebrew >1.0.0"),
        ({"environment": '["a b"]'}, "is no pattern of names"),
        ({"environment": "!!python/object:os.system [A]"}, None),
    ],
)
def test_what_is_wrong_is_an_error(labels: dict[str, str], complaint: str | None) -> None:
    """With the label; and no tag of YAML makes anything but texts."""
    if complaint is None:
        assert of(**labels).table == {"env": ["A"]}
        return
    with pytest.raises(BadDefinition, match=re.escape(complaint)):
        of(**labels)


def test_other_labels_are_not_looked_at() -> None:
    """Whalebrew passes over what it does not know."""
    assert read_labels({"maintainer": "[", "io.whalebrew.config.new": "["}) == Package({})
    assert read_labels({}) == Package({})


def test_a_package_file_makes_a_tool() -> None:
    """As Whalebrew installs them: this one is among its own tests."""
    package = read_file(
        "#!/usr/bin/env whalebrew\nenvironment:\n- AWS_ACCESS_KEY_ID\n- TEST_ENV=${TEST}\nimage: whalebrew/awscli\n"
        'volumes:\n- ~/.aws:/.aws\nrequired_version: ">=0.1.0"\nmount_missing_volumes: true\nentrypoint: [aws, -v]\n'
    )
    assert package.table == {
        "image": "whalebrew/awscli",
        "entrypoint": ["aws", "-v"],
        "env": ["AWS_ACCESS_KEY_ID", "HOME=/"],
        "mounts": ["~/.aws:/.aws:create"],
    }
    assert [each.partition(":")[0] for each in package.notes] == ["TEST_ENV cannot be made of other variables"]


@pytest.mark.parametrize("content", ["", "jq", "[]", "name: jq", "image: [jq]", "image: '", "image: J Q"])
def test_what_is_no_package_file_is_refused(content: str) -> None:
    """It may be any file of the user's."""
    with pytest.raises(BadDefinition):
        read_file(content)


def test_the_reference_has_each_label() -> None:
    """And no other."""
    section = PAGE.read_text().partition("## Packages of Whalebrew")[2]
    assert re.findall(r"^\| `io\.whalebrew\.([a-z_.]+)` \|", section, re.MULTILINE) == list(LABELS)
