"""Awaiting several things together: order, failure, cancellation, and the task's state afterwards."""

from __future__ import annotations

import asyncio

import pytest

from mailguard.net.together import together
from tests.support.loops import cancelled_after


async def give(value: int, turns: int, log: list[str] | None = None) -> int:
    try:
        for _ in range(turns):
            await asyncio.sleep(0)
    finally:
        if log is not None:
            log.append(f"ended {value}")
    return value


async def fail(text: str) -> int:
    await asyncio.sleep(0)
    raise RuntimeError(text)


async def test_results_in_order() -> None:
    assert await together([give(1, 5), give(2, 0), give(3, 2)]) == [1, 2, 3]
    assert await together([]) == []


async def test_a_failure_is_raised_after_all_have_ended() -> None:
    log: list[str] = []
    with pytest.raises(RuntimeError, match="first"):
        await together([give(1, 20, log), fail("first"), fail("second")])
    assert log == ["ended 1"]


async def test_a_failure_handled_leaves_the_task_fit_for_timeouts() -> None:
    """What a TaskGroup of Python 3.11 does not: the timeout would come out as a cancellation."""
    with pytest.raises(RuntimeError):
        await together([give(1, 20), fail("handled")])
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.001):
            await asyncio.Event().wait()


async def test_cancelled_at_every_step_all_have_ended() -> None:
    for turns in range(1, 20):
        log: list[str] = []
        task = await cancelled_after(turns, together([give(1, 8, log), give(2, 4, log)]))
        assert len(log) == (2 if turns > 1 else 0)  # cancelled before they began, they never ran
        assert len(asyncio.all_tasks()) == 1
    assert not task.cancelled()
