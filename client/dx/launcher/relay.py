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
    from dx.launcher.terminal import Terminal

_HUP, _INT, _QUIT, _USR1, _USR2, _ALRM, _TERM = 1, 2, 3, 10, 12, 14, 15
_CONT, _STOP, _TSTP, _WINCH = 18, 19, 20, 28
_FORWARDED = (_INT, _TERM, _HUP, _QUIT, _USR1, _USR2, _ALRM, _CONT, _TSTP, _WINCH)
_MAX_LOST = 3
EXIT_LOST = 125 << 8
"""As wait(2) gives it: the end of a run that went well, of which something could not be written."""


class Relay:
    """One run and its launcher. `ask` gets another lease; with the number of a late run it may say `still_alive`,
    with that of one whose grants cannot be opened here it is one without.
    """

    def __init__(
        self, lease: Lease, ask: Callable[[int | None, int | None], Lease], closed: frozenset[int], ignored: int
    ) -> None:
        self._lease = lease
        self._ask = ask
        self._closed = closed
        self._state = caller.State(ignored)
        self._held = [each for each in _FORWARDED if not self._state.ignored >> each - 1 & 1]
        self._notes: list[str] = []
        """Lines for the end."""
        self._started = False
        self._told = False
        """Of what the run does not get."""
        self._passed_on: set[int] = set()
        """Signals that were sent to the run from here."""
        self._terminal: Terminal | None = None
        self._asked_to_end = 0
        """The first signal that asks to end; ours to obey if the run does not begin."""

    def see_through(self) -> NoReturn:
        """Start it, and end as it does; raises `RunFailed`."""
        signals = kernel.hold_signals(self._held)
        lost = 0
        while True:
            try:
                agent = self._connect()
            except OSError as error:
                lost = self._lose(lost, error)
                continue
            try:
                self._start(agent)
            except grants.NoNamespace:
                agent.close()
                self._lease = self._ask_unheld(None, self._lease.run)
                continue
            except OSError as error:
                agent.close()
                lost = self._lose(lost, error)
                continue
            self._attend(agent, signals)
            agent.close()

    def _connect(self) -> Link:
        if not self._lease.framed:
            return Link(self._lease)
        from dx.launcher import daemon, framed

        return framed.FramedLink(self._lease, daemon.connect)

    def leave(self) -> None:
        """Put the terminal's modes back, if they were changed."""
        if self._terminal:
            self._terminal.leave()

    def _start(self, agent: Link) -> None:
        if not self._terminal and os.isatty(0) and os.isatty(1):
            from dx.launcher import terminal

            self._terminal = terminal.find()
        which = self._terminal.which if self._terminal else 0
        about = self._terminal.describe() if self._terminal else b""
        fds = caller.descriptors(self._closed, which, protocol.MAX_FDS - len(self._lease.grants))
        if self._lease.framed:
            fds = self._without_others(fds)
            if self._terminal:
                self._terminal.tell_size = getattr(agent, "resize", None)
        mounts: list[int] = []
        try:
            grants.open_here(self._lease.grants, mounts)
            agent.start(self._state, [(fd, fd) for fd in fds], mounts, which=which, terminal=about)
        except grants.NotGranted as error:
            raise link.not_granted(error) from error
        finally:
            for fd in mounts:
                os.close(fd)

    def _without_others(self, fds: list[int]) -> list[int]:
        """Those that can be had through frames; of what cannot it is told."""
        from dx.launcher import framed

        fds, others = framed.split(fds)
        framed.check(fds)
        if not self._told:
            self._told = True
            self._tell(framed.lost(fds, others))
        return fds

    def _lose(self, lost: int, error: OSError) -> int:
        """The agent could not be reached: ask for another; how often that was."""
        if lost == _MAX_LOST:
            raise RunFailed(f"cannot reach the container: {error.strerror}; run: dx stop --all")
        self._ask_again()
        return lost + 1

    def _ask_again(self) -> bool:
        """Whether the daemon gave up on a silent agent; then there is a new lease."""
        lease = self._ask_unheld(self._lease.run, None)
        if lease.still_alive:
            return False
        self._lease = lease
        return True

    def _ask_unheld(self, late: int | None, bind: int | None) -> Lease:
        kernel.unblock(self._held)  # nothing has begun: a signal may end the waiting
        lease = self._ask(late, bind)
        kernel.block(self._held)
        return lease

    def _attend(self, agent: Link, signals: int) -> None:
        """Until the run has ended; returns only where the agent has to be given up before it began."""
        patience = time.monotonic() + link.PATIENCE_S
        late = 0
        while True:
            if self._terminal and self._terminal.has_gone and _HUP in self._held:
                # The agent hangs up on the run, and sees that it ends; under nohup it goes on.
                self._end_like(_HUP)
            left = None if self._started else max(0.0, patience - time.monotonic()) * 1000
            poll = select.poll()
            poll.register(agent.fileno(), select.POLLIN)
            poll.register(signals, select.POLLIN)
            for fd, wanted in self._terminal.wants() if self._terminal else ():
                poll.register(fd, wanted)
            for fd, wanted in agent.wants(started=self._started).items():
                poll.register(fd, wanted)
            events = dict(poll.poll(left))
            if not events and not self._started:
                if self._asked_to_end:
                    self._end_like(self._asked_to_end)
                late += 1
                if late > link.MAX_LATE:
                    raise RunFailed("the container does not start the run; run: dx stop --all")
                if self._ask_again():
                    return
                patience = time.monotonic() + link.PATIENCE_S
            if signals in events:
                self._forward(agent, signals)
            if self._terminal:
                self._terminal.pump(events)
            agent.pump(events)
            if agent.fileno() in events:
                self._take(agent, signals)

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
            from_kernel = code == kernel.SI_KERNEL
            if number == _HUP and from_kernel:
                self._end_like(_HUP)  # the terminal's, or that of its session's leader: as where it has gone
            if number in (_CONT, _HUP) and self._terminal:
                self._terminal.look(agent)
            if number == _WINCH and from_kernel and self._terminal and self._terminal.is_on:
                self._terminal.resize()  # the run's own terminal tells it, if the size is another
                continue
            self._passed_on.add(number)
            # What continues this process continues a job: all of it.
            agent.signal(number, group=from_kernel or number == _CONT)
            if not self._started and not self._asked_to_end and number not in {_CONT, _WINCH, _TSTP}:
                self._asked_to_end = number

    def _take(self, agent: Link, signals: int) -> None:
        try:
            kind, payload, fds = agent.receive()
        except (OSError, EOFError):
            if self._terminal:
                self._terminal.drain(signals, killed=True)
            raise link.gone(started=self._started) from None
        if not kind:
            return
        if kind == protocol.STARTED:
            self._started = True
            if fds and self._terminal:
                self._terminal.begin(agent, fds[0])
        elif kind == protocol.STOPPED:
            if self._lease.framed and self._terminal:
                # What was shown before the stop comes before the shell's word of it.
                self._drain(agent, signals, killed=False)
            self._stop_like(agent, link.stopping_signal(payload) or _STOP)
        elif kind == protocol.FAILED:
            raise link.failed(payload)
        elif kind == protocol.NOTE:
            self._notes.append(payload.decode(errors="replace"))
        elif kind == protocol.EXIT:
            status = link.exit_status(payload)
            self._drain(agent, signals, killed=bool(status & 0x7F))
            if trouble := getattr(agent, "trouble", []):
                self._notes += trouble
                status = status or EXIT_LOST  # what it wrote is lost, and it cannot know
            self._end_like(status)
        else:
            raise RunFailed("the agent speaks another version; run: dx stop --all")

    def _drain(self, agent: Link, signals: int, *, killed: bool) -> None:
        """The run has ended, or stopped: show what it still wrote; what a killed one did, only if somebody takes it."""
        more = True
        while more:
            more = agent.flush(signals)
            if self._terminal:
                more = self._terminal.drain(signals, killed=killed) and more

    def _tell_group(self, number: int) -> None:
        """A key of the terminal means all of the foreground; natively a script that waits for it hears of it too."""
        if number in self._held:
            os.kill(0, number)  # blocked here
            return
        action = kernel.set_action(number, kernel.IGNORE)
        os.kill(0, number)
        kernel.set_action(number, action)

    def _stop_like(self, agent: Link, number: int) -> None:
        """Stop as the run did, so that the shell says the same and takes its terminal back."""
        terminal = self._terminal
        whole_group = number == _TSTP and number not in self._passed_on and terminal and terminal.is_on
        if terminal:
            terminal.restore()
        if whole_group:
            self._tell_group(number)
        action = None
        if number != _STOP:
            action = kernel.set_action(number, None)
        os.kill(os.getpid(), number)
        if number != _STOP:
            kernel.unblock([number])  # here it stops, and goes on after CONT
            if number in self._held:
                kernel.block([number])
            kernel.set_action(number, action)
        self._passed_on.discard(number)
        if _CONT in self._held and kernel.pending() >> _CONT - 1 & 1:
            return  # it will come as any other does
        # No shell could have continued this group, so the kernel did not stop it.
        if terminal:
            terminal.look(agent)
        agent.signal(_CONT, group=True)

    def _end_like(self, status: int) -> NoReturn:
        """As `end_like`; a key that ended the run means all of the foreground here too."""
        number = status & 0x7F
        typed = (
            number in {_INT, _QUIT}
            and number not in self._passed_on
            and self._terminal
            and self._terminal.was_typed(number)
        )
        self.leave()
        self._tell(self._notes)
        if typed:
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            self._tell_group(number)
        end_like(status)

    @staticmethod
    def _tell(notes: list[str]) -> None:
        """Lines for people; a standard error that is closed does not mind."""
        try:
            for note in notes:
                os.write(2, f"dx: {note}\n".encode())
        except OSError:
            return


def end_like(status: int) -> NoReturn:
    """End as the run did, by its signal too, and without a core of ours; `status` is as wait(2) gives it."""
    number = status & 0x7F
    if number == 0:
        os._exit(status >> 8 & 0xFF)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    kernel.set_action(number, None)
    kernel.unblock([number])
    os.kill(os.getpid(), number)
    os._exit(128 + number)
