"""Work that would hold up the event loop, done beside it: one call at a time, in a thread of its own, under a bound.

A thread cannot be ended from outside. When the bound passes, its call is given up: nobody waits for its outcome any
more, and the next call waits for its end, within that call's own bound, so that such threads never add up. They are
daemons, so that the process can end while one of them hangs in a system call. Why a thread and no process: decision
0007. Units: seconds.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


class Aside:
    """One call at a time beside the event loop that calls :meth:`run`."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._turn = asyncio.Lock()
        self._given_up: asyncio.Future[Any] | None = None

    async def run(self, call: Callable[[], T], seconds: float) -> T:
        """What ``call`` returns; waiting for a call before it is part of the time.

        Raises:
            TimeoutError: it has not returned within ``seconds``.
            Exception: what ``call`` raises.
        """
        async with asyncio.timeout(seconds), self._turn:
            if self._given_up is not None:
                await asyncio.wait([self._given_up])
            self._given_up = outcome = _started(call, self._name)
            try:
                return await asyncio.shield(outcome)
            finally:
                if outcome.done():
                    self._given_up = None


def _started(call: Callable[[], T], name: str) -> asyncio.Future[T]:
    """The outcome of ``call``, which runs in a thread from now on."""
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[T] = loop.create_future()
    outcome.add_done_callback(asyncio.Future.exception)  # seen, so that one that was given up is not complained about

    def tell(deliver: Callable[..., None], what: Any) -> None:
        try:
            loop.call_soon_threadsafe(deliver, what)
        except RuntimeError:  # the loop has been closed: nobody is left to be told
            return

    def work() -> None:
        try:
            result = call()
        except Exception as error:  # noqa: BLE001  raised again where it is awaited
            tell(outcome.set_exception, error)
        else:
            tell(outcome.set_result, result)

    threading.Thread(target=work, name=name, daemon=True).start()
    return outcome
