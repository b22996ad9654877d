"""dx down: what was asked for is gone, or it is said what is left, and who has it."""

from collections.abc import Iterator

import pytest

from tests.e2e.shop import FOREVER, Shop
from tests.house import IMAGE, House


@pytest.fixture
def shop(house: House) -> Iterator[Shop]:
    """`db` has two volumes, and a network."""
    made = Shop(house)
    made.write(
        {"volumes": {"data": {}, "more": {}}, "networks": {"default": {"internal": True}}},
        db={"volumes": ["data:/data", "more:/more"], "network_mode": None},
    )
    with made:
        made.dx("up", "--wait")
        yield made


def volumes(shop: Shop) -> set[str]:
    return set(shop.docker("volume", "ls", "--quiet", "--filter", f"name={shop.name}_").split())


def test_a_volume_that_somebody_else_uses_stays_and_is_named(shop: Shop) -> None:
    """With its data, whether their container runs or not; once they have gone it goes."""
    data, other = f"{shop.name}_data", f"{shop.name}-theirs"
    shop.docker("exec", shop.container("db"), "sh", "-c", "echo precious > /data/kept")
    shop.docker("run", "--detach", "--name", other, "--volume", f"{data}:/x", "--network", "none", IMAGE, *FOREVER)
    try:
        done = shop.dx("down", "--volumes", ok=False)
        assert done.returncode == 125
        assert f"dx: {shop.name} is down, but the volume {data} stays (in use by {other}); " in done.stderr
        assert "are gone" not in done.stdout
        assert volumes(shop) == {data}
        assert shop.docker("exec", other, "cat", "/x/kept") == "precious"
        assert shop.states() == {"db": "absent"}
        shop.docker("kill", other)
        assert f"in use by {other}" in shop.dx("down", "--volumes", ok=False).stderr
    finally:
        shop.docker("rm", "--force", other)
    done = shop.dx("down", "--volumes", "--project", shop.name)
    assert done.stdout == f"{shop.name} is down; its volumes are gone\n"
    assert volumes(shop) == set()


def test_volumes_stay_that_nobody_asked_for(shop: Shop) -> None:
    outside = f"{shop.name}_outside"
    shop.docker("volume", "create", outside)
    try:
        assert shop.dx("down").stdout == f"{shop.name} is down; its volumes are kept\n"
        assert volumes(shop) == {f"{shop.name}_data", f"{shop.name}_more", outside}
        shop.dx("down", "--volumes")
        assert volumes(shop) == {outside}
    finally:
        shop.docker("volume", "rm", outside)


def test_a_network_that_somebody_else_is_on_stays_and_is_named(shop: Shop) -> None:
    network, other = f"{shop.name}_default", f"{shop.name}-theirs"
    shop.docker("run", "--detach", "--name", other, "--network", network, IMAGE, *FOREVER)
    try:
        done = shop.dx("down", ok=False)
        assert done.returncode == 125
        assert f"dx: {shop.name} is down, but the network {network} stays (in use by {other}); " in done.stderr
    finally:
        shop.docker("rm", "--force", other)
    shop.dx("down")
    assert not shop.docker("network", "ls", "--quiet", "--filter", f"name={network}")
