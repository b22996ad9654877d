"""What every test may ask for: an image to run, and a dx of its own."""

import signal
from collections.abc import Generator, Iterator

import pytest

from tests import house as houses
from tests.house import ME, House, Person, containers_of

# Before it is imported: its comparisons are the tests', and shall say what differs.
pytest.register_assert_rewrite(
    "tests.contract.twin", "tests.contract.terminals.terminal", "tests.e2e.witnesses.terminals.screen"
)

# Ignored signals are inherited; what the tests are started with (nohup, a script's `&`) must not change what they show.
for _number in (signal.SIGHUP, signal.SIGQUIT, signal.SIGTERM):
    signal.signal(_number, signal.SIG_DFL)
signal.signal(signal.SIGINT, signal.default_int_handler)


LOG_LINES = 80
"""Of a daemon's log, where a test has failed."""


@pytest.fixture(scope="session")
def image() -> Iterator[str]:
    """The name of an image with busybox in it."""
    with houses.image() as name:
        yield name
    left = [each for instance in House.instances for each in containers_of(instance)]
    assert not left, f"containers were left behind: {left}"


@pytest.fixture
def house(request: pytest.FixtureRequest, image: str) -> Iterator[House]:
    """A dx without a daemon, of whoever runs the tests, or of the `Person` that it is indirectly parametrized with."""
    person: Person = getattr(request, "param", ME)
    with House(person) as made:
        yield made


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """With what fails is told how its daemons' logs end."""
    report = yield
    if report.failed and report.when != "teardown":
        made = [getattr(each, "house", each) for each in getattr(item, "funcargs", {}).values()]
        for each in {house for house in made if isinstance(house, House)}:
            report.sections.append((f"log in {each.root}", "\n".join(each.log.splitlines()[-LOG_LINES:])))
    return report


def pytest_addoption(parser: pytest.Parser) -> None:
    """On which rung of the ladder the contract is held, and how much of it; how many faults, and which."""
    parser.addoption(
        "--rung", choices=["single-use", "bind", "portable"], help="force this rung for the tests of the contract"
    )
    parser.addoption("--sample", type=int, default=1, metavar="N", help="of the contract's cases take one in N")
    parser.addoption("--faults", type=int, default=40, metavar="N", help="how many faults hit ten services")
    parser.addoption("--seed", type=int, metavar="N", default=22, help="which faults these are")
