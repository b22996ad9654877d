"""On terminals the doors are those of the C program."""

import pytest

from tests.contract.twin import Native, Run, Shim, Side, Twin
from tests.house import House


@pytest.fixture(scope="session", params=["run", "shim"])
def twin(request: pytest.FixtureRequest, home: House, image: str) -> Twin:
    """The native side and one of dx's."""
    sides: dict[str, Side] = {"run": Run("run", home, image), "shim": Shim("shim", home)}
    return Twin(Native("native", home), sides[request.param])
