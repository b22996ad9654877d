"""Which tools are built, and what is known of each: the states, from the first look at a tool to its end.

`Rebuilds` has them made and dropped; `Leftovers` asks which builds go on. A definition has one state: when it changes,
the one before is over, and what goes on for it is given up.
"""

from dxd.errors import Conflict
from dxd.rebuild.state import ToolState
from dxd.tools.model import Tool
from dxd.trust.tools import Tools


class States:
    """By the names of their tools."""

    def __init__(self, *, tools: Tools) -> None:
        self._tools = tools
        self._states: dict[str, ToolState] = {}

    def of(self, tool: Tool) -> ToolState:
        """What is known of a tool; raises `Conflict` where it is not built any more, or what is wrong with it."""
        state = self._states.get(tool.name)
        if state is not None and state.tool.build != tool.build:
            tool = self._tools.get(tool.name)  # whoever asks may have had it for a while
            if state.tool.build != tool.build:
                state.end()
                state = None
        if tool.build is None:
            raise Conflict(f"{tool.word} is defined otherwise by now", "try again")
        if state is None:
            state = self._states[tool.name] = ToolState(tool)
        state.tool = tool
        return state

    def find(self, name: str) -> ToolState | None:
        """What is known of a tool, where anything is."""
        return self._states.get(name)

    def all(self) -> list[ToolState]:
        """Those of now, whatever happens while they are gone through."""
        return list(self._states.values())

    def drop(self, name: str) -> bool:
        """The tool is built no more; whether anything was known of it."""
        state = self._states.pop(name, None)
        if state is None:
            return False
        state.end()
        return True

    def building(self) -> set[str]:
        """The digests of the builds that go on."""
        return {each.building for each in self._states.values() if each.building is not None}

    def failures(self) -> dict[str, str]:
        """By tool, why its newest build does not serve."""
        return {name: state.failure.line for name, state in self._states.items() if state.failure is not None}
