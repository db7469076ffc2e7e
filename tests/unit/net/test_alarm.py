"""net/alarm.py on a loop whose timers are real."""

from __future__ import annotations

import asyncio
import gc
import weakref

from mailguard.net.alarm import Alarm


async def rung(rings: asyncio.Queue[str]) -> str:
    return await asyncio.wait_for(rings.get(), 10)


async def test_it_rings_once_and_not_early() -> None:
    loop, rings = asyncio.get_running_loop(), asyncio.Queue[str]()
    alarm = Alarm(loop)
    deadline = loop.time() + 0.02
    alarm.set(deadline, lambda: rings.put_nowait("a"))
    assert await rung(rings) == "a"
    assert loop.time() >= deadline
    await asyncio.sleep(0.03)
    assert rings.empty()


async def test_what_was_cleared_or_set_anew_does_not_ring() -> None:
    loop, rings = asyncio.get_running_loop(), asyncio.Queue[str]()
    alarm = Alarm(loop)
    alarm.set(loop.time() + 0.01, lambda: rings.put_nowait("cleared"))
    alarm.clear()
    await asyncio.sleep(0.03)
    alarm.set(loop.time() + 0.01, lambda: rings.put_nowait("put off"))
    later = loop.time() + 0.05
    alarm.set(later, lambda: rings.put_nowait("later"))
    assert await rung(rings) == "later"
    assert loop.time() >= later


async def test_an_earlier_deadline_counts() -> None:
    loop, rings = asyncio.get_running_loop(), asyncio.Queue[str]()
    alarm = Alarm(loop)
    alarm.set(loop.time() + 3600, lambda: rings.put_nowait("late"))
    alarm.set(loop.time() + 0.01, lambda: rings.put_nowait("early"))
    assert await rung(rings) == "early"


async def test_what_rings_may_set_it_again() -> None:
    loop, rings = asyncio.get_running_loop(), asyncio.Queue[str]()
    alarm = Alarm(loop)

    def again() -> None:
        rings.put_nowait("first")
        alarm.set(loop.time(), lambda: rings.put_nowait("second"))

    alarm.set(loop.time(), again)
    assert [await rung(rings), await rung(rings)] == ["first", "second"]


async def test_closed_it_is_held_by_nobody() -> None:
    loop = asyncio.get_running_loop()
    alarm = Alarm(loop)
    alarm.set(loop.time() + 3600, lambda: None)
    alarm.close()
    held = weakref.ref(alarm)
    del alarm
    gc.collect()
    await asyncio.sleep(0)
    assert held() is None
