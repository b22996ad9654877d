"""Pulling an image: what is told meanwhile, when it is done, and what its failures mean. Pure but for `pull`."""

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from dxd.engine import reference
from dxd.engine.answer import Records, error_in
from dxd.engine.layers import Layers, Words
from dxd.errors import DxError, EngineError, ImageMissing, WrongArchitecture
from dxd.kit.progress import Progress, Step

_WORDS = Words(
    states={
        "Pulling fs layer": "waiting",
        "Waiting": "waiting",
        "Downloading": "downloading",
        "Verifying Checksum": "verifying",
        "Download complete": "downloaded",
        "Extracting": "extracting",
    },
    moving="Downloading",
    moved=("Download complete", "Extracting"),
    done=("Pull complete",),
    there=("Already exists",),
)


class Pull(Layers):
    """The state of a pull, from the records of `POST /images/create`."""

    def __init__(self, ref: str, clock: Callable[[], float] = time.time) -> None:
        super().__init__(f"pulling {ref}", _WORDS, clock)
        self.finished = False
        """The engine has said that the image is there."""

    def take(self, record: Mapping[str, Any]) -> Iterator[Step]:
        """Note what one record says; yields what is another than before."""
        if str(record.get("status", "")).startswith("Status: "):
            self.finished = True
            yield self.end()
        yield from super().take(record)


async def follow(records: Records, ref: str, progress: Progress) -> bool:
    """Tell the progress of a pull; returns whether the engine said that it is done, raises what `failure` makes."""
    layers = Pull(ref)
    progress.step(layers.whole)
    async for record in records:
        if reason := error_in(record):
            progress.step(layers.end(" ".join(reason.split())))
            raise failure(ref, reason)
        for step in layers.take(record):
            progress.step(step)
    return layers.finished


UNREACHABLE = (
    "no such host",
    "dial tcp",
    "connection refused",
    "connection reset",
    "broken pipe",
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
UNAUTHORIZED = ("unauthorized", "authentication required", "access forbidden", "no basic auth", "denied")
TOO_MANY = ("toomanyrequests", "too many requests", "rate limit")
_UNKNOWN = ("manifest unknown", "not found", "does not exist", "name unknown")
LOCAL_HINT = "or build it, or load it with `docker load`"


def unknown(ref: str, reason: str) -> DxError:
    """The error for a registry that does not say which digest a name has."""
    said = reason.lower()
    start = f"the registry does not say what {ref} is now"
    if any(each in said for each in UNAUTHORIZED):
        return ImageMissing(f"{start}: {reason}", login_hint(ref))
    if any(each in said for each in UNREACHABLE):
        return ImageMissing(f"{start}, for it cannot be reached: {reason}", "check the network")
    return ImageMissing(f"{start}: {reason}", "check its name and tag")


def login_hint(ref: str) -> str:
    """What to do where a registry wants to know who asks: how to log in to the registry of a name."""
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
    if "verification failed" in said:
        hint = "try again, or tell whoever keeps the registry"
        return ImageMissing(f"{start}, what its registry sends is not what it promised: {reason}", hint)
    if any(each in said for each in UNREACHABLE):
        return ImageMissing(f"{start}, its registry cannot be reached: {reason}", f"check the network, {LOCAL_HINT}")
    if any(each in said for each in TOO_MANY):
        return ImageMissing(f"{start} now: {reason}", f"wait, or `docker login`, {LOCAL_HINT}")
    if "pull access denied" in said:  # what registries say of a repository that is private or does not exist
        return ImageMissing(f"{start}: there is none of that name, or it is private", login_hint(ref))
    if any(each in said for each in UNAUTHORIZED):
        return ImageMissing(f"{start}: {reason}", login_hint(ref))
    if any(each in said for each in _UNKNOWN):
        return ImageMissing(f"{start}: {reason}", "check its name and tag")
    return ImageMissing(f"{start}: {reason}", f"try `docker pull {ref}`, {LOCAL_HINT}")
