"""What runs need of the services around them; `services` has it, and `app` brings the two together."""

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from dxd.kit.progress import Progress


class Neighbours(Protocol):
    """The project around a directory, as its services know it."""

    async def network(self, cwd: str, name: str) -> str:
        """The engine's name of the project's network that its file calls `name`.

        Raises `UnknownProject`, and `NotFound` where there is no such network now.
        """

    async def wake(
        self, cwd: str, needs: Sequence[str], progress: Progress, *, made: Collection[str], environ: Mapping[str, str]
    ) -> None:
        """Return when the services are ready or done. Those of `made` get their containers, with that environment;
        others have to have them. Raises `UnknownProject`, `UnknownService`, `ServiceFailed`, and what Compose refuses.
        """
