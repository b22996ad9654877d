"""See a leased run through, as a launcher: signals to it, its stops and its end to us (client/launcher/relay.c)."""

from __future__ import annotations

import os
import resource
import select
import time

from dx import protocol
from dx.errors import RunFailed
from dx.launcher import caller, grants, kernel, link
from dx.launcher.link import Link

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

    from dx.launcher.lease import Lease

_HUP, _INT, _QUIT, _USR1, _USR2, _ALRM, _TERM = 1, 2, 3, 10, 12, 14, 15
_CONT, _STOP, _TSTP, _WINCH = 18, 19, 20, 28
_FORWARDED = (_INT, _TERM, _HUP, _QUIT, _USR1, _USR2, _ALRM, _CONT, _TSTP, _WINCH)
_MAX_LOST = 3


class Relay:
    """One run and its launcher. `ask` gets another lease; with the number of a late run it may say `still_alive`."""

    def __init__(self, lease: Lease, ask: Callable[[int], Lease], closed: frozenset[int]) -> None:
        self._lease = lease
        self._ask = ask
        self._closed = closed
        self._state = caller.State()
        self._held = [each for each in _FORWARDED if not self._state.ignored >> each - 1 & 1]
        self._mounts: list[int] = []
        self._started = False
        self._asked_to_end = 0
        """The first signal that asks to end; ours to obey if the run does not begin."""

    def see_through(self) -> NoReturn:
        """Start it, and end as it does; raises `RunFailed`."""
        signals = kernel.hold_signals(self._held)
        lost = 0
        while True:
            try:
                agent = Link(self._lease)
            except OSError as error:
                lost = self._lose(lost, error)
                continue
            try:
                self._start(agent)
            except OSError as error:
                agent.close()
                lost = self._lose(lost, error)
                continue
            self._attend(agent, signals)
            agent.close()

    def _start(self, agent: Link) -> None:
        fds = caller.descriptors(self._closed, protocol.MAX_FDS - len(self._lease.grants))
        mounts: list[int] = []
        try:
            grants.open_here(self._lease.grants, mounts)
            agent.start(self._state, [(fd, fd) for fd in fds], mounts)
        except (grants.NotGranted, grants.NoNamespace) as error:
            raise link.not_granted(error) from error
        finally:
            for fd in mounts:
                os.close(fd)

    def _lose(self, lost: int, error: OSError) -> int:
        """The agent could not be reached: ask for another; how often that was."""
        if lost == _MAX_LOST:
            raise RunFailed(f"cannot reach the container: {error.strerror}; run: dx stop --all")
        self._ask_again()
        return lost + 1

    def _ask_again(self) -> bool:
        """Whether the daemon gave up on a silent agent; then there is a new lease."""
        kernel.unblock(self._held)  # nothing has begun: a signal may end the waiting
        lease = self._ask(self._lease.run)
        kernel.block(self._held)
        if lease.still_alive:
            return False
        self._lease = lease
        return True

    def _attend(self, agent: Link, signals: int) -> None:
        """Until the run has ended; returns only where the agent has to be given up before it began."""
        poll = select.poll()
        poll.register(agent.fileno(), select.POLLIN)
        poll.register(signals, select.POLLIN)
        patience = time.monotonic() + link.PATIENCE_S
        late = 0
        while True:
            left = None if self._started else max(0.0, patience - time.monotonic()) * 1000
            events = dict(poll.poll(left))
            if not events and not self._started:
                if self._asked_to_end:
                    end_like(self._asked_to_end)
                late += 1
                if late > link.MAX_LATE:
                    raise RunFailed("the container does not start the run; run: dx stop --all")
                if self._ask_again():
                    return
                patience = time.monotonic() + link.PATIENCE_S
            if signals in events:
                self._forward(agent, signals)
            if agent.fileno() in events:
                self._take(agent)

    def _forward(self, agent: Link, signals: int) -> None:
        """Also before we are told that the run has begun: by then it may have, and a frame waits in the socket."""
        size = kernel.SIGNAL_INFO.size
        while True:
            try:
                data = os.read(signals, size)
            except BlockingIOError:
                return
            number, _, code = kernel.SIGNAL_INFO.unpack(data)
            # The kernel's own come from a terminal and mean the whole group; what a process sent means the command.
            agent.signal(number, group=code == kernel.SI_KERNEL)
            if not self._started and not self._asked_to_end and number not in {_CONT, _WINCH, _TSTP}:
                self._asked_to_end = number

    def _take(self, agent: Link) -> None:
        try:
            kind, payload = agent.receive()
        except (OSError, EOFError):
            raise link.gone(started=self._started) from None
        if kind == protocol.STARTED:
            self._started = True
        elif kind == protocol.STOPPED:
            os.kill(os.getpid(), _STOP)
        elif kind == protocol.FAILED:
            raise link.failed(payload)
        elif kind == protocol.EXIT:
            end_like(link.exit_status(payload))
        else:
            raise RunFailed("the agent speaks another version; run: dx stop --all")


def end_like(status: int) -> NoReturn:
    """End as the run did, by its signal too, and without a core of ours; `status` is as wait(2) gives it."""
    number = status & 0x7F
    if number == 0:
        os._exit(status >> 8 & 0xFF)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    kernel.default_action(number)
    kernel.unblock([number])
    os.kill(os.getpid(), number)
    os._exit(128 + number)
