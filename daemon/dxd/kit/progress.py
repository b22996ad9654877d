"""What a long piece of work tells whoever waits for it. Failures are raised, not told here."""

from collections.abc import Iterable
from typing import Protocol


class Progress(Protocol):
    """Takes lines of text; must neither block nor raise."""

    def note(self, text: str) -> None:
        """Tell a line that lasts."""

    def progress(self, text: str) -> None:
        """Tell a line that takes the place of the one before it; it may be dropped."""


class Silent:
    """For work that nobody watches."""

    def note(self, text: str) -> None:
        """Say nothing."""

    def progress(self, text: str) -> None:
        """Say nothing."""


class Fanout:
    """Tells all who listen at the moment; one who comes late is told the latest line at once."""

    def __init__(self) -> None:
        self._listeners: list[Progress] = []
        self._latest: str | None = None

    @property
    def listeners(self) -> Iterable[Progress]:
        """Who listens now."""
        return tuple(self._listeners)

    def add(self, listener: Progress) -> None:
        """Let one more listen; the same may be added several times."""
        self._listeners.append(listener)
        if self._latest is not None:
            listener.progress(self._latest)

    def remove(self, listener: Progress) -> None:
        """Undo one `add`."""
        self._listeners.remove(listener)

    def note(self, text: str) -> None:
        """Tell everybody."""
        self._latest = text
        for listener in self.listeners:
            listener.note(text)

    def progress(self, text: str) -> None:
        """Tell everybody."""
        self._latest = text
        for listener in self.listeners:
            listener.progress(text)
