"""An image that is another but for its labels, made of that one's layers without building.

What an image is called is the digest of its configuration, in which stands when it was made. A build makes it now, so
each has another digest; here that moment and the history stay those of the image below, and the same labels on the same
image are the same image. `Engine.relabel` loads it as `docker load` would, with no layer in the archive: an engine
looks for those that it has first. One that does not says so, and builds. Pure but for `read` and `load`.
"""

import hashlib
import io
import json
import tarfile
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from dxd.engine.answer import Answer, error_in
from dxd.engine.connection import Connection
from dxd.engine.model import ImageId
from dxd.errors import ImageMissing

SILENCE_S = 60.0
"""There is nothing to unpack."""


@dataclass(frozen=True, slots=True)
class Relabelled:
    """What to load."""

    id: ImageId
    archive: bytes
    """Of the form of `docker save`."""


def relabelled(
    inspected: Mapping[str, Any], history: Sequence[Mapping[str, Any]], labels: Mapping[str, str]
) -> Relabelled:
    """From what the engine tells of an image, `GET /images/NAME/json` and `/history`; these labels win over its own."""
    layers = list((inspected.get("RootFS") or {}).get("Layers") or ())
    config = dict(inspected.get("Config") or {})
    config["Labels"] = {**(config.get("Labels") or {}), **labels}
    # https://github.com/opencontainers/image-spec/blob/main/config.md
    described = {
        "architecture": inspected.get("Architecture"),
        "variant": inspected.get("Variant"),
        "os": inspected.get("Os"),
        "author": inspected.get("Author"),
        "created": inspected.get("Created"),
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": layers},
        "history": _history(history, len(layers)),
    }
    content = json.dumps({key: value for key, value in described.items() if value}, sort_keys=True).encode()
    digest = hashlib.sha256(content).hexdigest()
    manifest = [
        {"Config": f"{digest}.json", "RepoTags": None, "Layers": [f"{number}.tar" for number in range(len(layers))]}
    ]
    files = {f"{digest}.json": content, "manifest.json": json.dumps(manifest).encode()}
    return Relabelled(ImageId(f"sha256:{digest}"), _tar(files))


def _history(told: Sequence[Mapping[str, Any]], layers: int) -> list[dict[str, object]]:
    """As it stands in a configuration, the oldest first; none where it is not sure which entries made a layer."""
    entries: list[dict[str, object]] = []
    for each in reversed(told):
        created = datetime.fromtimestamp(int(each.get("Created") or 0), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        entry = {"created": created, "created_by": each.get("CreatedBy"), "comment": each.get("Comment")}
        entry["empty_layer"] = not each.get("Size")
        entries.append({key: value for key, value in entry.items() if value})
    return entries if sum("empty_layer" not in each for each in entries) == layers else []


async def read(connection: Connection, image: ImageId) -> tuple[Mapping[str, Any], Sequence[Mapping[str, Any]]]:
    """What `relabelled` is made from; raises `ImageMissing`."""
    try:
        inspected = await connection.get(f"images/{image}/json", {})
        return inspected, await connection.get(f"images/{image}/history", {})
    except Answer as answer:
        if answer.status == 404:
            raise ImageMissing(f"the image {image[7:19]} is gone", "try again") from None
        raise


async def load(connection: Connection, wanted: Relabelled) -> bool:
    """Load it; False where the engine wants the layers. Raises `EngineDown`, `EngineTimeout`."""
    headers = {"Content-Type": "application/x-tar"}
    try:
        async with connection.stream(
            "POST",
            "images/load",
            params={"quiet": "1"},
            data=_whole(wanted.archive),
            headers=headers,
            silence_s=SILENCE_S,
        ) as records:
            async for record in records:
                if error_in(record):
                    return False
    except Answer:
        return False
    return True


async def context(image: ImageId) -> AsyncIterator[bytes]:
    """A build context for where it cannot be loaded: a Dockerfile of one line."""
    yield _tar({"Dockerfile": f"FROM {image}\n".encode()})


async def _whole(content: bytes) -> AsyncIterator[bytes]:
    yield content


def _tar(files: Mapping[str, bytes]) -> bytes:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return archive.getvalue()
