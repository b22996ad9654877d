from dataclasses import replace

import pytest

from dxd.compose.model import Port, Project, ProjectName, Service, ServiceName
from dxd.engine.model import BoundPort, Health
from dxd.services import variables
from dxd.services.model import Phase, ServiceView, Will


def found(name: str, image: str, *ports: BoundPort, **environ: str) -> dict[str, str]:
    service = Service(ServiceName(name), image=image, environment=environ)
    view = ServiceView(
        project=ProjectName("p"),
        name=service.name,
        phase=Phase.READY,
        reason="",
        will=Will.UP,
        image=image,
        containers=(),
        ports=ports,
        health=Health.NONE,
        restarts=0,
        since_s=1,
    )
    return variables.of([view], Project(ProjectName("p"), {service.name: service}))


def port(target: int, number: int, address: str = "0.0.0.0", protocol: str = "tcp") -> BoundPort:
    return BoundPort(target, protocol, address, number)


def test_a_port_has_a_host_a_number_and_one_for_each_target() -> None:
    ports = (port(443, 8443), port(80, 8080), port(80, 8080, "::"), port(53, 5353, protocol="udp"))
    assert found("my-web", "nginx", *ports) == {
        "MY_WEB_HOST": "127.0.0.1",
        "MY_WEB_PORT": "8080",
        "MY_WEB_PORT_80": "8080",
        "MY_WEB_PORT_443": "8443",
    }


@pytest.mark.parametrize(
    ("image", "target", "environ", "name", "url"),
    [
        ("postgres:16", 5432, {}, "DATABASE_URL", "postgresql://postgres@127.0.0.1:7/postgres"),
        (
            "ghcr.io/x/postgis@sha256:00",
            5432,
            {"POSTGRES_USER": "me", "POSTGRES_PASSWORD": "p@ss/", "POSTGRES_DB": "shop"},
            "DATABASE_URL",
            "postgresql://me:p%40ss%2F@127.0.0.1:7/shop",
        ),
        ("mariadb", 3306, {"MYSQL_DATABASE": "shop"}, "DATABASE_URL", "mysql://root@127.0.0.1:7/shop"),
        ("redis:7-alpine", 6379, {}, "REDIS_URL", "redis://127.0.0.1:7"),
        ("mongo", 27017, {}, "MONGODB_URL", "mongodb://127.0.0.1:7"),
        ("rabbitmq:3-management", 5672, {}, "AMQP_URL", "amqp://guest@127.0.0.1:7"),
    ],
)
def test_what_is_known_by_its_image_has_a_url(
    image: str, target: int, environ: dict[str, str], name: str, url: str
) -> None:
    every = found("db", image, port(target, 7), **environ)
    assert (every[name], every["DB_URL"]) == (url, url)


@pytest.mark.parametrize(("image", "target"), [("my/redis-exporter-of/web", 6379), ("postgres", 9187), ("x", 5432)])
def test_neither_the_name_nor_the_port_alone_is_enough(image: str, target: int) -> None:
    assert [each for each in found("db", image, port(target, 7)) if each.endswith("_URL")] == []


def test_an_address_of_its_own_is_kept() -> None:
    assert found("a", "x", port(1, 2, "10.0.0.7"))["A_HOST"] == "10.0.0.7"
    assert found("a", "x", replace(port(1, 2), address="fd00::1"))["A_HOST"] == "[fd00::1]"


def inside(image: str, *targets: int, expose: tuple[str, ...] = (), **environ: str) -> dict[str, str]:
    service = Service(
        ServiceName("db"),
        image=image,
        environment=environ,
        ports=tuple(Port(each, published="7") for each in targets),
        raw={"expose": list(expose)},
    )
    view = ServiceView(
        project=ProjectName("p"),
        name=service.name,
        phase=Phase.READY,
        reason="",
        will=Will.UP,
        image=image,
        containers=(),
        ports=(),
        health=Health.NONE,
        restarts=0,
        since_s=1,
    )
    return variables.inside(view, service, "data")


def test_on_a_network_a_service_has_its_own_ports_under_the_name_that_it_has_there() -> None:
    assert inside("nginx", 443, expose=("80", "9000/udp")) == {
        "HOST": "data",
        "PORT": "443",
        "PORT_443": "443",
        "PORT_80": "80",
    }


def test_on_a_network_a_kind_that_is_known_needs_no_port_in_the_file() -> None:
    assert inside("postgres:16", POSTGRES_PASSWORD="x") == {
        "HOST": "data",
        "PORT": "5432",
        "PORT_5432": "5432",
        "URL": "postgresql://postgres:x@data:5432/postgres",
    }


def test_on_a_network_nothing_but_the_name_where_nothing_is_known() -> None:
    assert inside("worker") == {"HOST": "data"}
