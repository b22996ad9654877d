"""The OpenAPI document is whole, and about the routes that there are."""

from collections.abc import Iterator
from typing import Any

import msgspec

from dxd.api import types
from tests.dxd.api.conftest import Edge

METHODS = {"get", "put", "post", "delete"}


def references(value: object) -> Iterator[str]:
    """Every `$ref` below a value."""
    if isinstance(value, dict):
        if isinstance(target := value.get("$ref"), str):
            yield target
        for each in value.values():
            yield from references(each)
    elif isinstance(value, list):
        for each in value:
            yield from references(each)


async def document(edge: Edge) -> Any:
    """The document as it is served."""
    answer = await edge.call("GET", "/v1/openapi.json")
    assert answer.status == 200
    return answer.json()


async def test_every_route_is_in_it_and_nothing_else(edge: Edge) -> None:
    served = {
        (route.method, route.resource.canonical)
        for route in edge.front._app.router.routes()
        if route.resource is not None and route.method != "HEAD"
    }
    told = {
        (method.upper(), path) for path, operations in (await document(edge))["paths"].items() for method in operations
    }
    assert told == served


async def test_every_operation_says_what_it_does_and_how_it_fails(edge: Edge) -> None:
    """Each with the one shape of errors, and the header with the version."""
    ids = []
    for operations in (await document(edge))["paths"].values():
        assert set(operations) <= METHODS
        for operation in operations.values():
            ids.append(operation["operationId"])
            assert operation["summary"]
            statuses = operation["responses"]
            assert {"400", "500"} <= set(statuses)
            assert any(status.startswith(("2", "101")) for status in statuses)
            assert ("requestBody" in operation) == ("415" in statuses) == ("408" in statuses)
            for status, response in statuses.items():
                assert response["description"]
                assert "Dx-Version" in response["headers"]
                if status >= "400":
                    schema = response["content"]["application/json"]["schema"]
                    assert schema == {"$ref": "#/components/schemas/Problem"}
            for parameter in operation.get("parameters", []):
                assert parameter["description"]
                assert parameter["schema"]
    assert len(ids) == len(set(ids))


async def test_every_reference_leads_somewhere(edge: Edge) -> None:
    whole = await document(edge)
    for target in references(whole):
        prefix, _, name = target.rpartition("/")
        assert prefix == "#/components/schemas"
        assert whole["components"]["schemas"][name]["description"]


async def test_bodies_refuse_what_the_document_does_not_know(edge: Edge) -> None:
    schemas = (await document(edge))["components"]["schemas"]
    for name in ("ToolBody", "Build", "MountPaths", "LeaseBody", "SignalBody", "RollbackBody", "Base64"):
        assert schemas[name]["additionalProperties"] is False


async def test_the_version_is_the_daemons(edge: Edge) -> None:
    whole = await document(edge)
    assert whole["openapi"] == "3.1.0"
    assert whole["info"]["version"] == "1.2.3"


def test_base64_stands_for_bytes_that_are_no_text() -> None:
    """And what one direction makes, the other takes."""
    for value in (b"", b"text", "ä".encode(), b"\xff", bytes(range(256))):
        shown = types.from_bytes(value)
        assert types.to_bytes(shown) == value
        assert isinstance(shown, str) == (value.decode(errors="replace").encode() == value)
        msgspec.json.encode(shown)
