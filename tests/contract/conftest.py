"""Every contract test runs for each person and through each of dx's two doors, against one daemon per person."""

from collections.abc import Iterator

import pytest

from tests.contract.twin import Native, Run, Shim, Side, Twin, tool
from tests.house import PEOPLE, House, Person


@pytest.fixture(scope="session", params=PEOPLE, ids=lambda person: person.name)
def home(request: pytest.FixtureRequest, image: str) -> Iterator[House]:
    """A dx that all tests of this directory share."""
    person: Person = request.param
    with House(person) as house:
        house.define(tool(image))
        house.start()
        yield house


@pytest.fixture(scope="session", params=["run", "shim"])
def twin(request: pytest.FixtureRequest, home: House, image: str) -> Twin:
    """The native side and one of dx's."""
    sides: dict[str, Side] = {"run": Run("run", home, image), "shim": Shim("shim", home)}
    return Twin(Native("native", home), sides[request.param])
