"""What an image, or a package, says of the tool that it is meant to be; for clients, before they define one."""

import msgspec
from aiohttp import web

from dxd.api import errors, reading, types
from dxd.api.ports import Images
from dxd.api.route import NDJSON, Answer, Route
from dxd.api.stream import Lines
from dxd.api.tools import EVERY_KEY
from dxd.errors import BadDefinition, BadRequest, DxError, EngineTrouble, ImageTrouble
from dxd.telemetry import get_logger
from dxd.tools import description
from dxd.tools.names import is_image
from dxd.tools.parse import to_table

log = get_logger("api")

_BODY = msgspec.json.Decoder(types.DescribeBody)


class DescriptionRoutes:
    """The one route."""

    def __init__(self, *, images: Images) -> None:
        self._images = images

    def routes(self) -> tuple[Route, ...]:
        """What there is, for the server and the document."""
        return (
            Route(
                id="describe",
                method="POST",
                path="/v1/describe",
                handler=self._describe,
                summary="What an image or a package says of the tool that it is meant to be",
                description=(
                    "Reads the image's labels, or the package's text. Defines nothing. A stream of JSON values as of "
                    "`prepareTool`; the last is `{description}` or `{error}`."
                ),
                tag="tools",
                answers=(Answer(200, "It has begun; the last line says how it ended", media_types=(NDJSON,)),),
                body=types.DescribeBody,
                errors=(BadDefinition, BadRequest, ImageTrouble, EngineTrouble),
            ),
        )

    async def _describe(self, request: web.Request) -> web.StreamResponse:
        reading.read_query(request)
        body = await reading.read_json(request, _BODY)
        if (body.image is None) == (body.package is None):
            raise BadDefinition("there is not exactly one of image and package", "name one of them")
        if body.image is not None and not is_image(body.image):
            raise BadDefinition(f"image: {body.image!r} cannot refer to an image", "write it like team/jq:1.7")
        with Lines(request) as lines:
            try:
                found = await self._found(body, lines)
            except DxError as error:
                return await lines.finish(types.Problem(errors.shape(error)))
            except Exception:
                log.exception("request failed", path=request.path)
                return await lines.finish(types.Problem(errors.shape(errors.unexpected())))
            return await lines.finish(types.DescriptionLine(description_json(found)))

    async def _found(self, body: types.DescribeBody, lines: Lines) -> description.Description:
        if body.package is not None:
            return description.of_package(body.package)
        return description.of_labels((await self._images.resolve(body.image or "", lines)).labels)


def description_json(found: description.Description) -> types.Description:
    """A description as JSON; values are written as in every other answer."""
    every = {**EVERY_KEY, **to_table(found.tool)}
    return types.Description(
        definition={key: every[key] for key in found.given},
        asks=[types.Ask(each.key, each.text) for each in found.asks],
        notes=list(found.notes),
    )
