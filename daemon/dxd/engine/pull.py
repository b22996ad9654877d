"""Pulling an image: what is told meanwhile, when it is done, and what its failures mean. Pure but for `pull`."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from dxd.engine import reference
from dxd.engine.answer import Records
from dxd.errors import DxError, EngineError, ImageMissing, WrongArchitecture
from dxd.kit.progress import Kind, Progress, Step

_STATES = {
    "Pulling fs layer": "waiting",
    "Waiting": "waiting",
    "Downloading": "downloading",
    "Verifying Checksum": "verifying",
    "Download complete": "downloaded",
    "Extracting": "extracting",
}
_DONE = ("Pull complete", "Already exists")


class Layers:
    """The state of a pull, from the records of `POST /images/create`."""

    def __init__(self, ref: str, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        name = f"pulling {ref}"
        self.whole = Step(name, Kind.WORK, name, name, started_s=clock())
        """The pull itself: the bytes of all layers, and how many of them are done."""
        self._layers: dict[str, Step] = {}
        self.finished = False
        """The engine has said that the image is there."""

    def take(self, record: Mapping[str, Any]) -> Iterator[Step]:
        """Note what one record says; yields what is another than before."""
        status, layer = str(record.get("status", "")), str(record.get("id", ""))
        if status.startswith("Status: "):
            self.finished = True
            yield self.end()
        if not layer or not (status in _STATES or status in _DONE or status.startswith("Retrying")):
            return
        before = self._layers.get(layer) or Step(layer, Kind.LAYER, self.whole.id, layer)
        now = self._layers[layer] = self._changed(before, status, record.get("progressDetail"))
        if now != before:
            yield now
            yield self._sum()

    def end(self, error: str = "") -> Step:
        """The pull, now that it has ended."""
        self.whole = replace(self.whole, ended_s=self._clock(), error=error)
        return self.whole

    def _changed(self, layer: Step, status: str, detail: object) -> Step:
        """The layer after the engine said that of it."""
        if status in _DONE:
            return replace(
                layer,
                state="",
                started_s=layer.started_s or self._clock(),
                ended_s=self._clock(),
                cached=status == "Already exists",
                current_bytes=layer.total_bytes or 0,
            )
        layer = replace(layer, state=_STATES.get(status, status.lower()))
        if layer.state == "waiting":
            return layer
        layer = replace(layer, started_s=layer.started_s or self._clock())
        if status == "Downloading" and isinstance(detail, dict) and "total" in detail:
            return replace(layer, current_bytes=int(detail.get("current", 0)), total_bytes=int(detail["total"]))
        if status in ("Download complete", "Extracting"):
            return replace(layer, current_bytes=layer.total_bytes or 0)
        return layer

    def _sum(self) -> Step:
        layers = self._layers.values()
        done = sum(each.ended_s is not None for each in layers)
        self.whole = replace(
            self.whole,
            state=f"{done} of {len(layers)} layers",
            current_bytes=sum(each.current_bytes for each in layers),
            total_bytes=sum(each.total_bytes or 0 for each in layers) or None,
        )
        return self.whole


async def follow(records: Records, ref: str, progress: Progress) -> bool:
    """Tell the progress of a pull; returns whether the engine said that it is done, raises what `failure` makes."""
    layers = Layers(ref)
    progress.step(layers.whole)
    async for record in records:
        if error := record.get("error") or record.get("errorDetail"):
            reason = str(error.get("message", error) if isinstance(error, dict) else error)
            progress.step(layers.end(" ".join(reason.split())))
            raise failure(ref, reason)
        for step in layers.take(record):
            progress.step(step)
    return layers.finished


_UNREACHABLE = (
    "no such host",
    "dial tcp",
    "connection refused",
    "connection reset",
    "timeout",
    "timed out",
    "network is unreachable",
    "no route to host",
    "server misbehaving",
    "temporary failure in name resolution",
    "proxyconnect",
    "tls handshake",
    "x509",
    "server gave http response to https client",
    "eof",
)
_UNAUTHORIZED = ("unauthorized", "authentication required", "access forbidden", "no basic auth", "denied")
_UNKNOWN = ("manifest unknown", "not found", "does not exist", "name unknown")
LOCAL_HINT = "or build it, or load it with `docker load`"


def unknown(ref: str, reason: str) -> DxError:
    """The error for a registry that does not say which digest a name has."""
    said = reason.lower()
    start = f"the registry does not say what {ref} is now"
    if any(each in said for each in _UNAUTHORIZED):
        return ImageMissing(f"{start}: {reason}", _login_hint(ref))
    if any(each in said for each in _UNREACHABLE):
        return ImageMissing(f"{start}, for it cannot be reached: {reason}", "check the network")
    return ImageMissing(f"{start}: {reason}", "check its name and tag")


def _login_hint(ref: str) -> str:
    """How to log in to the registry of a name."""
    name = reference.parse(ref)
    return f"check the name, or: docker login {name.host if name else ''}".rstrip()


def failure(ref: str, reason: str) -> DxError:
    """The error for a pull that the engine ended with that reason."""
    said = reason.lower()
    start = f"image {ref} is not on this machine and cannot be pulled"
    if "no matching manifest" in said or "does not match the specified platform" in said:
        return WrongArchitecture(f"image {ref} is not made for this machine: {reason}", "look for another tag of it")
    if "no space left on device" in said:
        return EngineError(f"the engine has no space left to pull {ref}", "make some with `docker system prune`")
    if any(each in said for each in _UNREACHABLE):
        return ImageMissing(f"{start}, its registry cannot be reached: {reason}", f"check the network, {LOCAL_HINT}")
    if "toomanyrequests" in said or "rate limit" in said:
        return ImageMissing(f"{start} now: {reason}", f"wait, or `docker login`, {LOCAL_HINT}")
    if "pull access denied" in said:  # what registries say of a repository that is private or does not exist
        return ImageMissing(f"{start}: there is none of that name, or it is private", _login_hint(ref))
    if any(each in said for each in _UNAUTHORIZED):
        return ImageMissing(f"{start}: {reason}", _login_hint(ref))
    if any(each in said for each in _UNKNOWN):
        return ImageMissing(f"{start}: {reason}", "check its name and tag")
    return ImageMissing(f"{start}: {reason}", f"try `docker pull {ref}`, {LOCAL_HINT}")
