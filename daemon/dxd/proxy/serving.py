"""The connections of the proxy process: accepted, held until their service is ready, led there, and ended.

It owns every door and every pair. It asks the daemon for one thing only, to wake a service, and goes on without a
daemon as long as no service has to be woken. A target that does not answer is forgotten and asked for again, ever more
slowly, within the deadline of those who wait.
"""

import resource
import select
import socket
import time
from contextlib import suppress
from functools import partial
from typing import Any

from dxd.proxy import head
from dxd.proxy.door import SCARCE, Door, Pair, Place, Stage, connect, listen
from dxd.proxy.flow import End, Flow, Pipes, reset
from dxd.proxy.loop import BROKEN, EDGES, Loop
from dxd.proxy.uses import Uses
from dxd.proxy.wire import Tell

ACCEPTS = 64
"""Of one door, before the others have their turn."""
CONNECT_S = 5.0
"""A machine beside us answers within milliseconds; its network may take some, after a start."""
RETRY_S, MAX_RETRY_S = 0.05, 1.0
SCARCE_S = 0.1
MARGIN = 24
"""Descriptors of the process itself, and some for pipes: without one a connection copies."""
HEAD_S = 10.0
FAREWELL_S = 1.0


class Serving:
    """Doors, and the connections that came through them."""

    def __init__(self, loop: Loop, tell: Tell) -> None:
        self.loop = loop
        self.doors: dict[str, Door] = {}
        self.uses = Uses(loop, tell)
        self.pairs: set[Pair] = set()
        self._tell = tell
        self._pipes = Pipes()
        self._paused: set[Door] = set()
        self._scarce_until = 0.0
        """Until then it is the same want of descriptors, which was told."""

    # Doors

    def open(self, key: str, service: str, place: Place | None, **more: Any) -> Door:
        """Have a door; one that is there with the same place stays, and what waits at it. Raises `OSError`."""
        door = self.doors.get(key)
        if door is not None and (door.place != place or door.service != service):
            self.shut(key)
            door = None
        if door is None:
            door = Door(key, service, **more)
            if place is not None:
                door.sock, door.place = listen(place), place
                try:
                    self.loop.watch(door.sock, select.EPOLLIN, lambda _: self._accept(door))
                except BaseException:
                    door.sock.close()
                    raise
            self.doors[key] = door
            self.uses.know(service)
        door.deadline_s, door.max_held = more["deadline_s"], more["max_held"]
        return door

    def shut(self, key: str) -> None:
        """Listen no longer; open connections stay, those that wait are closed."""
        door = self.doors.pop(key, None)
        if door is None:
            return
        self._paused.discard(door)
        if door.sock is not None:
            self.loop.close_listener(door.sock)
        if door.timer:
            door.timer.cancel()
        for pair in list(door.waiting):
            self._refuse(pair, "the service has gone")
        if not any(each.service == door.service for each in self.doors.values()):
            self.uses.forget(door.service)

    def lead(self, key: str, target: Place | None) -> None:
        """Let connections through to there; None takes the way back, for those to come."""
        door = self.doors.get(key)
        if door is None:
            return
        door.target = target
        if target is not None:
            door.waking = door.full = False
            for pair in list(door.waiting):
                self._connect(pair)
        elif door.waiting:
            self._wake(door)

    def fail(self, key: str, reason: str) -> None:
        """The service does not come up: close what waits for it."""
        if door := self.doors.get(key):
            door.waking = door.full = False
            for pair in list(door.waiting):
                self._refuse(pair, reason)

    def rest(self, service: str) -> bool:
        """Let connections to come wait, if none is there."""
        if self.uses.open(service):
            return False
        for door in self.doors.values():
            if door.service == service:
                door.target = None
        return True

    def lonely(self) -> None:
        """There is no daemon any more: what waits has to be told to the next."""
        for door in self.doors.values():
            door.waking = False

    # Connections

    def _accept(self, door: Door) -> None:
        for _ in range(ACCEPTS):
            assert door.sock is not None
            # One that is accepted needs another descriptor, to its service: without that all would wait for each other.
            if 2 * len(self.pairs) + len(self.doors) + MARGIN > resource.getrlimit(resource.RLIMIT_NOFILE)[0]:
                self._pause(door)
                return
            try:
                sock, _ = door.sock.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in SCARCE:
                    self._pause(door)
                    return
                continue  # that one gave up, accept(2)
            sock.setblocking(False)  # noqa: FBT003 - the socket API
            self._begin(door, sock)

    def _begin(self, door: Door, sock: socket.socket) -> None:
        pair = Pair(door, End(sock))
        self.pairs.add(pair)
        self.uses.count(door.service, 1)
        try:
            self.loop.watch(sock, EDGES, partial(self._near, pair))
        except OSError:
            self.drop(pair)
        else:
            if door.names:
                pair.stage, pair.http = Stage.HEAD, True
                pair.timer = self.loop.at(time.monotonic() + HEAD_S, lambda: self._answer(pair, 408, "no request came"))
                door.waiting[pair] = None
                if len(door.waiting) > door.max_held:
                    self.drop(pair)
            else:
                self._admit(pair)

    def _admit(self, pair: Pair) -> None:
        if pair.door.target is not None:
            self._connect(pair)
        else:
            self._hold(pair)

    def _hold(self, pair: Pair) -> None:
        door = pair.door
        if len(door.waiting) >= door.max_held:
            if not door.full:
                door.full = True
                self._note(f"{door.service}: {door.max_held} connections wait for it, more are closed at once")
            self._refuse(pair, "too many connections wait for the service")
            return
        pair.stage = Stage.HELD
        door.waiting[pair] = None
        if pair.timer is None:
            pair.timer = self.loop.at(time.monotonic() + door.deadline_s, lambda: self._late(pair))
        self._wake(door)

    def _late(self, pair: Pair) -> None:
        door = pair.door
        self._note(f"{door.service}: not ready within {door.deadline_s:g} s, what waited at {door.key} is closed")
        self._refuse(pair, "the service is not ready in time")

    def _wake(self, door: Door) -> None:
        if door.waking or (door.timer and door.timer.callback):
            return
        if time.monotonic() < door.not_before:
            door.timer = self.loop.at(door.not_before, lambda: self._wake_after(door))
            return
        door.waking = True
        self._tell("wake", door=door.key)

    def _wake_after(self, door: Door) -> None:
        door.timer = None
        if door.waiting:
            self._wake(door)

    def _connect(self, pair: Pair) -> None:
        door, target = pair.door, pair.door.target
        assert target is not None
        door.waiting.pop(pair, None)
        try:
            sock = connect(target)
        except OSError as error:
            if error.errno in SCARCE:
                self._pipes.drop()
                pair.stage = Stage.HELD
                door.waiting[pair] = None
                pair.tried = self.loop.at(time.monotonic() + SCARCE_S, lambda: self._again(pair))
                return
            self._unreached(pair, target)
            return
        pair.stage, pair.far = Stage.CONNECTING, End(sock)
        pair.tried = self.loop.at(time.monotonic() + CONNECT_S, lambda: self._unreached(pair, target))
        self.loop.watch(sock, EDGES, partial(self._beyond, pair, target))

    def _again(self, pair: Pair) -> None:
        if pair.stage is Stage.HELD and pair.door.target is not None:
            self._connect(pair)

    def _unreached(self, pair: Pair, target: Place) -> None:
        """Nobody listens there, or nobody answers: the way may be another by now."""
        door = pair.door
        self._part(pair)
        if door.target == target:
            door.target = None
            door.delay_s = min(MAX_RETRY_S, max(RETRY_S, door.delay_s * 2))
            door.not_before = time.monotonic() + door.delay_s
        if self.doors.get(door.key) is door:
            self._admit(pair)
        else:
            self._refuse(pair, "the service has gone")

    def _near(self, pair: Pair, events: int) -> None:
        """The client's end has news."""
        pair.client.note(events)
        if pair.stage is Stage.OPEN:
            self._pump(pair)
        elif pair.stage is Stage.HEAD:
            self._read_head(pair)
        elif pair.stage is Stage.FAREWELL:
            self._listen_no_more(pair)
        elif events & BROKEN:
            self.drop(pair)  # it has gone without waiting

    def _beyond(self, pair: Pair, target: Place, events: int) -> None:
        """The service's end has news."""
        if pair.far is None:
            return
        pair.far.note(events)
        if pair.stage is Stage.CONNECTING:
            if pair.far.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                self._unreached(pair, target)
                return
            if not events & select.EPOLLOUT:
                return
            self._join(pair, pair.far)
        if pair.stage is Stage.OPEN:
            self._pump(pair)

    def _join(self, pair: Pair, far: End) -> None:
        for timer in (pair.timer, pair.tried):
            if timer is not None:
                timer.cancel()
        pair.door.delay_s = 0.0
        pair.up = Flow(pair.client, far, self._pipes, pair.head)
        pair.down = Flow(far, pair.client, self._pipes)
        pair.head = b""
        pair.stage = Stage.OPEN

    def _pump(self, pair: Pair) -> None:
        assert pair.up is not None
        assert pair.down is not None
        more = pair.up.pump()
        more |= pair.down.pump()
        if pair.broken():
            more |= pair.up.pump()  # it may have broken in the direction that was pumped last
        if pair.over():
            self.drop(pair)
        elif more and not pair.queued:
            pair.queued = True
            self.loop.soon(lambda: self._pump_on(pair))

    def _pump_on(self, pair: Pair) -> None:
        pair.queued = False
        if pair.stage is Stage.OPEN and pair in self.pairs:
            self._pump(pair)

    def _part(self, pair: Pair) -> None:
        if pair.tried is not None:
            pair.tried.cancel()
        if pair.far is not None:
            self.loop.close(pair.far.sock)
            pair.far = None

    def drop(self, pair: Pair) -> None:
        """End a connection, whatever its stage."""
        if pair not in self.pairs:
            return
        self.pairs.discard(pair)
        pair.door.waiting.pop(pair, None)
        if pair.timer is not None:
            pair.timer.cancel()
        if pair.broken():
            for end in (pair.client, pair.far):
                if end is not None:
                    reset(end.sock)
        for flow in (pair.up, pair.down):
            if flow is not None:
                flow.close()
        self._part(pair)
        self.loop.close(pair.client.sock)
        self.uses.count(pair.door.service, -1)
        if self._paused:
            self.loop.soon(self._resume)

    # Names

    def _read_head(self, pair: Pair) -> None:
        try:
            while True:
                data = pair.client.sock.recv(head.MAX_HEAD_BYTES)
                pair.head += data
                found = head.host(pair.head)
                if found is not None or not data:
                    break
        except BlockingIOError:
            return
        except head.BadHead as error:
            self._answer(pair, error.status, str(error).lower())
            return
        except OSError:
            found = None
        if found is None:
            self.drop(pair)
        elif (door := self.doors.get(f"name:{found}")) is None:
            status = 404 if found.endswith(".localhost") else 421
            self._answer(pair, status, "no service of that name; see: dx services")
        else:
            self._rename(pair, door)

    def _rename(self, pair: Pair, door: Door) -> None:
        self.uses.count(door.service, 1)
        self.uses.count(pair.door.service, -1)
        pair.door.waiting.pop(pair, None)
        if pair.timer is not None:
            pair.timer.cancel()
        pair.door, pair.timer = door, None
        self._admit(pair)

    def _refuse(self, pair: Pair, reason: str) -> None:
        if pair.http:
            self._answer(pair, 503, reason)
        else:
            self.drop(pair)

    def _answer(self, pair: Pair, status: int, text: str) -> None:
        """Say why not, and let it be read before the end: closing at once would take it back, RFC 9112 9.6."""
        self._part(pair)
        pair.door.waiting.pop(pair, None)
        if pair.timer is not None:
            pair.timer.cancel()
        pair.stage = Stage.FAREWELL
        with suppress(OSError):
            pair.client.sock.send(head.answer(status, text))
            pair.client.sock.shutdown(socket.SHUT_WR)
        pair.timer = self.loop.at(time.monotonic() + FAREWELL_S, lambda: self.drop(pair))

    def _listen_no_more(self, pair: Pair) -> None:
        try:
            if pair.client.sock.recv(head.MAX_HEAD_BYTES):
                return
        except BlockingIOError:
            return
        except OSError:
            pass
        self.drop(pair)

    # What there is little of

    def _pause(self, door: Door) -> None:
        self._pipes.drop()
        if not self._paused and time.monotonic() > self._scarce_until:
            self._note(f"no descriptors are left with {len(self.pairs)} connections, new ones wait for others to end")
        self._scarce_until = time.monotonic() + SCARCE_S * 10
        if not door.paused:
            door.paused = True
            self._paused.add(door)
            assert door.sock is not None
            self.loop.change(door.sock, 0)
        self.loop.at(time.monotonic() + SCARCE_S, self._resume)

    def _resume(self) -> None:
        for door in self._paused:
            door.paused = False
            if door.sock is not None and door.sock.fileno() >= 0:
                self.loop.change(door.sock, select.EPOLLIN)
        self._paused.clear()

    def _note(self, text: str) -> None:
        self._tell("note", text=text)
