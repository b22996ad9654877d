"""Tools that were removed, whose pins end, so that another one of that name begins anew. Their builds stay.

`Rebuilds` owns it and says which tools are defined no more; `Updater` ends their pins before it brings another one up
to date. The engine may be away when that is known, so it is tried until it has been done.
"""

from dxd.errors import DxError, UnknownTool
from dxd.rebuild.serving import Serving
from dxd.trust.tools import Tools


class Gone:
    """The names of tools whose pins are to end."""

    def __init__(self, *, tools: Tools, serving: Serving) -> None:
        self._tools = tools
        self._serving = serving
        self._names: set[str] = set()

    def add(self, name: str) -> None:
        """The tool was removed."""
        self._names.add(name)

    def add_unless_built(self, name: str) -> None:
        """The tool is not among those that are built: it was removed, or it is wrong, or not allowed just now."""
        if not self._is_built(name):
            self.add(name)

    async def end_pins(self) -> None:
        """Take them away; raises `EngineTrouble`, and what is left is for the next time."""
        for name in tuple(self._names):
            await self._serving.unpin(name)
            self._names.discard(name)

    def _is_built(self, name: str) -> bool:
        """Whether the tool is one that is built, or would be if it were right and allowed."""
        try:
            return self._tools.get(name).build is not None
        except UnknownTool:
            return False
        except DxError:
            return True
