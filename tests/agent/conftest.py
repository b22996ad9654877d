"""An agent of this directory's own: one house and one container, checked after each test."""

from collections.abc import Iterator

import pytest

from tests.agent.link import Agent
from tests.house import House


@pytest.fixture(scope="module")
def one_agent(image: str) -> Iterator[Agent]:
    with House() as house:
        yield Agent(house, image)


@pytest.fixture
def agent(one_agent: Agent) -> Iterator[Agent]:
    """An agent that after the test still serves, and of the test keeps nothing."""
    yield one_agent
    one_agent.check()
