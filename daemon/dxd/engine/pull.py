"""Pulling an image: what is told meanwhile, when it is done, and what its failures mean. Pure but for `pull`."""

from collections.abc import Mapping
from typing import Any

from dxd.engine.answer import Records
from dxd.errors import DxError, EngineError, ImageMissing, WrongArchitecture
from dxd.kit.progress import Progress

_MB = 1_000_000


class Layers:
    """The state of a pull, from the records of `POST /images/create`."""

    def __init__(self) -> None:
        self._bytes: dict[str, tuple[int, int]] = {}
        self._done: set[str] = set()
        self._known: set[str] = set()
        self.finished = False
        """The engine has said that the image is there."""

    def take(self, record: Mapping[str, Any]) -> None:
        """Note what one record says."""
        status, layer = str(record.get("status", "")), str(record.get("id", ""))
        if status.startswith("Status: "):
            self.finished = True
        if not layer or status.startswith("Pulling from"):
            return
        self._known.add(layer)
        if status in ("Pull complete", "Already exists"):
            self._done.add(layer)
        detail = record.get("progressDetail")
        if status == "Downloading" and isinstance(detail, dict) and "total" in detail:
            self._bytes[layer] = int(detail.get("current", 0)), int(detail["total"])
        elif status in ("Download complete", "Pull complete") and layer in self._bytes:
            total = self._bytes[layer][1]
            self._bytes[layer] = total, total

    def text(self) -> str:
        """How far it is, in one line; empty before anything is known."""
        if not self._known:
            return ""
        text = f"{len(self._done)} of {len(self._known)} layers"
        if self._bytes:
            current, total = (sum(each) / _MB for each in zip(*self._bytes.values(), strict=True))
            text += f", {current:.1f} of {total:.1f} MB"
        return text


async def follow(records: Records, ref: str, progress: Progress) -> bool:
    """Tell the progress of a pull; returns whether the engine said that it is done, raises what `failure` makes."""
    layers, told = Layers(), ""
    async for record in records:
        if error := record.get("error") or record.get("errorDetail"):
            raise failure(ref, str(error.get("message", error) if isinstance(error, dict) else error))
        layers.take(record)
        if (text := layers.text()) != told:
            told = text
            progress.progress(f"pulling {ref}: {text}")
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
)
_UNAUTHORIZED = ("unauthorized", "authentication required", "access forbidden", "no basic auth", "denied")
_UNKNOWN = ("manifest unknown", "not found", "does not exist", "name unknown")
LOCAL_HINT = "or build it, or load it with `docker load`"


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
        return ImageMissing(
            f"{start}: there is none of that name, or it is private", "check the name, or `docker login`"
        )
    if any(each in said for each in _UNAUTHORIZED):
        return ImageMissing(f"{start}: {reason}", "check the name, or `docker login`")
    if any(each in said for each in _UNKNOWN):
        return ImageMissing(f"{start}: {reason}", "check its name and tag")
    return ImageMissing(f"{start}: {reason}", f"try `docker pull {ref}`, {LOCAL_HINT}")
