"""Who gets which container, before and after agents have told how many runs they take."""

from datetime import UTC, datetime
from itertools import count

import pytest

from dx import protocol
from dxd.engine.model import ImageId
from dxd.tools.model import Port
from dxd.warm.container import Warm
from dxd.warm.link import Link, Listener
from dxd.warm.model import Key, State
from dxd.warm.offers import SPARES, Offers

KEY = Key(ImageId("sha256:1"), "none")
names = count()


def begun(offers: Offers, *, claimed: bool = False, key: Key = KEY) -> Warm:
    """A container that starts."""
    warm = Warm(str(next(names)), key, "image", datetime.now(UTC), claimed=claimed)
    offers.add(warm)
    return warm


def says(offers: Offers, warm: Warm, once: int, refused: int = 0) -> Warm:
    """Its agent is ready, and says that."""
    warm.link = Link(Listener(started=lambda *_: None, ended=lambda _: None, lost=lambda: None))
    warm.link.once, warm.link.refused = once, refused
    warm.state = State.READY
    offers.settle(warm)
    return warm


@pytest.fixture
async def offers() -> Offers:
    return Offers()


async def test_one_for_all_runs(offers: Offers) -> None:
    """As long as nobody says otherwise, and also afterwards."""
    assert offers.find(KEY) is None
    warm = begun(offers)
    assert offers.find(KEY) is warm
    says(offers, warm, protocol.ONCE_NOT)
    assert offers.find(KEY) is offers.find(KEY) is warm
    assert offers.takes(warm)
    assert not warm.claimed
    offers.withdraw(warm)
    assert not offers.has(KEY)


async def test_those_who_waited_for_the_first_share_it_until_it_says_once(offers: Offers) -> None:
    """Then one of them gets it."""
    warm = begun(offers)
    assert offers.find(KEY) is offers.find(KEY) is warm
    says(offers, warm, protocol.ONCE_FRESH, 22)
    assert offers.last == (protocol.ONCE_FRESH, 22)
    assert not offers.takes(warm)
    assert offers.find(KEY) is warm
    assert offers.takes(warm)
    assert offers.find(KEY) is None


async def test_what_waits_for_a_run_is_given_once_the_ready_first(offers: Offers) -> None:
    """And whoever does not wait any more gives it back."""
    says(offers, begun(offers), protocol.ONCE_FRESH)
    offers.find(KEY)
    assert offers.missing(KEY) == SPARES
    first, second = begun(offers), begun(offers)
    assert offers.missing(KEY) == 0
    says(offers, second, protocol.ONCE_FRESH)
    assert offers.find(KEY) is second
    assert offers.find(KEY) is first
    assert not offers.has(KEY)
    offers.give_back(first)
    assert offers.find(KEY) is first
    first.state = State.DRAINING
    offers.give_back(first)
    assert not offers.has(KEY)


async def test_one_that_is_used_takes_no_run(offers: Offers) -> None:
    """As a daemon finds it that starts again."""
    used = says(offers, begun(offers), protocol.ONCE_USED)
    assert used.state is State.DRAINING
    assert offers.find(KEY) is None


async def test_where_the_next_one_takes_many_it_is_for_all(offers: Offers) -> None:
    """A second that nobody knew of takes no more than the run it was begun for."""
    says(offers, begun(offers), protocol.ONCE_FRESH)
    offers.find(KEY)
    first, second = begun(offers, claimed=True), begun(offers, claimed=True)
    assert offers.find(KEY) is None
    says(offers, first, protocol.ONCE_NOT)
    says(offers, second, protocol.ONCE_NOT)
    assert offers.find(KEY) is first
    assert offers.takes(first)
    assert not first.claimed
    assert not offers.takes(second)
    assert second.state is State.DRAINING
    assert not offers.once


async def test_none_waits_where_two_cannot_be(offers: Offers) -> None:
    """They would want the same port."""
    key = Key(ImageId("sha256:1"), "bridge", ports=(Port(8000, 8000),))
    assert offers.missing(key) == 0
