"""net/alarm.py on a loop whose timers are real."""

from __future__ import annotations

import asyncio
import gc
import weakref

from mailguard.net.alarm import Alarm


async def rung(rings: asyncio.Queue[str]) -> str:
    return await asyncio.wait_for(rings.get(), 10)


async def test_it_rings_once_and_not_early() -> None:
    alarm, rings = Alarm(), asyncio.Queue[str]()
    deadline = alarm.loop.time() + 0.02
    alarm.set(deadline, lambda: rings.put_nowait("a"))
    assert await rung(rings) == "a"
    assert alarm.loop.time() >= deadline
    await asyncio.sleep(0.03)
    assert rings.empty()


async def test_what_was_cleared_or_set_anew_does_not_ring() -> None:
    alarm, rings = Alarm(), asyncio.Queue[str]()
    alarm.set(alarm.loop.time() + 0.01, lambda: rings.put_nowait("cleared"))
    alarm.clear()
    await asyncio.sleep(0.03)
    alarm.set(alarm.loop.time() + 0.01, lambda: rings.put_nowait("put off"))
    later = alarm.loop.time() + 0.05
    alarm.set(later, lambda: rings.put_nowait("later"))
    assert await rung(rings) == "later"
    assert alarm.loop.time() >= later


async def test_an_earlier_deadline_counts() -> None:
    alarm, rings = Alarm(), asyncio.Queue[str]()
    alarm.set(alarm.loop.time() + 3600, lambda: rings.put_nowait("late"))
    alarm.set(alarm.loop.time() + 0.01, lambda: rings.put_nowait("early"))
    assert await rung(rings) == "early"


async def test_what_rings_may_set_it_again() -> None:
    alarm, rings = Alarm(), asyncio.Queue[str]()

    def again() -> None:
        rings.put_nowait("first")
        alarm.set(alarm.loop.time(), lambda: rings.put_nowait("second"))

    alarm.set(alarm.loop.time(), again)
    assert [await rung(rings), await rung(rings)] == ["first", "second"]


async def test_closed_it_is_held_by_nobody() -> None:
    alarm = Alarm()
    alarm.set(alarm.loop.time() + 3600, lambda: None)
    alarm.close()
    held = weakref.ref(alarm)
    del alarm
    gc.collect()
    await asyncio.sleep(0)
    assert held() is None
