"""What services publish where it is not what their files say: the pure part."""

from dataclasses import replace
from pathlib import Path

import pytest

from dxd.compose.model import Extras, Port, Project, ProjectName, Service, ServiceName
from dxd.ports.model import Owner
from dxd.services.publishing import Wish, as_written, differing, listened, wishes
from tests.dxd.services.projects import container

ROOT = Path("/a")


def project(*ports: Port, replicas: int = 1) -> Project:
    name = ServiceName("db")
    service = Service(name, ports=ports, replicas=replicas)
    return Project(ProjectName("shop"), {name: service, ServiceName("web"): Service(ServiceName("web"))})


def owner(target: int, wanted: int, protocol: str = "tcp") -> Owner:
    return Owner("shop", "/a", "db", target, "udp" if protocol == "udp" else "tcp", wanted)


def wanted(*ports: Port, replicas: int = 1) -> list[Wish]:
    whole = project(*ports, replicas=replicas)
    return wishes(whole, ROOT, whole.services[ServiceName("db")])


def test_a_number_is_wanted_at_all_addresses_or_at_some() -> None:
    assert wanted(Port(5432, "5432")) == [Wish(owner(5432, 5432), ())]
    both = Port(5432, "5432", "127.0.0.1"), Port(5432, "5432", "::1")
    assert wanted(*both) == [Wish(owner(5432, 5432), ("127.0.0.1", "::1"))]
    assert wanted(*both, Port(5432, "5432")) == [Wish(owner(5432, 5432), ())]


def test_another_number_for_the_same_target_and_another_protocol_are_others() -> None:
    found = wanted(Port(53, "53"), Port(53, "53", "", "udp"), Port(53, "5353"))
    assert [each.owner for each in found] == [owner(53, 53), owner(53, 53, "udp"), owner(53, 5353)]


def test_of_a_range_any_would_do() -> None:
    assert wanted(Port(80, "8000-8002")) == [Wish(owner(80, 8000), (), (8001, 8002))]
    whole = project(Port(80, "8000-8002"))
    assert differing(whole, ROOT, {owner(80, 8000): 8000}) == {}
    assert differing(whole, ROOT, {owner(80, 8000): 8001}) == {"db": (Port(80, "8001"),)}


@pytest.mark.parametrize("port", [Port(80), Port(80, "80", "", "sctp")])
def test_what_is_not_for_dx_to_choose_is_left(port: Port) -> None:
    assert wanted(port) == []
    assert differing(project(port), ROOT, {owner(80, 80): 20001}) == {}


@pytest.mark.parametrize("mode", ["host", "none", "service:web", "container:other"])
def test_on_a_network_that_is_not_its_own_it_publishes_nothing(mode: str) -> None:
    whole = project(Port(80, "80"))
    service = replace(whole.services[ServiceName("db")], raw={"network_mode": mode})
    assert wishes(whole, ROOT, service) == []


def test_what_several_containers_would_share_is_left() -> None:
    assert wanted(Port(80, "80"), replicas=2) == []
    assert differing(project(Port(80, "80"), replicas=2), ROOT, {owner(80, 80): 20001}) == {}


def test_all_ports_of_a_service_are_said_again_if_one_is_another() -> None:
    ports = Port(80, "80", "127.0.0.1"), Port(80, "80", "::1"), Port(443), Port(53, "53", "", "udp")
    moved = Port(80, "20001", "127.0.0.1"), Port(80, "20001", "::1"), Port(443), Port(53, "53", "", "udp")
    assert differing(project(*ports), ROOT, {owner(80, 80): 20001}) == {"db": moved}


def test_where_none_is_another_nothing_is_said() -> None:
    ports = Port(80, "80"), Port(443)
    assert differing(project(*ports), ROOT, {owner(80, 80): 80, owner(80, 8080): 20001}) == {}
    assert differing(project(*ports), Path("/b"), {owner(80, 80): 20001}) == {}


LAZY = Extras(lazy=True)


def sleeper(*ports: Port, extras: Extras = LAZY) -> Project:
    name = ServiceName("db")
    return Project(ProjectName("shop"), {name: Service(name, ports=ports, extras=extras)})


def test_what_may_sleep_publishes_udp_alone_and_dx_listens_for_the_rest() -> None:
    ports = Port(5432, "5432", "127.0.0.1"), Port(53, "53", "", "udp")
    whole = sleeper(*ports)
    assert differing(whole, ROOT, {}) == {"db": (Port(53, "53", "", "udp"),)}
    assert listened(whole, ROOT, {}) == {"db": (Port(5432, "5432", "127.0.0.1"),)}
    assert listened(whole, ROOT, {owner(5432, 5432): 20001}) == {"db": (Port(5432, "20001", "127.0.0.1"),)}


def test_dx_listens_at_one_number_where_the_file_has_a_range_or_none() -> None:
    whole = sleeper(Port(80, "8000-8002"), Port(443))
    assert [each.owner.wanted for each in wishes(whole, ROOT, whole.services[ServiceName("db")])] == [8000, None]
    given = {owner(80, 8000): 8001, Owner("shop", "/a", "db", 443): 20001}
    assert listened(whole, ROOT, given) == {"db": (Port(80, "8001"), Port(443, "20001"))}
    assert listened(whole, ROOT, {}) == {"db": (Port(80, "8000"), Port(443))}


def test_where_containers_are_out_of_reach_the_engine_publishes_to_this_machine_alone() -> None:
    whole = sleeper(Port(5432, "5432"), Port(53, "53", "", "udp"))
    inner = Port(5432, "", "127.0.0.1")
    assert differing(whole, ROOT, {}, direct=False) == {"db": (Port(53, "53", "", "udp"), inner)}
    named = sleeper(Port(80, "80"), extras=Extras(http=8000))
    assert differing(named, ROOT, {}, direct=False) == {"db": (Port(80, "80"), Port(8000, "", "127.0.0.1"))}
    assert differing(named, ROOT, {}) == {}
    assert differing(project(Port(80, "80")), ROOT, {}, direct=False) == {}


def test_a_container_that_somebody_has_made_by_the_file_is_known_by_its_port() -> None:
    service = project(Port(80, "8080")).services[ServiceName("db")]
    moved = (Port(80, "20001"),)
    assert as_written(service, moved, container(published=frozenset({8080})))
    assert not as_written(service, moved, container(published=frozenset({20001})))
    assert not as_written(service, (), container(published=frozenset({8080})))
