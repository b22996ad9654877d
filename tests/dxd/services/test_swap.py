from dataclasses import replace
from typing import Any

import pytest

from dxd.compose.model import OnChange, Port, Service, ServiceName
from dxd.engine.model import Check, ContainerStatus, Health, ImageId, Inspected
from dxd.services import swap
from dxd.services.swap import Do, Mend, Picture, Verdict, Way
from tests.dxd.services.projects import OLD, container

NEW = ImageId("sha256:new")
WEB = Service(ServiceName("web"))
CHECK = Check(("CMD", "true"), 30.0, 30.0, 5.0)


@pytest.mark.parametrize(
    ("raw", "way"),
    [
        ({}, Way.BESIDE),
        ({"volumes": [{"type": "volume", "source": "data", "target": "/d"}]}, Way.AFTER),
        ({"volumes": [{"type": "bind", "source": "/src", "target": "/d"}]}, Way.AFTER),
        ({"volumes": [{"type": "bind", "source": "/src", "target": "/d", "read_only": True}]}, Way.BESIDE),
        ({"volumes": [{"type": "tmpfs", "target": "/d"}]}, Way.BESIDE),
        ({"volumes_from": ["db"]}, Way.AFTER),
        ({"volumes_from": ["cache:ro", "container:other:rw"]}, Way.AFTER),
        ({"volumes_from": ["db:ro"]}, Way.BESIDE),
        ({"container_name": "mine"}, Way.IN_PLACE),
        ({"network_mode": "host"}, Way.AFTER),
        ({"network_mode": "service:db"}, Way.AFTER),
        ({"network_mode": "none"}, Way.BESIDE),
        ({"networks": {"default": None}}, Way.BESIDE),
        ({"networks": {"default": {"ipv4_address": "10.0.0.2"}}}, Way.AFTER),
        ({"networks": {"default": {"aliases": ["www"]}}}, Way.BESIDE),
        ({"devices": [{"source": "/dev/fuse"}]}, Way.AFTER),
    ],
)
def test_two_run_at_once_only_where_nothing_is_shared(raw: dict[str, object], way: Way) -> None:
    choice = swap.way_of(replace(WEB, raw=raw), [container()])
    assert choice.way is way
    assert bool(choice.reason) == (way is not Way.BESIDE)


def test_a_fixed_port_and_what_only_compose_can_carry_over_count_as_well() -> None:
    assert swap.way_of(replace(WEB, ports=(Port(80, "8080"),)), [container()]).way is Way.AFTER
    assert swap.way_of(replace(WEB, ports=(Port(80),)), [container()]).way is Way.BESIDE
    assert swap.way_of(WEB, [container(anonymous=("/data",))]).way is Way.IN_PLACE
    assert swap.way_of(replace(WEB, by_compose=True), [container()]).way is Way.IN_PLACE


def test_who_is_in_whose_namespaces_is_known() -> None:
    assert swap.joins(replace(WEB, raw={"network_mode": "service:db", "pid": "service:app", "ipc": "host"})) == {
        "db",
        "app",
    }
    assert swap.joins(replace(WEB, raw={"network_mode": "container:db"})) == set()
    assert [
        swap.labelled_by_ids(replace(WEB, raw=raw)) for raw in ({}, {"ipc": "service:db"}, {"volumes_from": ["db"]})
    ] == [False, True, True]


def picture(**more: Any) -> Picture:
    plain = Picture(runs=True, image=OLD, images=frozenset({OLD}), hash="a", hashes=frozenset({"a"}), way=Way.BESIDE)
    return replace(plain, **more)


@pytest.mark.parametrize(
    ("it", "do"),
    [
        (picture(), Do.NOTHING),
        (picture(hash=""), Do.NOTHING),
        (picture(image=None), Do.NOTHING),
        (picture(images=frozenset()), Do.NOTHING),
        (picture(image=NEW), Do.SWAP),
        (picture(image=NEW, images=frozenset({OLD, NEW})), Do.SWAP),
        (picture(hash="b"), Do.SWAP),
        (picture(image=NEW, failed=(NEW, "a")), Do.NOTHING),
        (picture(image=NEW, failed=(OLD, "a")), Do.SWAP),
        (picture(image=NEW, hash="b", failed=(NEW, "a")), Do.SWAP),
        (picture(image=NEW, on_change=OnChange.TELL), Do.TELL),
        (picture(image=NEW, may_follow=False), Do.SWAP),
        (picture(hash="b", may_follow=False), Do.TELL),
        (picture(image=NEW, hash="b", may_follow=False), Do.TELL),
        (picture(image=NEW, way=Way.IN_PLACE), Do.SWAP),
        (picture(hash="b", way=Way.IN_PLACE), Do.TELL),
        (picture(image=NEW, runs=False), Do.REMAKE),
        (picture(joined=True), Do.NOTHING),
        (picture(image=NEW, joined=True), Do.TELL),
        (picture(hash="b", joined=True), Do.TELL),
        (picture(image=NEW, joined=True, runs=False), Do.TELL),
        (picture(hash="", provided=True), Do.NOTHING),
        (picture(image=NEW, hash="", provided=True), Do.TELL),
        (picture(image=NEW, hash="", provided=True, runs=False), Do.TELL),
        (picture(image=NEW, runs=False, on_change=OnChange.TELL), Do.TELL),
    ],
)
def test_what_is_done_about_containers_that_are_not_as_the_files_say(it: Picture, do: Do) -> None:
    assert swap.decide(it).do is do


@pytest.mark.parametrize(
    ("seen", "passed", "own_test", "ran_s", "verdict"),
    [
        (None, False, False, 0.0, Verdict.BAD),
        (container(status=ContainerStatus.EXITED), True, False, 0.0, Verdict.BAD),
        (container(status=ContainerStatus.RESTARTING), False, False, 9.0, Verdict.BAD),
        (container(), False, False, 0.0, Verdict.WAIT),
        (container(), False, False, swap.ALIVE_S, Verdict.GOOD),
        (container(check=CHECK, health=Health.STARTING), False, False, 4.9, Verdict.WAIT),
        (container(check=CHECK, health=Health.STARTING), True, False, 0.1, Verdict.GOOD),
        (container(check=CHECK, health=Health.HEALTHY), False, False, 0.1, Verdict.GOOD),
        (container(check=CHECK, health=Health.HEALTHY), False, True, 0.1, Verdict.WAIT),
        (container(check=CHECK, health=Health.STARTING), False, False, 5.0, Verdict.BAD),
        (container(check=CHECK, health=Health.UNHEALTHY), True, False, 0.1, Verdict.BAD),
        (container(), False, True, 59.0, Verdict.WAIT),
        (container(), False, True, swap.TRIAL_S, Verdict.BAD),
        (container(check=replace(CHECK, start_s=0.0), health=Health.STARTING), False, False, 59.0, Verdict.WAIT),
    ],
)
def test_a_trial_ends_with_health_or_with_a_reason(
    seen: Inspected | None, *, passed: bool, own_test: bool, ran_s: float, verdict: Verdict
) -> None:
    found, reason = swap.judge(seen, passed=passed, own_test=own_test, ran_s=ran_s)
    assert found is verdict
    assert bool(reason) == (verdict is Verdict.BAD)


@pytest.mark.parametrize(
    ("names", "mends"),
    [
        (["p-web-1"], {}),
        (["p-web-1", "p-web-1-next"], {"p-web-1-next": Mend.REMOVE}),
        (["p-web-1", "p-web-1-prev"], {"p-web-1-prev": Mend.REMOVE}),
        (["p-web-1-next", "p-web-1-prev"], {"p-web-1-next": Mend.RENAME, "p-web-1-prev": Mend.REMOVE}),
        (["p-web-1-prev"], {"p-web-1-prev": Mend.RENAME}),
        (["p-web-1-next"], {"p-web-1-next": Mend.RENAME}),
    ],
)
def test_wherever_an_exchange_is_cut_off_one_container_is_left(names: list[str], mends: dict[str, Mend]) -> None:
    assert swap.leftovers(names) == mends


def test_only_what_has_a_name_of_composes_own_belongs_to_an_exchange() -> None:
    assert swap.is_aside("p-web-1-next", "p", "web")
    assert swap.is_aside("p_web_12-prev", "p", "web")
    assert not swap.is_aside("p-web-1", "p", "web")
    assert not swap.is_aside("mine-1-next", "p", "web")
    assert not swap.is_aside("p-other-1-next", "p", "web")
