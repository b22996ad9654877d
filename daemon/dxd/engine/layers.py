"""The layers of an image as they come from a registry or go to one, from the engine's records. Pure."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from dxd.kit.progress import Kind, Step


@dataclass(frozen=True, slots=True)
class Words:
    """What an engine says of a layer on one of the two ways."""

    states: Mapping[str, str]
    """Of one that is under way, by the engine's word."""
    moving: str
    """The word that bytes come with."""
    moved: tuple[str, ...]
    """The words after which all its bytes have been moved."""
    done: tuple[str, ...]
    """The words at the end of one that was moved."""
    there: tuple[str, ...]
    """The beginnings of those that say that nothing has to be moved."""


class Layers:
    """The state of a pull or a push."""

    def __init__(self, name: str, words: Words, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._words = words
        self.whole = Step(name, Kind.WORK, name, name, started_s=clock())
        """The work itself: the bytes of all layers, and how many of them are done."""
        self._layers: dict[str, Step] = {}

    def take(self, record: Mapping[str, Any]) -> Iterator[Step]:
        """Note what one record says; yields what is another than before."""
        status, layer = str(record.get("status", "")), str(record.get("id", ""))
        words = self._words
        known = status in words.states or status in words.done or status.startswith((*words.there, "Retrying"))
        if not layer or not known:
            return
        before = self._layers.get(layer) or Step(layer, Kind.LAYER, self.whole.id, layer)
        now = self._layers[layer] = self._changed(before, status, record.get("progressDetail"))
        if now != before:
            yield now
            yield self._sum()

    def end(self, error: str = "") -> Step:
        """The work, now that it has ended."""
        self.whole = replace(self.whole, ended_s=self._clock(), error=error)
        return self.whole

    def _changed(self, layer: Step, status: str, detail: object) -> Step:
        """The layer after the engine said that of it."""
        words = self._words
        if status in words.done or status.startswith(words.there):
            return replace(
                layer,
                state="",
                started_s=layer.started_s or self._clock(),
                ended_s=self._clock(),
                cached=status.startswith(words.there),
                current_bytes=layer.total_bytes or 0,
            )
        layer = replace(layer, state=words.states.get(status, status.lower()))
        if layer.state == "waiting":
            return layer
        layer = replace(layer, started_s=layer.started_s or self._clock())
        if status == words.moving and isinstance(detail, dict) and "total" in detail:
            current, total = int(detail.get("current", 0)), int(detail["total"])
            # Of a layer that is pushed the engine counts the archive's own blocks too, and guesses the rest.
            return replace(layer, current_bytes=min(current, total), total_bytes=total)
        if status in words.moved:
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
