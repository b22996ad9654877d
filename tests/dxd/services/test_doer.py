"""What is decided is done to services that there still are."""

from pathlib import Path

from dxd.compose.compose import Compose
from dxd.compose.model import ServiceName, Source
from dxd.engine.docker import Engine
from dxd.engine.supervised import Supervised
from dxd.kit.tasks import Tasks
from dxd.services.doer import Doer
from dxd.services.ledger import Ledger
from dxd.services.model import Do
from dxd.services.news import Attribution
from dxd.services.seeding import Seeding
from dxd.services.sight import Sight
from dxd.snapshots.seeds import Seeds
from dxd.snapshots.snapshots import Snapshots
from dxd.store.database import Database
from dxd.store.schema import MIGRATIONS
from dxd.store.seeds import SeedRows
from tests.dxd.services.projects import instance, ledger, project, service


class Hands:
    """A doer whose engine is away, which it notices as soon as it asks it for something."""

    def __init__(self, book: Ledger, directory: Path, database: Database) -> None:
        engine = Engine("unix:///nonexistent/docker.sock", environ={})
        containers, attribution = Supervised(engine), Attribution()
        snapshots = Snapshots(engine=engine, agent=directory / "agent", agent_version="1", owner="test")
        sight = Sight(ledger=book, containers=containers, clock=lambda: 100.0, started=lambda _: None)
        self.saved = 0
        self.away = False
        self.doer = Doer(
            ledger=book,
            compose=Compose(engine.address, overrides=directory),
            containers=containers,
            attribution=attribution,
            seeding=Seeding(
                containers,
                Seeds(snapshots=snapshots, rows=SeedRows(database)),
                Tasks(lambda _name, _error: None),
                ledger=book,
                attribution=attribution,
                sight=sight,
                wake=lambda: None,
            ),
            sight=sight,
            source=lambda: Source(directory),
            save=self._save,
            away=self._went,
            clock=lambda: 100.0,
        )

    async def _save(self) -> None:
        self.saved += 1

    def _went(self) -> None:
        self.away = True


async def test_nothing_is_done_to_a_service_that_is_gone_from_the_files_by_now(tmp_path: Path) -> None:
    """Renamed, or removed, after it was decided to stop it or to start it."""
    database = Database(tmp_path / "history.db", MIGRATIONS)
    book = ledger(service("db"), service("web"))
    book.look([instance("db", "exited", exit_code=1), instance("web")], 0)
    book.ask_stop([ServiceName("web")])
    actions = book.plan(100)
    assert {each.do for each in actions} == {Do.START, Do.STOP}
    assert all(book.begin(each, 100) for each in actions)
    book.reread(project(service("database"), service("site")))
    hands = Hands(book, tmp_path, database)
    for each in actions:
        await hands.doer.act(each)
    assert (hands.saved, hands.away) == (0, False)
    await database.close()
