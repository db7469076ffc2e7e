"""net/deadlines.py on a loop whose timers are real."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from mailguard.net.deadlines import Deadlines


class Wait:
    """Notes when it was told that it is late, and does ``then``."""

    def __init__(self, then: Callable[[], object] = lambda: None) -> None:
        self.told: list[float] = []
        self.then = then

    def late(self) -> None:
        self.told.append(asyncio.get_running_loop().time())
        self.then()


async def told(*waits: Wait) -> None:
    async with asyncio.timeout(30):
        while not all(wait.told for wait in waits):  # noqa: ASYNC110 - callbacks alone
            await asyncio.sleep(0.001)


def now() -> float:
    return asyncio.get_running_loop().time()


async def test_each_is_told_once_and_not_early() -> None:
    deadlines, start = Deadlines(), now()
    waits = {start + number / 100: Wait() for number in (3, 1, 2, 2.05, 5)}
    for deadline, wait in waits.items():
        deadlines.set(wait, deadline)
    await told(*waits.values())
    await asyncio.sleep(0.03)
    for deadline, wait in waits.items():
        [when] = wait.told
        assert when >= deadline


async def test_who_is_over_is_not_told_and_who_is_put_off_only_then() -> None:
    deadlines, over, put_off = Deadlines(), Wait(), Wait()
    for wait in (over, put_off):
        deadlines.set(wait, now() + 0.01)
    deadlines.clear(over)
    deadlines.clear(over)
    later = now() + 0.05
    deadlines.set(put_off, later)
    await told(put_off)
    assert (over.told, put_off.told[0] >= later) == ([], True)


async def test_what_is_told_may_end_others_put_them_off_and_wait_again() -> None:
    deadlines, ended, put_off = Deadlines(), Wait(), Wait()
    later = now() + 0.05

    def act() -> None:
        deadlines.clear(ended)
        deadlines.set(put_off, later)
        if len(first.told) == 1:
            deadlines.set(first, now())

    first = Wait(act)
    for wait in (first, ended, put_off):
        deadlines.set(wait, now())
    await told(put_off)
    assert (len(first.told), ended.told, put_off.told[0] >= later) == (2, [], True)


async def test_after_a_bug_in_one_the_others_are_told(caught: list[object]) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    deadlines, buggy, other = Deadlines(), Wait(fail), Wait()
    for wait in (buggy, other):
        deadlines.set(wait, now())
    await told(other)
    assert len(buggy.told) == 1
    assert [type(error) for error in caught] == [ZeroDivisionError]


@pytest.fixture
async def caught() -> list[object]:
    """What callbacks of the loop raised."""
    found: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: found.append(context["exception"]))
    return found


async def test_a_thousand_take_a_handful_of_timers(monkeypatch: pytest.MonkeyPatch) -> None:
    loop, timers, deadlines = asyncio.get_running_loop(), 0, Deadlines()

    def counting(self: object, due: float) -> None:
        nonlocal timers
        timers += 1
        set_timer(self, due)

    set_timer: Callable[..., None] = Deadlines._set_timer
    monkeypatch.setattr(Deadlines, "_set_timer", counting)
    waits = [Wait() for _ in range(1000)]
    for wait in waits:
        deadlines.set(wait, loop.time() + 3600)
    for wait in waits:
        deadlines.clear(wait)
    assert timers == 1
