"""The stages of the daemon's life, with a front that notes what is asked of it."""

import asyncio
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from dxd.lifecycle.listener import Listener
from dxd.lifecycle.lock import LOCK_NAME
from dxd.lifecycle.notify import Notifier
from dxd.lifecycle.stages import Stop, serve


class RecordingFront:
    """A front without HTTP; `busy` keeps the drain waiting."""

    def __init__(self) -> None:
        self.did: list[str] = []
        self.listening = asyncio.Queue[socket.socket]()
        self.busy = False
        self.draining = asyncio.Event()

    async def listen(self, sock: socket.socket) -> None:
        self.did.append("listen")
        self.listening.put_nowait(sock)

    def refuse_leases(self) -> None:
        self.did.append("refuse leases")

    def stop_listening(self) -> None:
        self.did.append("stop listening")

    async def drain(self) -> None:
        self.did.append("drain")
        self.draining.set()
        if self.busy:
            await asyncio.Event().wait()

    async def close(self) -> None:
        self.did.append("close")


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[Listener]:
    opened = Listener.open(tmp_path / "dx", {})
    yield opened
    opened.close()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        sock.settimeout(10)
        yield sock


STAGES = ["listen", "refuse leases", "stop listening", "drain", "close"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
async def test_a_signal_leads_through_every_stage(
    listener: Listener, manager: socket.socket, number: signal.Signals
) -> None:
    """Ready is said once it serves; the socket's file is gone before the drain; handlers are given back."""
    before = signal.getsignal(number)
    front = RecordingFront()
    notifier = Notifier.of({"NOTIFY_SOCKET": manager.getsockname()})
    serving = asyncio.create_task(serve(listener=listener, front=front, stop=Stop(), notifier=notifier, jobs={}))
    assert await front.listening.get() is listener.socket
    assert await asyncio.to_thread(manager.recv, 100) == b"READY=1"
    os.kill(os.getpid(), number)
    assert await asyncio.to_thread(manager.recv, 100) == b"STOPPING=1"
    assert await serving == 0
    assert front.did == STAGES
    assert os.listdir(listener.directory) == [LOCK_NAME]
    assert (listener.directory / LOCK_NAME).read_text() == f"{os.getpid()}\nstopping\n"
    assert signal.getsignal(number) in (before, signal.SIG_DFL, signal.default_int_handler)


async def test_jobs_run_until_the_last_request_is_answered(listener: Listener) -> None:
    """Then they are cancelled, before the front closes."""
    front = RecordingFront()
    stop = Stop()
    running = asyncio.Event()

    async def job() -> None:
        running.set()
        try:
            await asyncio.Event().wait()
        finally:
            front.did.append("job ended")

    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        serving = group.create_task(
            serve(listener=listener, front=front, stop=stop, notifier=Notifier(None), jobs={"rooms": job})
        )
        await running.wait()
        stop.ask("test")
    assert serving.result() == 0
    assert front.did.index("job ended") > front.did.index("drain")


@pytest.mark.parametrize("fails", [True, False])
async def test_a_job_that_fails_or_ends_stops_the_daemon_in_stages(listener: Listener, fails: bool) -> None:
    """With a status that makes a service manager start it again."""
    front = RecordingFront()
    stop = Stop()

    async def job() -> None:
        await front.listening.get()
        if fails:
            raise RuntimeError("broken")

    status = await serve(listener=listener, front=front, stop=stop, notifier=Notifier(None), jobs={"events": job})
    assert status == 1
    assert stop.reason == "the job 'events' failed"
    assert front.did == STAGES


async def test_the_drain_has_a_deadline(listener: Listener) -> None:
    front = RecordingFront()
    front.busy = True
    stop = Stop()
    stop.ask("test")
    async with asyncio.timeout(10):
        await serve(listener=listener, front=front, stop=stop, notifier=Notifier(None), jobs={}, drain_s=0.01)
    assert front.did == STAGES


async def test_a_second_signal_cuts_the_drain_short(listener: Listener) -> None:
    front = RecordingFront()
    front.busy = True
    serving = asyncio.create_task(
        serve(listener=listener, front=front, stop=Stop(), notifier=Notifier(None), jobs={}, drain_s=1000)
    )
    await front.listening.get()
    os.kill(os.getpid(), signal.SIGTERM)
    await front.draining.wait()
    os.kill(os.getpid(), signal.SIGTERM)
    async with asyncio.timeout(10):
        assert await serving == 0


async def test_a_socket_that_was_removed_is_served_anew(listener: Listener) -> None:
    front = RecordingFront()
    stop = Stop()
    first = listener.socket
    serving = asyncio.create_task(
        serve(listener=listener, front=front, stop=stop, notifier=Notifier(None), jobs={}, check_s=0.01)
    )
    assert await front.listening.get() is first
    (listener.directory / "dxd.sock").unlink()
    async with asyncio.timeout(10):
        second = await front.listening.get()
    assert second is listener.socket is not first
    assert (listener.directory / "dxd.sock").is_socket()
    stop.ask("test")
    assert await serving == 0


async def test_a_daemon_that_was_superseded_ends_and_leaves_the_other_alone(listener: Listener) -> None:
    """Somebody removed the lock, and another daemon started."""
    front = RecordingFront()
    stop = Stop()
    serving = asyncio.create_task(
        serve(listener=listener, front=front, stop=stop, notifier=Notifier(None), jobs={}, check_s=0.01)
    )
    await front.listening.get()
    listener.lock.path.unlink()
    other = Listener.open(listener.directory, {})
    async with asyncio.timeout(10):
        assert await serving == 0
    assert "has taken over" in stop.reason
    assert not other.check()
    other.close()


async def test_the_watchdog_is_fed_at_half_its_time(listener: Listener, manager: socket.socket) -> None:
    front = RecordingFront()
    stop = Stop()
    notifier = Notifier.of({"NOTIFY_SOCKET": manager.getsockname(), "WATCHDOG_USEC": "20000"})
    assert notifier.watchdog_s == 0.02
    serving = asyncio.create_task(serve(listener=listener, front=front, stop=stop, notifier=notifier, jobs={}))
    heard = [await asyncio.to_thread(manager.recv, 100) for _ in range(4)]
    assert heard.count(b"WATCHDOG=1") >= 3
    stop.ask("test")
    assert await serving == 0


async def test_a_front_that_cannot_listen_ends_everything(listener: Listener) -> None:
    """A failed start does not carry on."""

    class Broken(RecordingFront):
        async def listen(self, sock: socket.socket) -> None:
            raise OSError("no")

    front = Broken()
    with pytest.raises(ExceptionGroup) as caught:
        await serve(listener=listener, front=front, stop=Stop(), notifier=Notifier(None), jobs={})
    assert caught.group_contains(OSError, match="no")
    assert front.did == ["close"]
