"""Which port a service gets: the decision alone."""

from collections.abc import Collection
from dataclasses import replace
from itertools import islice
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dxd.errors import PortTaken
from dxd.ports.model import Owner
from dxd.ports.policy import RANGE, choose, series

A = Owner("shop", "/a", "db", 5432, wanted=5432)
B = Owner("shop", "/b", "db", 5432, wanted=5432)


def port(owner: Owner, taken: Collection[int] = (), **more: Any) -> int:
    """What is chosen where others have these, or had them last."""
    given_more: dict[str, Any] = {"had": None, "uid": 1000} | more
    return choose(owner, possible=lambda number: number not in taken, **given_more)


def test_the_wanted_one_if_nobody_has_it() -> None:
    assert port(A) == 5432


def test_its_own_one_where_it_is_taken_always_the_same() -> None:
    own = port(A, {5432})
    assert own in RANGE
    assert own == port(A, {5432})
    assert own != port(B, {5432})
    assert own != port(A, {5432}, uid=1001)


def test_the_wanted_one_again_when_whoever_had_it_has_gone() -> None:
    own = port(A, {5432})
    assert port(A, {5432}, had=own) == own
    assert port(A, had=own) == 5432


def test_not_as_long_as_it_stays_where_it_is() -> None:
    assert port(A, had=20007, stays=True) == 20007
    assert port(A, {20007}, had=20007, stays=True) == 5432


def test_what_it_had_comes_before_what_its_series_says() -> None:
    assert port(A, {5432}, had=20007) == 20007
    assert port(replace(A, wanted=None), had=20007) == 20007


def test_another_that_would_do_comes_before_what_it_had() -> None:
    assert port(A, {5432}, also=[5433, 5434], had=20007) == 5433
    assert port(A, {5432, 5433}, also=[5433, 5434]) == 5434
    assert port(A, {5432}, also=[5433, 5434], had=5434, stays=True) == 5434


def test_the_next_of_its_series_where_its_own_is_taken() -> None:
    first, second, _ = islice(series(A, 1000), 3)
    assert port(A, {5432, first}) == second


def test_none_left_is_an_error() -> None:
    with pytest.raises(PortTaken, match="20000 to 29999"):
        port(A, {5432, *RANGE})


@given(st.text(max_size=20), st.text(max_size=20), st.integers(1, 65535), st.integers(0, 2**32))
def test_a_series_has_every_port_once(project: str, root: str, target: int, uid: int) -> None:
    assert sorted(series(Owner(project, root, "db", target), uid)) == list(RANGE)
