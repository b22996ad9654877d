"""Every contract test runs for each person and through each of dx's doors, against one daemon per person."""

from collections.abc import Iterator
from itertools import groupby
from zlib import crc32

import pytest

from tests.contract import differences
from tests.contract.twin import Native, Python, Run, Shim, Side, Twin, tool
from tests.house import PEOPLE, House, Person


@pytest.fixture(scope="session", params=PEOPLE, ids=lambda person: person.name)
def home(request: pytest.FixtureRequest, image: str) -> Iterator[House]:
    """A dx that all tests of this directory share."""
    person: Person = request.param
    rung: str | None = request.config.getoption("--rung")
    with House(person, **({"DX_FORCE": rung} if rung else {})) as house:
        house.define(tool(image))
        house.start()
        yield house


@pytest.fixture(scope="session", params=["run", "shim", "python"])
def twin(request: pytest.FixtureRequest, home: House, image: str) -> Twin:
    """The native side and one of dx's."""
    sides: dict[str, Side] = {
        "run": Run("run", home, image),
        "shim": Shim("shim", home),
        "python": Python("python", home, image),
    }
    return Twin(Native("native", home), sides[request.param])


@pytest.fixture
def place(twin: Twin) -> bytes:
    """A directory for `named.tree`, below which no marker makes a project."""
    return twin.house.place("top")


def sample(items: list[pytest.Item], one_in: int) -> list[pytest.Item]:
    """One in so many of each test's cases, of each test another one first."""
    taken = []
    for _, group in groupby(sorted(items, key=_test), key=_test):
        cases = list(group)
        first = crc32(_test(cases[0]).encode()) % min(one_in, len(cases))
        taken += cases[first::one_in]
    chosen = set(taken)
    return [item for item in items if item in chosen]


def _test(item: pytest.Item) -> str:
    return item.nodeid.partition("[")[0]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """A difference that is known has to be there; where a sample is asked for, it has some cases of every test."""
    if (one_in := config.getoption("--sample")) > 1:
        items[:] = sample(items, one_in)
    for item in items:
        if known := differences.of(item):
            item.add_marker(pytest.mark.xfail(strict=known.always, reason=known.here))
