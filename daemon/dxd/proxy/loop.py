"""The proxy process's own event loop: edge-triggered epoll, timers, and work that is put off for fairness.

Not asyncio: a message that passes costs two system calls and a few microseconds here, and nothing is allocated for
it. All is done in one thread. What a handler raises ends the process, for it is a mistake in this room.
"""

import select
import socket
import time
from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count

EDGES = select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLET
"""What a connection is registered for, once: no call is made when its state changes, and no level can spin the loop."""
BROKEN = select.EPOLLERR | select.EPOLLHUP
BATCH = 256

Handler = Callable[[int], None]
"""Is told which of epoll's events have come."""


class Timer:
    """Something that is due later, unless it is cancelled."""

    __slots__ = ("callback",)

    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        """Never call it; fine where it was called."""
        self.callback = None


class Loop:
    """Watches descriptors, which their owners close by `close`."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._handlers: dict[int, Handler] = {}
        self._timers: list[tuple[float, int, Timer]] = []
        self._order = count()
        self._soon: deque[Callable[[], None]] = deque()
        self._closing: list[socket.socket] = []

    def watch(self, sock: socket.socket, mask: int, handler: Handler) -> None:
        """Tell `handler` of these events; raises `OSError` where the kernel has no room for one more."""
        self._epoll.register(sock, mask)
        self._handlers[sock.fileno()] = handler

    def change(self, sock: socket.socket, mask: int) -> None:
        """Have other events told of a watched socket."""
        self._epoll.modify(sock, mask)

    def close(self, sock: socket.socket) -> None:
        """Watch it no longer, and close it when all events of this turn are handled.

        Not before: a new socket would get its number, and then events that are not its own.
        """
        if self._handlers.pop(sock.fileno(), None) is not None:
            self._epoll.unregister(sock)
        self._closing.append(sock)

    def close_listener(self, sock: socket.socket) -> None:
        """The same at once, so that the port is free: whoever gets its number may be told of data that is not there."""
        del self._handlers[sock.fileno()]
        self._epoll.unregister(sock)
        sock.close()

    def at(self, when: float, callback: Callable[[], None]) -> Timer:
        """Call it at that time of the monotonic clock."""
        timer = Timer(callback)
        heappush(self._timers, (when, next(self._order), timer))
        return timer

    def soon(self, callback: Callable[[], None]) -> None:
        """Call it after everybody else has had a turn."""
        self._soon.append(callback)

    def turn(self) -> None:
        """Wait for something to happen, and handle it."""
        for descriptor, events in self._epoll.poll(self._patience_s(), BATCH):
            if handler := self._handlers.get(descriptor):
                handler(events)
        for _ in range(len(self._soon)):
            self._soon.popleft()()
        while self._timers and (self._timers[0][0] <= time.monotonic() or self._timers[0][2].callback is None):
            callback = heappop(self._timers)[2].callback
            if callback is not None:
                callback()
        for sock in self._closing:
            sock.close()
        self._closing.clear()

    def _patience_s(self) -> float:
        if self._soon:
            return 0.0
        while self._timers and self._timers[0][2].callback is None:
            heappop(self._timers)
        if not self._timers:
            return -1.0
        return max(0.0, self._timers[0][0] - time.monotonic())
