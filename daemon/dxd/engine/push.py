"""Pushing an image: what is told meanwhile, when it is done, and what its failures mean. Pure but for `follow`."""

from collections.abc import Mapping
from typing import Any

from dxd.engine.answer import Records, error_in
from dxd.engine.layers import Layers, Words
from dxd.engine.pull import TOO_MANY, UNAUTHORIZED, UNREACHABLE, login_hint
from dxd.errors import DxError, EngineError, PushFailed
from dxd.kit.progress import Progress

_WORDS = Words(
    states={"Preparing": "waiting", "Waiting": "waiting", "Pushing": "pushing"},
    moving="Pushing",
    moved=(),
    done=("Pushed",),
    there=("Layer already exists", "Mounted from"),
)
NO_LOGIN = "e30="
"""`{}`: the engine insists on the header X-Registry-Auth."""


async def follow(records: Records, ref: str, progress: Progress) -> str:
    """Tell the progress of a push; returns the digest, empty where the stream ended without it.

    Raises what `failure` makes.
    """
    layers = Layers(f"pushing {ref}", _WORDS)
    progress.step(layers.whole)
    digest = ""
    async for record in records:
        if reason := error_in(record):
            progress.step(layers.end(" ".join(reason.split())))
            raise failure(ref, reason)
        for step in layers.take(record):
            progress.step(step)
        digest = _digest(record) or digest
    if digest:
        progress.step(layers.end())
    return digest


def _digest(record: Mapping[str, Any]) -> str:
    told = record.get("aux")
    return str(told.get("Digest") or "") if isinstance(told, dict) else ""


_FULL = ("no space left on device", "insufficient storage", "quota")


def failure(ref: str, reason: str) -> DxError:
    """The error for a push that the engine ended with that reason."""
    said = " ".join(reason.split())
    lower = said.lower()
    start = f"{ref} cannot be pushed"
    if any(each in lower for each in _FULL):
        # Whose disk it is these words do not say.
        return PushFailed(
            f"{start}, there is no space left: {said}", "make some at the registry, or see: docker system df"
        )
    if any(each in lower for each in UNAUTHORIZED):
        return PushFailed(f"{start}: {said}", login_hint(ref))
    if any(each in lower for each in TOO_MANY):
        return PushFailed(f"{start} now: {said}", "wait, and try again")
    if any(each in lower for each in UNREACHABLE):
        return PushFailed(f"{start}, its registry cannot be reached: {said}", "check the name and the network")
    if "does not exist locally" in lower or "no such image" in lower:
        return EngineError(f"{start}, for somebody took its name away meanwhile", "try again")
    return PushFailed(f"{start}: {said}", "see what its registry takes")
