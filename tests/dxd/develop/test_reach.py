from dataclasses import replace
from pathlib import Path

import pytest

from dxd.compose.model import Service, ServiceName, Watch
from dxd.develop import reach

WEB = ServiceName("web")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "p" / "web").mkdir(parents=True)
    (tmp_path / "secret").mkdir()
    (tmp_path / "p" / "way").symlink_to(tmp_path / "secret")
    return tmp_path / "p"


def built(project: Path, ref: str | None = None, **build: object) -> Service:
    return Service(WEB, image=ref, build={"context": str(project / "web"), **build})


def test_a_build_of_the_projects_own_files_needs_no_asking(project: Path) -> None:
    for each in (built(project), built(project, args={"A": "b"}, target="t"), built(project, "p-web"), Service(WEB)):
        assert not reach.build(each, None, project, "p-web")


@pytest.mark.parametrize("key", ["ssh", "secrets", "additional_contexts", "network", "tags", "privileged", "anything"])
def test_whatever_else_a_build_says_has_to_be_asked_for(project: Path, key: str) -> None:
    it = Service(WEB, build={"context": str(project / "web"), key: ["x"]})
    assert reach.build(it, None, project, "p-web")
    assert reach.build(it, built(project), project, "p-web")
    assert not reach.build(it, it, project, "p-web")


def test_files_from_elsewhere_and_another_images_name_have_to_be_asked_for(project: Path) -> None:
    assert reach.build(built(project, context=str(project.parent / "secret")), None, project, "p-web")
    assert reach.build(built(project, context=str(project / "way")), None, project, "p-web")
    assert reach.build(built(project, dockerfile="../../secret/Dockerfile"), None, project, "p-web")
    assert reach.build(built(project, "other:latest"), None, project, "p-web")


def test_rules_for_files_from_elsewhere_have_to_be_asked_for(project: Path) -> None:
    own = Service(WEB, watch=(Watch(str(project / "web"), "sync", "/t"),))
    foreign = Service(WEB, watch=(Watch(str(project / "way"), "sync", "/t"),))
    privileged = replace(own, watch=(replace(own.watch[0], action="sync+exec", privileged=True),))
    assert not reach.watch(own, None, project)
    assert reach.watch(privileged, own, project)
    assert not reach.watch(privileged, privileged, project)
    assert reach.watch(foreign, None, project)
    assert reach.watch(foreign, own, project)
    assert not reach.watch(foreign, foreign, project)


def test_only_values_of_the_environment() -> None:
    one = Service(WEB, raw={"image": "i", "environment": {"A": "b"}})
    assert reach.only_environment(one, Service(WEB, raw={"image": "i", "environment": {"A": "c"}}))
    assert reach.only_environment(one, Service(WEB, raw={"image": "i"}))
    assert not reach.only_environment(one, Service(WEB, raw={"image": "j", "environment": {"A": "b"}}))
    assert not reach.only_environment(one, Service(WEB, raw={"image": "i", "privileged": True}))
