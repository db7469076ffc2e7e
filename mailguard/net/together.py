"""Several things awaited together, none left behind, whatever happens to one of them.

``asyncio.TaskGroup`` is for tasks that end with their group. Where a failure is *handled* and the task goes on,
Python 3.11's group leaves the task marked as being cancelled, and its next ``asyncio.timeout`` ends it instead of a
wait: see decision 0030. :func:`together` keeps the same promise (all done when it returns or raises) without that
mark.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

T = TypeVar("T")
U = TypeVar("U")


async def together(coroutines: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """The results of all ``coroutines``, run at the same time, in their order.

    Cancelled, it cancels them all and waits for their end. It has no bound of its own: each coroutine brings one.

    Raises:
        Exception: the first one in order that a coroutine raised, after all have ended.
    """
    results = await asyncio.gather(*coroutines, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return results  # type: ignore[return-value]  # no exception is left in it


async def both(first: Coroutine[Any, Any, T], second: Coroutine[Any, Any, U]) -> tuple[T, U]:
    """The results of two coroutines of different types; otherwise as :func:`together`."""
    results: list[Any] = await together((first, second))
    return results[0], results[1]
