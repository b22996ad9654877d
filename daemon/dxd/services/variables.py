"""Where services are, as variables that programs read: pure.

For every published port `SERVICE_HOST`, `SERVICE_PORT` and `SERVICE_PORT_TARGET`; where image and port show what kind
of service it is, its URL too (`DATABASE_URL`, `REDIS_URL`), with the login that the service's own environment gives it.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import quote

from dxd.compose.model import Project, Service
from dxd.engine.model import BoundPort
from dxd.services.model import ServiceView

_EVERYWHERE = ("", "0.0.0.0", "::")  # noqa: S104 - read, not bound


def of(views: Iterable[ServiceView], project: Project) -> dict[str, str]:
    """By name; of services that run. Values may be secrets."""
    found: dict[str, str] = {}
    for view in views:
        service = project.services[view.name]
        ports = _reachable(view.ports)
        prefix = _upper(view.name)
        for at, port in enumerate(ports):
            if at == 0:
                found[f"{prefix}_HOST"] = host(port)
                found[f"{prefix}_PORT"] = str(port.port)
            found[f"{prefix}_PORT_{port.target}"] = str(port.port)
        for kind in _KINDS:
            there = [each for each in ports if each.target == kind.port]
            if there and kind.fits(view.image):
                url = kind.url(service.environment, f"{host(there[0])}:{there[0].port}")
                found[f"{prefix}_URL"] = url
                found.setdefault(kind.variable, url)
    return found


def inside(view: ServiceView, service: Service, alias: str) -> dict[str, str]:
    """For those on one of its networks, where it is called `alias` and needs no port of this machine."""
    exposed = service.raw.get("expose")
    texts = [str(each).removesuffix("/tcp") for each in exposed] if isinstance(exposed, list) else []
    kinds = [each for each in _KINDS if each.fits(view.image)]
    targets = [each.target for each in service.ports if each.protocol == "tcp"]
    targets += [each.target for each in _reachable(view.ports)]
    targets += [*(int(each) for each in texts if each.isdigit()), *(each.port for each in kinds)]
    found = {"HOST": alias}
    for target in dict.fromkeys(targets):
        found.setdefault("PORT", str(target))
        found[f"PORT_{target}"] = str(target)
    for kind in kinds:
        found.setdefault("URL", kind.url(service.environment, f"{alias}:{kind.port}"))
    return found


def host(port: BoundPort) -> str:
    """From where it is reached on this machine."""
    if port.address in _EVERYWHERE:
        return "127.0.0.1"
    return f"[{port.address}]" if ":" in port.address else port.address


def _reachable(ports: Iterable[BoundPort]) -> list[BoundPort]:
    """Each once, though it is published for both families of addresses; in the order of their targets."""
    found: dict[tuple[int, str], BoundPort] = {}
    for each in sorted(ports, key=lambda each: (each.target, ":" in each.address)):
        found.setdefault((each.target, each.protocol), each)
    return [each for each in found.values() if each.protocol == "tcp"]


def _upper(name: str) -> str:
    return re.sub(r"[^A-Z0-9]", "_", name.upper())


@dataclass(frozen=True, slots=True)
class _Kind:
    """A kind of service that programs know by a URL; the `in_` are the variables that its image is configured with."""

    variable: str
    images: str
    port: int
    scheme: str
    in_user: str = ""
    in_secret: str = ""
    in_database: str = ""
    default_user: str = ""

    def fits(self, image: str) -> bool:
        """Whether an image is of this kind, by its name."""
        return re.search(rf"(^|/)[a-z0-9_.-]*({self.images})[a-z0-9_.-]*(:|@|$)", image) is not None

    def url(self, environ: Mapping[str, str], place: str) -> str:
        """With the login that is in the service's environment."""
        user = environ.get(self.in_user, "") or self.default_user
        secret = environ.get(self.in_secret, "")
        database = environ.get(self.in_database, "") or (user if self.scheme == "postgresql" else "")
        login = quote(user, safe="") + (f":{quote(secret, safe='')}" if secret else "")
        path = f"/{quote(database, safe='')}" if database else ""
        return f"{self.scheme}://{f'{login}@' if login else ''}{place}{path}"


_POSTGRES = ("POSTGRES_USER", "POSTGRES_PASSWORD", "POSTGRES_DB", "postgres")
_MYSQL = ("MYSQL_USER", "MYSQL_PASSWORD", "MYSQL_DATABASE", "root")
_MONGO = ("MONGO_INITDB_ROOT_USERNAME", "MONGO_INITDB_ROOT_PASSWORD", "MONGO_INITDB_DATABASE")
_RABBIT = ("RABBITMQ_DEFAULT_USER", "RABBITMQ_DEFAULT_PASS", "", "guest")
_KINDS = (
    _Kind("DATABASE_URL", "postgres|postgis|timescale", 5432, "postgresql", *_POSTGRES),
    _Kind("DATABASE_URL", "mysql|mariadb|percona", 3306, "mysql", *_MYSQL),
    _Kind("REDIS_URL", "redis|valkey|keydb|dragonfly", 6379, "redis"),
    _Kind("MONGODB_URL", "mongo", 27017, "mongodb", *_MONGO),
    _Kind("AMQP_URL", "rabbitmq", 5672, "amqp", *_RABBIT),
    _Kind("MEMCACHED_URL", "memcached", 11211, "memcached"),
    _Kind("NATS_URL", "nats", 4222, "nats"),
    _Kind("ELASTICSEARCH_URL", "elasticsearch|opensearch", 9200, "http"),
)
