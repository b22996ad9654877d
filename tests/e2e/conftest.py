"""What the tests of builds share."""

from collections.abc import Iterator

import pytest

from tests.e2e.project import Project
from tests.house import House


@pytest.fixture
def project(request: pytest.FixtureRequest, house: House, image: str) -> Iterator[Project]:
    """A tool that is built, and was run once; settings of it by indirect parametrization."""
    made = Project(house, image, **getattr(request, "param", {}))
    try:
        assert made.run() == "first"
        yield made
    finally:
        made.close()
