import re

import pytest

from dxd.engine.docker import Engine
from dxd.engine.networks import Networks, _gateway
from tests.fakes.proxy import Proxy
from tests.fakes.real_engine import EngineMaker


async def test_containers_are_reached_where_the_engines_bridges_are_this_machines(engine: Engine) -> None:
    assert await Networks(engine).direct()


async def test_they_are_not_where_its_bridges_are_in_another_machine(make_engine: EngineMaker, proxy: Proxy) -> None:
    """As from 240.0.0.0/4, which no machine has, RFC 1112."""
    proxy.spoil = lambda data: re.sub(rb'"(Gateway|Subnet)":"1\d+\.', rb'"\1":"240.', data)
    assert not await Networks(make_engine(proxy.address)).direct()


async def test_without_an_engine_it_is_supposed(make_engine: EngineMaker) -> None:
    assert await Networks(make_engine("unix:///nowhere/docker.sock")).direct()


@pytest.mark.parametrize(
    ("config", "gateway"),
    [
        ({"Subnet": "172.17.0.0/16", "Gateway": "172.17.0.9"}, "172.17.0.9"),
        ({"Subnet": "172.17.0.0/16"}, "172.17.0.1"),
        ({"Subnet": "fd00::/64", "Gateway": "fd00::1"}, None),
        ({"Subnet": "fd00::/64"}, None),
        ({"Subnet": "10.0.0.1/32"}, None),
        ({}, None),
    ],
)
def test_the_address_of_a_bridge(config: dict[str, str], gateway: str | None) -> None:
    """A new engine tells of the subnet alone."""
    assert _gateway(config) == gateway
