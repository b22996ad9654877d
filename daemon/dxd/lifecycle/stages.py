"""The stages of a daemon's life, as verbs: serve, say ready, wait, refuse, drain, close.

Runs are not part of it: they live in their containers and go on when the daemon stops. The listener is opened before
(`__main__`) and closed after; in between this module is the only one to act on it.
"""

import asyncio
import signal
from collections.abc import Mapping
from functools import partial
from socket import socket
from typing import Protocol

from dxd.errors import Refused
from dxd.kit.tasks import Job, guard
from dxd.lifecycle.listener import Listener, Superseded
from dxd.lifecycle.notify import Notifier
from dxd.telemetry import get_logger

DRAIN_S = 5.0
"""How long requests in flight may take to end once the daemon stops: a lease takes milliseconds, a pull is cut."""
CHECK_S = 10.0
"""How often the daemon looks whether its socket can still be found."""

log = get_logger("lifecycle")


class Front(Protocol):
    """The HTTP edge, as the stages see it."""

    async def listen(self, sock: socket) -> None:
        """Accept on `sock` from now on, and no longer on a socket that was listened on before."""

    def refuse_leases(self) -> None:
        """Answer requests for a new run with `Stopping` from now on, and end the streams of events."""

    def stop_listening(self) -> None:
        """Accept nothing more; connections that were accepted stay."""

    async def drain(self) -> None:
        """Return when no request is in flight."""

    async def close(self) -> None:
        """Stop listening, end what is still in flight, and close every connection."""


class Stop:
    """The wish that the daemon ends: asked by a signal, over the API, or by a job that failed."""

    def __init__(self) -> None:
        self.reason = ""
        self.failed = False
        """Whether it is a failure, so that a service manager starts the daemon again."""
        self._asked = asyncio.Event()
        self._hurried = asyncio.Event()

    def ask(self, reason: str, *, failed: bool = False) -> None:
        """Stop the daemon; the first reason stays. Asking again cuts short what the first stop waits for."""
        if self._asked.is_set():
            self._hurried.set()
            return
        self.reason, self.failed = reason, failed
        self._asked.set()

    async def asked(self) -> None:
        """Return when the daemon has to stop."""
        await self._asked.wait()

    async def hurried(self) -> None:
        """Return when it has to stop at once."""
        await self._hurried.wait()


async def serve(
    *,
    listener: Listener,
    front: Front,
    stop: Stop,
    notifier: Notifier,
    jobs: Mapping[str, Job],
    drain_s: float = DRAIN_S,
    check_s: float = CHECK_S,
) -> int:
    """Serve until asked to stop, and return the exit status: 0, or 1 where a job failed.

    `jobs` are the eternal jobs of the rooms, by name; they are cancelled when the last request is answered. The
    signals TERM, INT and HUP ask for a stop, and a second one for haste.
    """
    loop = asyncio.get_running_loop()
    # What the caller made us ignore stays ignored: INT in a shell's background, HUP under nohup.
    signals = [signal.SIGTERM]
    signals += [each for each in (signal.SIGINT, signal.SIGHUP) if signal.getsignal(each) is not signal.SIG_IGN]
    for number in signals:
        loop.add_signal_handler(number, partial(stop.ask, f"signal {number.name}"))

    def ended(name: str, error: Exception | None) -> None:
        log.error("job failed", job=name, exc_info=error) if error else log.error("job ended", job=name)
        stop.ask(f"the job {name!r} failed", failed=True)

    own: dict[str, Job] = {"socket check": partial(_check_socket, listener, front, stop, check_s)}
    if notifier.watchdog_s is not None:
        own["watchdog"] = partial(_stay_alive, notifier, notifier.watchdog_s / 2)
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(guard(name, job, ended), name=name) for name, job in {**own, **jobs}.items()]
            try:
                await front.listen(listener.socket)
                notifier.ready()
                log.info("ready", socket=str(listener.path), inherited=listener.inherited)
                await stop.asked()
                notifier.stopping()
                log.info("stopping", reason=stop.reason)
                await _wind_down(listener, front, stop, drain_s)
            finally:
                for task in tasks:
                    task.cancel()
                await front.close()
    finally:
        for number in signals:
            loop.remove_signal_handler(number)
        notifier.close()
    log.info("stopped", reason=stop.reason)
    return 1 if stop.failed else 0


async def _wind_down(listener: Listener, front: Front, stop: Stop, drain_s: float) -> None:
    """Refuse new leases, let no new client find us, and give the requests in flight their time."""
    front.refuse_leases()
    listener.lock.mark_stopping()
    if not listener.inherited:
        listener.withdraw()
        # Whoever connected before that still gets an answer: the loop accepts them in its next turns. On systemd's
        # socket they wait for the next daemon.
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    front.stop_listening()
    waits = [
        asyncio.create_task(front.drain(), name="drain"),
        asyncio.create_task(stop.hurried(), name="hurry"),
    ]
    await asyncio.wait(waits, timeout=drain_s, return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()
    await asyncio.wait(waits)


async def _check_socket(listener: Listener, front: Front, stop: Stop, check_s: float) -> None:
    """Bind anew where somebody removed the socket's file or put another in its place."""
    while True:
        await asyncio.sleep(check_s)
        inherited = listener.inherited
        try:
            anew = listener.check()
        except Superseded as error:
            stop.ask(str(error))
            await asyncio.Event().wait()  # until the stop cancels this job
        except (Refused, OSError) as error:
            log.warning("socket lost", reason=str(error))
            continue
        if anew:
            await front.listen(listener.socket)
            log.warning(
                "socket was removed or replaced, bound anew",
                socket=str(listener.path),
                hint="systemctl --user restart dx.socket" if inherited else "",
            )


async def _stay_alive(notifier: Notifier, interval_s: float) -> None:
    while True:
        notifier.alive()
        await asyncio.sleep(interval_s)
