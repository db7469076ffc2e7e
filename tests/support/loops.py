"""Event loops: both kinds, for what touches the network (asyncio's own, and uvloop, which the service uses); their
time; and a call that is cancelled at any of its steps.
"""

from __future__ import annotations

import asyncio
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
