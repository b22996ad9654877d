"""Which keys a compose file may have, as the Compose that is used says: by the JSON schema inside its program."""

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tests.house import docker

Place = tuple[str, ...]
"""The keys that lead to one, from the top: `*` for any name, `[]` for any entry of a list."""

_ITS_ID = re.compile(rb'"\$?id"\s*:\s*"compose_spec\.json"')


def program(argv: tuple[str, ...]) -> Path:
    """The file that is Compose, for one that is called so."""
    if argv[1:] != ("compose",):
        return Path(argv[0])
    plugins = json.loads(docker("info", "--format", "{{json .ClientInfo.Plugins}}"))
    return next(Path(each["Path"]) for each in plugins if each["Name"] == "compose")


def schema(file: Path) -> dict[str, Any]:
    """The compose specification that a Compose checks files by, which its program has as plain text."""
    content = file.read_bytes()
    found = _ITS_ID.search(content)
    assert found is not None, f"{file} has no schema of compose_spec.json: where does this Compose keep it?"
    text = content[content.rindex(b"{", 0, found.start()) :][: 1 << 20].decode(errors="replace")
    document, _ = json.JSONDecoder().raw_decode(text)
    assert isinstance(document, dict)
    assert {"services", "networks", "volumes"} <= document["properties"].keys(), f"not the schema of {file}"
    return document


def places(document: dict[str, Any]) -> list[Place]:
    """Every key of the schema. What several kinds of container have in common is there once, with the services."""
    found: dict[Place, None] = {}
    shared: set[str] = set()

    def walk(node: dict[str, Any], at: Place) -> None:
        if "$ref" in node:
            walk(referred(node["$ref"]), at)
        for each in node.get("allOf", ()):
            if each.get("$ref") not in shared:
                shared.add(each.get("$ref"))
                walk(each, at)
        for each in (*node.get("oneOf", ()), *node.get("anyOf", ())):
            walk(each, at)
        for key, each in node.get("properties", {}).items():
            found[*at, key] = None
            walk(each, (*at, key))
        for pattern, each in node.get("patternProperties", {}).items():
            if pattern != "^x-":
                walk(each, (*at, "*"))
        for kind, step in (("additionalProperties", "*"), ("items", "[]")):
            if isinstance(each := node.get(kind), dict):
                walk(each, (*at, step))

    def referred(reference: str) -> dict[str, Any]:
        node = document
        for step in reference.removeprefix("#/").split("/"):
            node = node[step]
        return node

    walk(document, ())
    return [*found]


def missing(wanted: Iterable[Place], documents: list[object]) -> list[str]:
    """Those that none of these has, dotted."""
    return [".".join(each) for each in wanted if not any(_has(document, each) for document in documents)]


def _has(document: object, place: Place) -> bool:
    if not place:
        return True
    step, *rest = place
    if step == "[]":
        return isinstance(document, list) and any(_has(each, (*rest,)) for each in document)
    if not isinstance(document, dict):
        return False
    if step == "*":
        return any(_has(each, (*rest,)) for each in document.values())
    return step in document and _has(document[step], (*rest,))
