"""The states of tools, over a real dx.toml."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from dxd.errors import Conflict
from dxd.rebuild.states import States
from dxd.store.consents import Consents
from dxd.store.database import Database
from dxd.store.schema import MIGRATIONS
from dxd.tools.catalogue import Catalogue
from dxd.tools.model import Tool
from dxd.trust.projects import Projects
from dxd.trust.tools import Tools


class Desk:
    """Tools, and the states of them."""

    def __init__(self, directory: Path) -> None:
        self.file = directory / "dx.toml"
        self.database = Database(directory / "history.db", MIGRATIONS)
        projects = Projects(consents=Consents(self.database), own=self.file, uid=0)
        self.tools = Tools(user=Catalogue(self.file), projects=projects)
        self.states = States(tools=self.tools)

    def define(self, text: str) -> Tool:
        self.file.write_text(f"[tools.t]\n{text}\n")
        return self.tools.get("t")


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    desk = Desk(tmp_path)
    yield desk
    await desk.database.close()


async def test_a_definition_that_builds_otherwise_has_another_state(desk: Desk) -> None:
    """What goes on for the one before is given up, and who still has that one gets the state of now."""
    before = desk.define('build = "/one"')
    state = desk.states.of(before)
    assert desk.states.of(before) is state
    now = desk.define('build = "/two"')
    other = desk.states.of(now)
    assert other is not state
    assert (state.over, state.replaced.is_set(), other.over) == (True, True, False)
    assert desk.states.of(before) is other
    assert other.tool == now


async def test_a_setting_that_changes_no_build_changes_no_state(desk: Desk) -> None:
    """It has the new one."""
    state = desk.states.of(desk.define('build = "/one"'))
    quiet = desk.define('build = "/one"\nnetwork = "none"')
    assert desk.states.of(quiet) is state
    assert (state.tool, state.over) == (quiet, False)


async def test_a_tool_that_is_built_no_more_has_no_state(desk: Desk) -> None:
    """Whoever asks for its build is told."""
    state = desk.states.of(desk.define('build = "/one"'))
    now = desk.define('image = "jq"')
    with pytest.raises(Conflict, match="defined otherwise"):
        desk.states.of(now)
    assert state.over


async def test_what_is_dropped_is_over(desk: Desk) -> None:
    """And neither builds nor fails any more."""
    state = desk.states.of(desk.define('build = "/one"'))
    state.building = "1" * 64
    assert desk.states.building() == {"1" * 64}
    assert desk.states.drop("t")
    assert (state.over, desk.states.building(), desk.states.find("t")) == (True, set(), None)
    assert not desk.states.drop("t")
