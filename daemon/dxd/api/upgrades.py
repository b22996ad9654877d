"""Upgrades and the lock: what registries have anew, taking it, and staying with what there is."""

import msgspec
from aiohttp import web

from dxd.api import errors, reading, types, upgrade_types
from dxd.api.ports import Locking, Upgrades
from dxd.api.route import NDJSON, Answer, Parameter, Route
from dxd.api.stream import Lines, told
from dxd.errors import BadDefinition, BadName, EngineTrouble, NotTrusted, Refused, UnknownTool
from dxd.rebuild.comparison import Compared
from dxd.rebuild.upgrades import Consent, Upgraded
from dxd.tools.names import TOOL_PATTERN, check_name, check_tool

_NAME: dict[str, object] = {"type": "string", "pattern": TOOL_PATTERN}
_LOCK = msgspec.json.Decoder(upgrade_types.LockBody)
_BODY = msgspec.json.Decoder(upgrade_types.UpgradeBody)


class UpgradeRoutes:
    """The routes of upgrades."""

    def __init__(self, *, upgrades: Upgrades, locking: Locking) -> None:
        self._upgrades = upgrades
        self._locking = locking

    def routes(self) -> tuple[Route, ...]:
        """What there is, for the server and the document."""
        return (
            Route(
                id="listOutdated",
                method="GET",
                path="/v1/outdated",
                handler=self._outdated,
                summary="How the images of tools compare to those of their registries",
                description="Asks the registries, for some seconds at most; what one does not answer is `unknown`.",
                tag="upgrades",
                answers=(Answer(200, "Every image, and how it stands", upgrade_types.Compared),),
                query=(Parameter("tool", "Only those of this tool", _NAME),),
                errors=(BadName, UnknownTool, BadDefinition, EngineTrouble),
            ),
            Route(
                id="upgrade",
                method="POST",
                path="/v1/upgrade",
                handler=self._upgrade,
                summary="Pull what registries have anew, and build what is built on it",
                description=(
                    "A stream of JSON values, one on each line: `{note}`, `{progress}`, and at the end `{upgraded}` or "
                    "`{error}`. What was there serves until the new one is, and on where that asks for more."
                ),
                tag="upgrades",
                answers=(Answer(200, "It has begun; the last line says how it ended", media_types=(NDJSON,)),),
                body=upgrade_types.UpgradeBody,
                errors=(BadName, UnknownTool, BadDefinition, EngineTrouble),
            ),
            Route(
                id="lock",
                method="POST",
                path="/v1/lock",
                handler=self._lock,
                summary="Write dx.lock, or hold it against what there is",
                description=(
                    "A stream of JSON values, one on each line: `{note}`, `{progress}`, and at the end `{complaints}` "
                    "or `{error}`. What is locked stays so, but for what `upgrade` names."
                ),
                tag="upgrades",
                answers=(Answer(200, "It has begun; the last line says how it ended", media_types=(NDJSON,)),),
                body=upgrade_types.LockBody,
                errors=(BadName, UnknownTool, NotTrusted, BadDefinition, Refused, EngineTrouble),
            ),
        )

    async def _outdated(self, request: web.Request) -> web.StreamResponse:
        tool = reading.read_query(request, "tool").get("tool")
        found = await self._upgrades.outdated([] if tool is None else [check_tool(tool)])
        every = upgrade_types.Compared([compared_json(each) for each in found])
        return web.Response(body=types.encode(every), content_type=errors.JSON)

    async def _upgrade(self, request: web.Request) -> web.StreamResponse:
        reading.read_query(request)
        body = await reading.read_json(request, _BODY)
        names = [check_tool(each) for each in body.tools]
        consent = Consent(labels=body.labels, allow=frozenset(body.allow), keep=body.keep)

        async def work(lines: Lines) -> msgspec.Struct:
            found = await self._upgrades.upgrade(names, lines, consent)
            return upgrade_types.UpgradedLine([upgraded_json(each) for each in found])

        return await told(request, work)

    async def _lock(self, request: web.Request) -> web.StreamResponse:
        reading.read_query(request)
        body = await reading.read_json(request, _LOCK)
        project = reading.absolute_path(body.project, "project")
        names = None if body.upgrade is None else [check_name(each) for each in body.upgrade]

        async def work(lines: Lines) -> msgspec.Struct:
            if body.check:
                found = await self._locking.check(project, lines)
            else:
                found = await self._locking.lock(project, names, lines)
            return upgrade_types.LockedLine([upgrade_types.LockComplaint(each.tool, each.reason) for each in found])

        return await told(request, work)


def compared_json(it: Compared) -> upgrade_types.ComparedImage:
    """An image and how it stands, as JSON."""
    return upgrade_types.ComparedImage(it.tool, it.image, it.is_base, it.standing, it.held, it.offered, it.reason)


def upgraded_json(it: Upgraded) -> upgrade_types.UpgradedTool:
    """What became of a tool, as JSON."""
    asks = [types.Ask(each.key, each.text) for each in it.asks]
    return upgrade_types.UpgradedTool(it.tool, list(it.images), it.error, asks, it.digest)
