"""Starts and stops containers of a project, as the planner has decided.

Owned by the project's supervisor. What the engine says against it is told to the ledger, and shown with the service.
Where it says nothing in time nobody is to blame: it may do it yet, which is no other's doing then.
"""

from collections.abc import Awaitable, Callable
from contextlib import suppress

from dxd.compose.compose import Compose
from dxd.compose.model import Service, Source
from dxd.engine.supervised import Supervised
from dxd.errors import DxError, EngineDown, EngineTimeout, EngineTrouble, NotFound, PortTaken
from dxd.services.ledger import Ledger
from dxd.services.model import Action, Do
from dxd.services.news import Attribution
from dxd.services.seeding import Seeding
from dxd.services.sight import Sight
from dxd.telemetry import get_logger

log = get_logger("services")


class Doer:
    """Of one project."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        compose: Compose,
        containers: Supervised,
        attribution: Attribution,
        seeding: Seeding,
        sight: Sight,
        source: Callable[[], Source],
        save: Callable[[], Awaitable[None]],
        away: Callable[[], None],
        clock: Callable[[], float],
    ) -> None:
        """`save` keeps what has to outlive the daemon; `away` is told where the engine does not answer."""
        self._ledger = ledger
        self._compose = compose
        self._containers = containers
        self._attribution = attribution
        self._seeding = seeding
        self._sight = sight
        self._source = source
        self._save = save
        self._away = away
        self._clock = clock

    async def act(self, action: Action) -> None:
        """Do it, and see what has come of it; nothing to a service that is gone from the files by now."""
        service = self._ledger.project.services.get(action.service)
        if service is not None:
            await self._act(action, service)

    async def _act(self, action: Action, service: Service) -> None:
        name, container = action.service, action.container
        verb = "start" if action.do is Do.START else "stop"
        log.info("service", do=action.do, project=self._ledger.project.name, service=name, reason=action.reason)
        self._attribution.announce(container, verb)
        try:
            if action.do is not Do.START:
                await self._save()  # a daemon that comes after this one is told of it, and may not know of anybody else
            if action.do is Do.START:
                self._ledger.seed(name, due=await self._seeding.due(self._ledger.project, name))
            if service.by_compose:
                by = self._compose.start if action.do is Do.START else self._compose.stop
                await by(self._source(), self._ledger.project.name, name)
            elif action.do is Do.START:
                await self._containers.start(container)
            elif not await self._containers.stop(container, grace_s=service.stop_grace_s):
                self._attribution.retract(container, verb)
        except EngineDown:
            self._attribution.unanswered(container, verb)
            self._away()
        except EngineTimeout as error:
            self._attribution.unanswered(container, verb)
            self._ledger.not_done(action, error.line(), self._clock())
        except NotFound:
            self._attribution.retract(container, verb)
        except DxError as error:
            self._attribution.retract(container, verb)
            if isinstance(error, PortTaken):
                error = PortTaken(error.message, f"to have another one: dx up {name}")
            if action.do is Do.START:
                self._ledger.could_not_start(container, error.line(), self._clock())
            else:
                self._ledger.not_done(action, error.line(), self._clock())
        finally:
            # Seen before it counts as finished: else it would be decided about as it was.
            with suppress(EngineTrouble):
                await self._sight.look_at(container)
            self._ledger.finish(container)
