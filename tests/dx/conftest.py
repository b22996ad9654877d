"""A dx of its own for each test, with or without a daemon."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.dx.installed import Dx
from tests.fakes.daemon import State, serving


@pytest.fixture
def dx(tmp_path: Path) -> Dx:
    """A dx without a daemon."""
    return Dx(tmp_path)


@pytest.fixture
def daemon(dx: Dx) -> Iterator[State]:
    """The daemon of `dx`, running."""
    with serving(str(dx.socket)) as state:
        yield state
