from dataclasses import replace
from typing import Any

import pytest

from dxd.compose import doors
from dxd.compose.model import Extras, Port, Service, ServiceName
from dxd.errors import BadCompose

TCP, UDP, CHOSEN = Port(5432, "5432"), Port(53, "53", protocol="udp"), Port(80)
LAZY = Service(ServiceName("db"), ports=(TCP, UDP, CHOSEN), extras=Extras(lazy=True))


def test_dx_listens_at_the_tcp_ports_of_what_may_sleep() -> None:
    assert doors.doors(LAZY) == (TCP, CHOSEN)
    assert doors.doors(replace(LAZY, extras=Extras(idle_s=60))) == (TCP, CHOSEN)
    assert doors.doors(replace(LAZY, extras=Extras(http=80))) == ()


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"provider": "dx"}, "services.db.x-dx.lazy: a provider keeps it"),
        ({"raw": {"network_mode": "host"}}, "with network_mode host it listens by itself"),
        ({"raw": {"network_mode": "none"}}, "with network_mode none it has no address of its own"),
        ({"raw": {"network_mode": "service:web"}, "extras": Extras(http=80)}, "http: with network_mode service:web it"),
        ({"replicas": 2}, "it has 2 containers, and a door leads to one"),
        ({"ports": (UDP,)}, "it has UDP ports only"),
        ({"extras": Extras(http=80), "replicas": 3}, "services.db.x-dx.http: it has 3 containers"),
        ({"extras": Extras(idle_s=60), "raw": {"network_mode": "host"}}, "services.db.x-dx.idle: with network_mode"),
    ],
)
def test_what_cannot_be_is_refused_with_the_key_and_the_reason(changed: dict[str, Any], says: str) -> None:
    with pytest.raises(BadCompose) as refused:
        doors.check(replace(LAZY, **changed))
    assert says in refused.value.message


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"ports": ()},
        {"ports": (), "raw": {"network_mode": "none"}},
        {"ports": (Port(80, "8000-8010"),)},
        {"ports": (), "replicas": 3},
        {"extras": Extras(), "replicas": 3, "ports": (Port(80, "8000-8010"),)},
        {"extras": Extras(http=80), "ports": (Port(80, "8000-8010"),)},
    ],
)
def test_all_else_is_allowed(changed: dict[str, Any]) -> None:
    doors.check(replace(LAZY, **changed))
