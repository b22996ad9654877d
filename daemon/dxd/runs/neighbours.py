"""What runs need of the services around them; `services` has it, and `app` brings the two together."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol

from dxd.kit.progress import Progress


class Neighbours(Protocol):
    """The project around a directory, as its services know it."""

    async def network(self, cwd: str, name: str) -> str:
        """The engine's name of the project's network that its file calls `name`.

        Raises `UnknownProject`, and `NotFound` where there is no such network now.
        """

    def on(self, network: str) -> Callable[[], None]:
        """A run is on that network, and nobody knows what it needs there; the answer is called when it has ended."""

    async def wake(
        self, cwd: str, needs: Sequence[str], progress: Progress, *, made: Collection[str], environ: Mapping[str, str]
    ) -> Callable[[], None]:
        """Return when the services are ready or done; they stay so until the answer is called, which may be done twice.

        Those of `made` get their containers, with that environment; others have to have them.
        Raises `UnknownProject`, `UnknownService`, `ServiceFailed`, and what Compose refuses.
        """
