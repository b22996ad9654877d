"""Upgrades: what registries have anew, and taking it."""

import msgspec
from aiohttp import web

from dxd.api import errors, reading, types
from dxd.api.ports import Upgrades
from dxd.api.route import NDJSON, Answer, Parameter, Route
from dxd.api.stream import Lines
from dxd.errors import BadDefinition, BadName, DxError, EngineTrouble, UnknownTool
from dxd.rebuild.upgrades import Compared, Upgraded
from dxd.telemetry import get_logger
from dxd.tools.names import check_name

log = get_logger("api")

_NAME: dict[str, object] = {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._+-]{0,127}$"}
_BODY = msgspec.json.Decoder(types.UpgradeBody)


class UpgradeRoutes:
    """The routes of upgrades."""

    def __init__(self, *, upgrades: Upgrades) -> None:
        self._upgrades = upgrades

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
                answers=(Answer(200, "Every image, and how it stands", types.Compared),),
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
                    "`{error}`. What was there serves until the new one is."
                ),
                tag="upgrades",
                answers=(Answer(200, "It has begun; the last line says how it ended", media_types=(NDJSON,)),),
                body=types.UpgradeBody,
                errors=(BadName, UnknownTool, BadDefinition, EngineTrouble),
            ),
        )

    async def _outdated(self, request: web.Request) -> web.StreamResponse:
        tool = reading.read_query(request, "tool").get("tool")
        found = await self._upgrades.outdated([] if tool is None else [check_name(tool)])
        every = types.Compared([compared_json(each) for each in found])
        return web.Response(body=types.encode(every), content_type=errors.JSON)

    async def _upgrade(self, request: web.Request) -> web.StreamResponse:
        reading.read_query(request)
        body = await reading.read_json(request, _BODY)
        names = [check_name(each) for each in body.tools]
        with Lines(request) as lines:
            try:
                found = await self._upgrades.upgrade(names, lines)
            except DxError as error:
                return await lines.finish(types.Problem(errors.shape(error)))
            except Exception:
                log.exception("request failed", path=request.path)
                return await lines.finish(types.Problem(errors.shape(errors.unexpected())))
            return await lines.finish(types.UpgradedLine([upgraded_json(each) for each in found]))


def compared_json(it: Compared) -> types.ComparedImage:
    """An image and how it stands, as JSON."""
    return types.ComparedImage(it.tool, it.image, it.is_base, it.standing, it.held, it.offered, it.reason)


def upgraded_json(it: Upgraded) -> types.UpgradedTool:
    """What became of a tool, as JSON."""
    return types.UpgradedTool(it.tool, list(it.images), it.error)
