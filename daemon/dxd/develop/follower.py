"""Follows the files of one project: reads them again, builds, exchanges containers, copies files into them.

Made by `develop`, which wakes it when something may be another than it was. It looks at everything then: contents are
compared, so that looking too often costs little and does nothing. What cannot be followed is told as a trouble of the
service, and tried again when its files change. Fails with what the engine raises; then it is to be tried again.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from dxd.compose import doors, sources
from dxd.compose.compose import Compose
from dxd.compose.model import OnChange, Project, Service, ServiceName, Source, Watch, order
from dxd.develop import inputs, policy, reach, rules, sync
from dxd.develop.inputs import Watched
from dxd.develop.rules import Listing, Prints
from dxd.engine.model import ContainerId, ContainerStatus, ImageId, Inspected
from dxd.engine.supervised import Supervised
from dxd.errors import BuildFailed, DxError, EngineDown, EngineTrouble, ImageTrouble
from dxd.images.identity import Memory
from dxd.kit.hub import Hub
from dxd.kit.progress import Silent
from dxd.services import swap
from dxd.services.model import Phase, Will
from dxd.services.services import Services
from dxd.services.supervisor import Supervisor
from dxd.services.swap import Do, Way
from dxd.services.swaps import HASH, Interrupted
from dxd.store.service_images import ServiceImage, ServiceImages
from dxd.telemetry import get_logger
from dxd.watch.model import File, Spec
from dxd.watch.watcher import Watcher

AGAIN_S = 1.0
"""After somebody wanted something else of the project."""

log = get_logger("develop")


@dataclass(slots=True)
class Followed:
    """What is known of one service."""

    watched: Watched | None = None
    built: str | None = None
    failed: str | None = None
    failed_swap: tuple[ImageId, str] | None = None
    made: tuple[Service, tuple[str, ...]] | None = None
    """The definition that its containers are made by, and the project's env files then."""
    base: tuple[Listing, ...] | None = None
    """What a container that is new has, by rule."""
    has: dict[ContainerId, tuple[Listing, ...]] = field(default_factory=dict)


class Follower:
    """One project's."""

    def __init__(
        self,
        name: str,
        supervisor: Supervisor,
        *,
        services: Services,
        compose: Compose,
        containers: Supervised,
        watcher: Watcher,
        images: ServiceImages,
        memory: Memory,
        building: asyncio.Lock,
        hub: Hub,
        again: Callable[[float], None],
    ) -> None:
        """`building` is held by one build at a time; `again` asks for another look after so many seconds."""
        self.name = name
        self.supervisor = supervisor
        self._services = services
        self._compose = compose
        self._containers = containers
        self._watcher = watcher
        self._images = images
        self._memory = memory
        self._prints = Prints()
        self._building = building
        self._hub = hub
        self._again = again
        self._followed: dict[ServiceName, Followed] = {}
        self._read_from: tuple[str, Source] | None = None
        """A digest of the files that the project was read from last, and with what."""
        self._reads = False
        self._hashes: dict[ServiceName, str] = {}
        """What Compose would label containers with now."""
        self._mended = False
        self._noted: dict[ServiceName, tuple[Sequence[Watch], tuple[Listing, ...]]] = {}
        """Of services whose containers were made before they were looked at, the rules, and what was there then."""
        self._kept: dict[str, ServiceImage] | None = None
        """What images were built from, as known from before this daemon; each is asked for once."""

    async def note(self, project: Project) -> None:
        """Containers are about to be made: what is there now is what those have whose services are not built. Of one
        that is followed already that is known, and of one that is built it is known from its build.
        """
        for name, service in project.services.items():
            state = self._followed.get(name)
            noted, _ = self._noted.get(name, ((), ()))
            if service.build is None and noted != service.watch and (state is None or state.base is None):
                with suppress(BuildFailed):  # which is told when it is followed
                    found = await asyncio.to_thread(rules.look, service, self._prints)
                    self._noted[name] = service.watch, found

    async def look(self) -> None:
        """Bring everything up to date with the files; the watcher has waited until they came to rest."""
        if not self._mended:
            await self.supervisor.swaps.mend()
        self._mended = False  # whatever is cut off from here on may leave something behind
        await self._watch()
        self._watcher.settled(self.name)
        if await self._read():
            await self._watch()  # it may have other files by now
            await self._follow_all()
        self._mended = True

    async def _follow_all(self) -> None:
        for name in order(self.supervisor.ledger.project.services):
            service = self.supervisor.ledger.project.services.get(name)
            if service is not None and service.provider is None:
                try:
                    await self._follow(service)
                except EngineTrouble:
                    raise
                except Interrupted:
                    self._again(AGAIN_S)
                except DxError as error:
                    self._trouble(name, error.line())

    async def _watch(self) -> None:
        project = self.supervisor.ledger.project
        for gone in self._followed.keys() - project.services.keys():
            del self._followed[gone]
        files = await asyncio.to_thread(sources.of, self.supervisor.source, project)
        specs: list[Spec] = [File(str(each)) for each in files]
        for name, service in project.services.items():
            state = self._followed.setdefault(name, Followed())
            if service.build is not None or service.watch:
                state.watched = await asyncio.to_thread(inputs.watched, service, state.watched)
                specs += state.watched.specs
        self._watcher.set(self.name, specs)

    async def _read(self) -> bool:
        """Read the project again where its files are others by now; whether it can be followed as it is read."""
        found = await self._digest()
        while (found, self.supervisor.source) != self._read_from:
            # What it says and what containers of it are labelled with have to be of the same moment.
            self._read_from = found, self.supervisor.source
            self._reads = await self._services.reread(self.name)
            if self._reads:
                try:
                    self._hashes = await self._compose.hashes(self.supervisor.source)
                except EngineTrouble:
                    self._read_from = None
                    raise
                except DxError:
                    self._reads = False  # they have just been broken, which is seen in a moment
            else:
                log.info("project cannot be read", project=self.name)
            found = await self._digest()
        return self._reads

    async def _digest(self) -> str:
        project, source = self.supervisor.ledger.project, self.supervisor.source
        files = await asyncio.to_thread(sources.of, source, project)
        return await asyncio.to_thread(sources.digest, files)

    async def _follow(self, service: Service) -> None:
        name = service.name
        containers = await self.supervisor.swaps.of(name)
        runs = any(each.status is ContainerStatus.RUNNING for each in containers)
        if not containers:
            self._trouble(name, "")
            return
        if any(map(self.supervisor.beside.made, containers)):
            return  # it is as somebody else wants it, and is compared when that is known
        ledger = self.supervisor.ledger
        if ledger.wanted.one_shot(name) or ledger.phase(name, self.supervisor.now())[0] is Phase.DONE:
            return  # what is to be done once is not done again for a change
        wanted = self.supervisor.ledger.wanted.will(name) in (Will.UP, Will.ASLEEP)
        if told := self._unasked(service, containers[0].image):
            if wanted:
                self._trouble(name, told)
            return
        told = await self._build(service, containers[0].image, wanted=wanted)
        if wanted:
            told = await self._exchange(service, containers, runs=runs) or told
            self._trouble(name, told)
        if service.watch and runs:
            await self._sync(service)

    def _unasked(self, service: Service, ref: str) -> str:
        """What the service wants of this machine that nobody has asked for, to be told; empty where it is nothing."""
        approved = self.supervisor.approved
        asked = approved.services.get(service.name) if approved is not None else None
        if reach.build(service, asked, self.supervisor.source.directory, ref):
            return f"{service.name}: its build takes more than files of the project; to apply that: dx up --build"
        if reach.watch(service, asked, self.supervisor.source.directory):
            return f"{service.name}: develop.watch takes more than files of the project; to apply that: dx up"
        return ""

    def _asked_for_all(self, service: Service) -> bool:
        """Whether somebody has asked for whatever its definition is going to say."""
        approved = self.supervisor.approved
        asked = approved.services.get(service.name) if approved is not None else None
        return asked is not None and asked.extras.on_change is OnChange.APPLY

    def _may_follow(self, service: Service) -> bool:
        """Whether a definition that is another one by now may be applied without anybody having asked for it."""
        approved, made = self.supervisor.approved, self._followed[service.name].made
        asked = approved.services.get(service.name) if approved is not None else None
        before = asked if made is None else made[0]
        if before is not None and doors.doors(before) != doors.doors(service):
            return False  # who listens at a port changes only by a verb, which begins with that
        if self._asked_for_all(service):
            return True
        if made is None and approved is not None and asked is not None:
            made = asked, approved.env_files  # it was changed before anybody had looked
        env_files = self.supervisor.ledger.project.env_files
        if made is None or made[1] != env_files:
            return False
        return reach.only_environment(made[0], service) and reach.inside(self.supervisor.source.directory, env_files)

    async def _still_approved(self, service: Service) -> bool:
        """Whether the files, whichever those are that Compose reads at this moment, say of all that the service may use
        what somebody has asked for.
        """
        approved = self.supervisor.approved
        if approved is None:
            return False
        project, _ = await self._compose.read(self.supervisor.source)
        now = project.services.get(service.name)
        return project.around == approved.around and now is not None and now.raw == service.raw

    async def _build(self, service: Service, ref: str, *, wanted: bool) -> str:
        """Build its image, of that name, if need be; what is to be told of it."""
        name, state = service.name, self._followed[service.name]
        digest: str | None = None
        try:
            digest = await asyncio.to_thread(inputs.digest, service, self._memory, self._prints)
            if digest is not None and wanted:
                await self._recall(service, ref, digest)
            picture = policy.Picture(digest, state.built, state.failed, wanted, service.extras.on_change)
            decision = policy.decide(picture)
            if decision.do is policy.Do.NOTHING:
                if wanted and state.built is None and service.extras.on_change is OnChange.TELL:
                    state.built = digest
                return self.supervisor.troubles.get(name, "") if digest is not None and digest == state.failed else ""
            if decision.do is policy.Do.TELL:
                return f"{name}: {decision.reason}"
            listings = await asyncio.to_thread(rules.look, service, self._prints)
            project = self.supervisor.ledger.project.name
            async with self._building:
                log.info("build", project=project, service=name, reason=decision.reason)
                self._hub.publish("service.building", project=project, service=name)
                await self._compose.build(self.supervisor.source, project, [name], Silent())
        except ImageTrouble as error:
            await self._see_engine()
            state.failed = digest
            return f"{name}: its new build failed: {error.line()}; the one before goes on"
        state.built, state.failed = digest, None
        state.base = rules.base(service.watch, listings)
        image = await self._containers.image_id(ref)
        if image is not None and digest is not None:
            await self._images.put(self.name, name, ServiceImage(image, inputs.whole(digest, listings)))
        return ""

    async def _recall(self, service: Service, ref: str, digest: str) -> None:
        """Know what its image was built from, where that is the one of a daemon before and its files are the same."""
        if self._kept is None:
            self._kept = dict(await self._images.of(self.name))
        kept, state = self._kept.pop(service.name, None), self._followed[service.name]
        if kept is None or state.built is not None or await self._containers.image_id(ref) != kept.image_id:
            return
        listings = await asyncio.to_thread(rules.look, service, self._prints)
        if inputs.whole(digest, listings) == kept.digest:
            state.built, state.base = digest, rules.base(service.watch, listings)

    async def _exchange(self, service: Service, containers: list[Inspected], *, runs: bool) -> str:
        """Exchange its containers if need be; what is to be told of it."""
        name, state = service.name, self._followed[service.name]
        images = frozenset(each.image_id for each in containers)
        ref = containers[0].image
        # The name of an image that others build or pull may mean another one at any time, and that is their affair.
        image = await self._containers.image_id(ref) if service.build is not None else next(iter(images))
        choice = swap.way_of(service, containers)
        known = self.supervisor.ledger.project.services
        provided = any(each.service in known and known[each.service].provider for each in service.depends_on)
        picture = swap.Picture(
            runs=runs,
            image=image,
            images=images,
            # The label shows the provider's variables too, or others' ids, and what is read here does not.
            hash="" if provided or swap.labelled_by_ids(service) else self._hashes.get(name, ""),
            hashes=frozenset(each.labels.get(HASH, "") for each in containers),
            way=choice.way,
            on_change=service.extras.on_change,
            may_follow=self._may_follow(service),
            provided=provided,
            joined=any(name in swap.joins(each) for each in known.values()),
            failed=state.failed_swap,
        )
        if picture.hashes == {picture.hash}:
            state.made = service, self.supervisor.ledger.project.env_files
        decision = swap.decide(picture)
        if decision.do is Do.NOTHING:
            return self.supervisor.troubles.get(name, "") if picture.failed == (image, picture.hash) else ""
        if decision.do is Do.TELL:
            return f"{name}: {decision.reason}"
        anew = decision.do is Do.REMAKE or choice.way is Way.IN_PLACE
        if anew and not self._asked_for_all(service) and not await self._still_approved(service):
            # What Compose makes then can only be compared with what there was when that is gone.
            return f"{name}: {decision.reason}; to apply that: dx up"
        if decision.do is Do.REMAKE:
            await self.supervisor.swaps.remake(name)
            return ""
        assert image is not None
        log.info("exchange", service=name, way=choice.way, way_reason=choice.reason, reason=decision.reason)
        try:
            await self.supervisor.swaps.swap(
                name, choice.way, image, picture.hash, remount=self._asked_for_all(service)
            )
        except EngineTrouble:
            raise
        except DxError as error:
            await self._see_engine()
            state.failed_swap = image, picture.hash
            log.warning("exchange failed", service=name, reason=error.message)
            if images != {image}:
                # So that nobody else makes a container of it, either.
                state.failed = state.built
                await self._containers.tag(containers[0].image_id, ref)
                await self._containers.forget_image(image)
            return error.line()
        state.failed_swap = None
        return ""

    async def _sync(self, service: Service) -> None:
        """Have its containers have the files that its rules say."""
        name, state = service.name, self._followed[service.name]
        wanted = await asyncio.to_thread(rules.look, service, self._prints)
        containers = await self.supervisor.swaps.of(name)
        first = wanted
        if state.base is None or len(state.base) != len(wanted):
            noted, listings = self._noted.pop(name, ((), ()))
            first = listings if noted == service.watch else wanted
            state.base, state.has = rules.base(service.watch, first), {}
        state.has = {each.id: state.has[each.id] for each in containers if each.id in state.has}
        restart = False
        for each in containers:
            if each.status is not ContainerStatus.RUNNING:
                continue
            known = state.has.get(each.id)
            has, began = (state.base, first) if known is None else (known, known)
            batch = rules.plan(service.watch, has, wanted, began=began)
            if batch:
                log.info("sync", service=name, copies=len(batch.copies), removals=len(batch.removals))
                # Known before it is tried: a command that fails is told of once, not tried for ever.
                state.has[each.id] = wanted
                await sync.carry_out(self._containers, each.id, batch)
                restart = restart or batch.restart
            state.has[each.id] = wanted
        if restart:
            await self.supervisor.again([name])

    async def _see_engine(self) -> None:
        """Raise `EngineDown` where the engine is away, so that whatever failed proves nothing."""
        if not await self._containers.goes_on():
            raise EngineDown("the engine went away", "it is tried again")

    def _trouble(self, name: ServiceName, line: str) -> None:
        troubles = self.supervisor.troubles
        if line == troubles.get(name, ""):
            return
        if line:
            log.warning("service does not follow its files", project=self.name, service=name, reason=line)
            troubles[name] = line
        else:
            troubles.pop(name, None)
        self._hub.publish("service.followed", project=self.name, service=name, trouble=line)
