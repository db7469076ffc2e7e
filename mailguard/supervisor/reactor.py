"""What the supervisor waits for: descriptors, signals and times, in one thread, without an event loop's machinery.

A callback that raises ends the supervisor: there is nothing here that could fail and be passed over. Units: seconds.
"""

from __future__ import annotations

import heapq
import os
import selectors
import signal
import socket
from collections.abc import Callable, Iterable
from itertools import count
from typing import Any, Protocol

Action = Callable[[], None]


class Watched(Protocol):
    """Something with a descriptor."""

    def fileno(self) -> int:
        """The descriptor."""


LONGEST_WAIT = 3600.0
"""One wait: epoll takes 2^31 milliseconds at the most, and it costs nothing to look again now and then."""


class Timer:
    """Something to do at a time, unless it is called off before."""

    def __init__(self, action: Action) -> None:
        self.action: Action | None = action

    def cancel(self) -> None:
        """Do not do it."""
        self.action = None


class Reactor:
    """Descriptors, signals and times; ``clock`` never goes back."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self._selector = selectors.DefaultSelector()
        self._timers: list[tuple[float, int, Timer]] = []
        self._order = count()
        self._wakeup: tuple[socket.socket, socket.socket] | None = None

    def after(self, seconds: float, action: Action) -> Timer:
        """Do ``action`` in ``seconds``."""
        timer = Timer(action)
        heapq.heappush(self._timers, (self.clock() + seconds, next(self._order), timer))
        return timer

    def watch(self, what: Watched, action: Action, *, write: bool = False) -> None:
        """Do ``action`` whenever ``what`` can be read, or with ``write`` written too; replaces what was said before."""
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if write else 0)
        if what.fileno() in self._selector.get_map():
            self._selector.modify(what.fileno(), events, action)
        else:
            self._selector.register(what.fileno(), events, action)

    def forget(self, what: Watched) -> None:
        """Watch no more; to be called before it is closed."""
        if what.fileno() in self._selector.get_map():
            self._selector.unregister(what.fileno())

    def signals(self, numbers: Iterable[int], action: Callable[[int], None]) -> None:
        """Do ``action`` with the number of each signal of ``numbers`` that comes, before anything else of its turn.

        Those that come together go by their numbers: so SIGTERM to a whole control group is heard before the ends of
        children that it ended, by SIGCHLD or by their descriptors, and they have ended because they were told to.
        """
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        theirs.setblocking(False)
        self._wakeup = (ours, theirs)  # kept: closed sockets would wake nobody
        for number in numbers:
            signal.signal(number, _noted)
        signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)

        def woken() -> None:
            for number in sorted(ours.recv(4096)):
                action(number)

        self.watch(ours, woken)

    def turn(self) -> None:
        """Wait for something, and do what it asks for."""
        while self._timers and self._timers[0][2].action is None:
            heapq.heappop(self._timers)
        wait = min(max(0.0, self._timers[0][0] - self.clock()), LONGEST_WAIT) if self._timers else None
        for key, _ in sorted(self._selector.select(wait), key=self._is_no_signal):
            if key.fd in self._selector.get_map():  # what came before it may have forgotten it
                key.data()
        self._due()

    def _is_no_signal(self, ready: tuple[selectors.SelectorKey, int]) -> bool:
        return self._wakeup is None or ready[0].fileobj != self._wakeup[0].fileno()

    def _due(self) -> None:
        now = self.clock()
        due: list[Timer] = []
        while self._timers and self._timers[0][0] <= now:
            due.append(heapq.heappop(self._timers)[2])
        for timer in due:
            if timer.action is not None:
                timer.action()

    def close(self) -> None:
        """Give back signals and descriptors."""
        if self._wakeup is not None:
            signal.set_wakeup_fd(-1)
            os.close(self._wakeup[0].detach())
            os.close(self._wakeup[1].detach())
        self._selector.close()


def _noted(_number: int, _frame: Any) -> None:
    """The wakeup descriptor tells of the signal."""
