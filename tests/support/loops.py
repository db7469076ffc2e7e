"""Event loops: both kinds, for what touches the network (asyncio's own, and uvloop, which the service uses), and one
whose time is made up; their time; and a call that is cancelled at any of its steps.
"""

from __future__ import annotations

import asyncio
import fcntl
import selectors
import struct
import termios
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, TypeVar

import uvloop

T = TypeVar("T")

LOOPS: Mapping[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.SelectorEventLoop,
    "uvloop": uvloop.new_event_loop,
}
"""What a conftest's ``pytest_asyncio_loop_factories`` returns."""


def at(seconds: float = 30.0) -> float:
    """The loop's time in ``seconds``; of itself late enough for what answers at once or never."""
    return asyncio.get_running_loop().time() + seconds


async def cancelled_after(turns: int, call: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """``call``, cancelled after so many turns of the loop, and ended; it may have been done before."""
    task = asyncio.create_task(call)
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait({task})
    return task


async def alone() -> bool:
    """Whether no other task is left, once the loop has turned a few times."""
    for _ in range(3):
        await asyncio.sleep(0)
    return len(asyncio.all_tasks()) == 1


class _Jumping(selectors.EpollSelector):
    """Where nothing is ready, and no octet is under way in the kernel, time jumps to the next timer."""

    now = 1000.0
    _GLANCE = 0.002
    _GLANCES = 100
    """Glances of so many seconds, at the most: what nobody reads stays under way for ever."""

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            return super().select(None)
        for _ in range(self._GLANCES if timeout > 0 else 1):
            if (ready := super().select(min(timeout, self._GLANCE))) or timeout <= 0:
                return ready
            if not any(map(_under_way, self.get_map())):
                break
        self.now += timeout
        return []


def _under_way(descriptor: int) -> bool:
    """Whether octets written to a TCP socket are not at the other end yet (tcp(7), SIOCOUTQ)."""
    try:
        (octets,) = struct.unpack("i", fcntl.ioctl(descriptor, termios.TIOCOUTQ, b"\0" * 4))
    except OSError:
        return False
    return bool(octets)


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop whose seconds pass only while everybody waits: half an hour of silence is over at once, to the second.

    All who talk must be of this loop: what another process or thread does takes no time here.
    """

    def __init__(self) -> None:
        self._jumping = _Jumping()
        super().__init__(self._jumping)

    def time(self) -> float:
        """Seconds that only grow."""
        return self._jumping.now
