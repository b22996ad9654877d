from collections.abc import Sequence
from dataclasses import replace

from dxd.compose.model import Extras, Port, Project, ProjectName, Service, ServiceName
from dxd.engine.model import BoundPort, ContainerStatus, Inspected
from dxd.proxy.model import Place
from dxd.services import doors
from dxd.services.doors import Door
from dxd.services.model import Will
from tests.dxd.services.projects import container

DB = ServiceName("db")
LAZY = Service(DB, ports=(Port(5432, "5432"), Port(53, "53", protocol="udp")), extras=Extras(lazy=True))
CONTAINER = container(addresses={"shop_default": "172.18.0.2"})


def plan(
    service: Service,
    will: Will = Will.ASLEEP,
    *containers: Inspected,
    standing: Sequence[Door] = (),
    **ports: list[Port],
) -> list[Door]:
    project = Project(ProjectName("shop"), {DB: service})
    given = {ServiceName(name): every for name, every in ports.items()}
    found = doors.plan(project, {DB: will}, given, {DB: standing}, containers, {"c": DB})
    return [*found.get(DB, ())]


def test_a_port_without_an_address_is_listened_for_in_both_families() -> None:
    assert plan(LAZY) == [Door(5432, Place("0.0.0.0", 5432)), Door(5432, Place("::", 5432))]
    assert plan(replace(LAZY, ports=(Port(80, "8080", "127.0.0.1"),))) == [Door(80, Place("127.0.0.1", 8080))]


def test_a_port_that_was_moved_is_where_it_was_moved_to() -> None:
    assert plan(LAZY, db=[Port(5432, "20001", "::1")]) == [Door(5432, Place("::1", 20001))]


def test_there_is_a_door_while_it_is_wanted_asleep_or_not() -> None:
    assert plan(LAZY, Will.UP)
    assert plan(LAZY, Will.DOWN) == plan(LAZY, Will.STOPPING) == []


def test_what_a_container_publishes_itself_has_no_door() -> None:
    assert plan(LAZY, Will.UP, replace(CONTAINER, published=frozenset({5432}))) == []
    assert plan(LAZY, Will.UP, replace(CONTAINER, published=frozenset({80})))


def test_a_container_without_a_port_keeps_its_door_whatever_the_file_says_by_now() -> None:
    """Until it is made anew, and publishes the port."""
    awake, door = replace(LAZY, extras=Extras()), Door(5432, Place("::", 5432))
    assert plan(awake, Will.UP, CONTAINER, standing=[door]) == [door]
    assert plan(awake, Will.UP, replace(CONTAINER, published=frozenset({5432})), standing=[door]) == []
    assert plan(awake, Will.UP, CONTAINER) == []


def test_a_name_is_a_door_of_what_never_sleeps_too() -> None:
    awake = replace(LAZY, extras=Extras(http=8000))
    assert plan(awake, Will.UP) == [Door(8000, name="db.shop.localhost")]


def test_connections_are_led_to_the_containers_address() -> None:
    assert doors.lead([CONTAINER], 5432) == Place("172.18.0.2", 5432)
    assert doors.lead([replace(CONTAINER, status=ContainerStatus.EXITED)], 5432) is None
    assert doors.lead([replace(CONTAINER, addresses={})], 5432) is None


def test_where_the_engine_publishes_for_dx_alone_they_are_led_there() -> None:
    """As it has to where its networks are in another machine."""
    published = replace(CONTAINER, ports=(BoundPort(5432, "tcp", "127.0.0.1", 32768),))
    assert doors.lead([published], 5432) == Place("127.0.0.1", 32768)
