"""Whether the names that a tool is built on still mean the images that it was built on.

Anybody may have a name mean another image: by a build, a tag, a pull, a load; `News` says when to look. The builds of
other tools are no concern of that: `Rebuilds`, which has them given their names, knows itself when those move.
"""

from collections.abc import Mapping

from dxd.engine.model import ImageId
from dxd.rebuild.bases import Bases
from dxd.rebuild.pins import Pins
from dxd.tools.model import Tool


class Moved:
    """Looks at names; keeps nothing. One that means no image has not moved: what is removed is not pulled for that."""

    def __init__(self, *, bases: Bases, pins: Pins) -> None:
        self._bases = bases
        self._pins = pins

    async def since(self, tool: Tool, built_on: Mapping[str, ImageId], *, of_tools: bool = False) -> bool:
        """Whether a name of these would have the tool built on another image than that one by now; raises `DxError`.

        `of_tools` is for those of other tools' builds, too.
        """
        for ref, image in built_on.items():
            if of_tools or self._bases.tool_of(ref, tool) is None:
                now = await self._pins.held(tool, ref)
                if now is not None and now.id != image:
                    return True
        return False
