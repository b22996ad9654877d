"""Which port a service gets: the decision alone."""

from collections.abc import Collection
from itertools import islice
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dxd.errors import PortTaken
from dxd.ports.model import Owner
from dxd.ports.policy import RANGE, choose, series

A = Owner("shop", "/a", "db", 5432)
B = Owner("shop", "/b", "db", 5432)


def port(owner: Owner, taken: Collection[int] = (), wanted: int | None = 5432, **more: Any) -> int:
    given_more: dict[str, Any] = {"remembered": {}, "uid": 1000} | more
    return choose(owner, wanted, free=lambda number: number not in taken, **given_more)


def test_the_wanted_one_if_nobody_has_it() -> None:
    assert port(A) == 5432


def test_its_own_one_where_it_is_taken_always_the_same() -> None:
    own = port(A, {5432})
    assert own in RANGE
    assert own == port(A, {5432})
    assert own != port(B, {5432})
    assert own != port(A, {5432}, uid=1001)


def test_two_worktrees_keep_what_they_have_whichever_starts_first() -> None:
    """Also while the other does not run."""
    own = port(B, {5432})
    assert port(B, remembered={5432: A, own: B}) == own
    assert port(A, remembered={5432: A, own: B}) == 5432


def test_the_wanted_one_again_when_a_foreign_program_has_gone() -> None:
    own = port(A, {5432})
    assert port(A, {5432}, remembered={own: A}) == own
    assert port(A, remembered={own: A}) == 5432


def test_what_it_had_comes_before_what_its_series_says() -> None:
    assert port(A, {5432}, remembered={20007: A}) == 20007
    assert port(A, wanted=None, remembered={20007: A}) == 20007


def test_the_next_of_its_series_where_its_own_is_taken() -> None:
    first, second, third = islice(series(A, 1000), 3)
    assert port(A, {5432, first}) == second
    assert port(A, {5432, first}, remembered={second: B}) == third


def test_none_left_is_an_error() -> None:
    with pytest.raises(PortTaken, match="20000 to 29999"):
        port(A, {5432, *RANGE})


@given(st.text(max_size=20), st.text(max_size=20), st.integers(1, 65535), st.integers(0, 2**32))
def test_a_series_has_every_port_once(project: str, root: str, target: int, uid: int) -> None:
    assert sorted(series(Owner(project, root, "db", target), uid)) == list(RANGE)
