"""Whoever waits for services is told how they do, and never waits for what cannot be."""

import asyncio

import pytest

from dxd.compose.model import ServiceName
from dxd.engine.docker import Engine
from dxd.engine.supervised import Supervised
from dxd.errors import ServiceFailed, UnknownService
from dxd.kit.progress import Silent
from dxd.services.ledger import Ledger
from dxd.services.waiters import Waiters
from tests.dxd.services.projects import instance, ledger, project, service

DB, WEB = ServiceName("db"), ServiceName("web")


def waiters(book: Ledger) -> Waiters:
    """Of a project whose engine does not say what was printed."""
    containers = Supervised(Engine("unix:///nonexistent/docker.sock", environ={}))
    return Waiters(ledger=book, containers=containers, known=lambda: True, away=lambda: False, clock=lambda: 100.0)


async def test_whoever_waits_for_a_service_that_is_gone_from_the_files_is_told_so() -> None:
    """Renamed, or removed, while they waited."""
    book = ledger(service("db"), service("web"))
    book.look([instance("db", health="starting"), instance("web")], 0)
    waiting = waiters(book)
    task = asyncio.create_task(waiting.wait([DB, WEB], Silent(), since=0))
    await asyncio.sleep(0)
    assert not task.done()
    book.reread(project(service("database"), service("web")))
    waiting.wake()
    with pytest.raises(UnknownService, match="db is gone from the files of the project p"):
        await task


async def test_whoever_waits_for_a_service_that_falls_ill_is_told_the_reason() -> None:
    book = ledger(service("db"))
    book.look([instance("db", health="starting")], 0)
    waiting = waiters(book)
    task = asyncio.create_task(waiting.wait([DB], Silent(), since=0))
    await asyncio.sleep(0)
    book.see(instance("db", health="unhealthy", health_output="no answer"), 50)
    waiting.wake()
    with pytest.raises(ServiceFailed, match="db: its health check fails: no answer"):
        await task
