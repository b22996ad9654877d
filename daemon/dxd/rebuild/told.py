"""What a build says, for those who wait for it and for its log at once."""

from collections.abc import Callable

from dxd.kit.plain import Whole
from dxd.kit.progress import Progress, Step


class Told:
    """Progress that is kept in the build's log as well."""

    def __init__(self, progress: Progress, tell: Callable[[str], None]) -> None:
        self._progress = progress
        self._tell = tell
        self._whole = Whole(tell)

    def note(self, text: str) -> None:
        """Pass it on."""
        self._tell(text)
        self._progress.note(text)

    def progress(self, text: str) -> None:
        """Pass it on."""
        self._tell(text)
        self._progress.progress(text)

    def step(self, step: Step) -> None:
        """Pass it on; the log has every line that it printed."""
        self._whole.step(step)
        self._progress.step(step)
