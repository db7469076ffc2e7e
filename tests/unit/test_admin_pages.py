"""The admin pages while many ask for metrics: health is told, each gets what was counted until it asked."""

from __future__ import annotations

import asyncio
import threading

import aiohttp
import pytest

from mailguard.admin.health import Health
from mailguard.admin.server import Admin, Shared


class Slow:
    """Writes nothing until it may; counts how often it was asked, and how often at once."""

    def __init__(self) -> None:
        self.may = threading.Semaphore(0)
        self.writing = threading.Semaphore(0)
        self.begun = self.ended = 0

    def __call__(self) -> bytes:
        self.begun += 1
        assert self.begun == self.ended + 1
        self.writing.release()
        text = b"written %d" % self.begun
        assert self.may.acquire(timeout=30)
        self.ended += 1
        return text


async def test_many_who_ask_cost_two() -> None:
    slow = Slow()
    shared = Shared(slow)
    first = asyncio.create_task(shared())
    await asyncio.to_thread(slow.writing.acquire, timeout=30)
    others = [asyncio.create_task(shared()) for _ in range(500)]
    slow.may.release(2)
    assert await first == b"written 1"
    assert set(await asyncio.gather(*others)) == {b"written 2"}
    assert slow.ended == 2


async def test_who_gives_up_takes_nothing_from_the_others() -> None:
    slow = Slow()
    shared = Shared(slow)
    hasty, patient = asyncio.create_task(shared()), asyncio.create_task(shared())
    await asyncio.to_thread(slow.writing.acquire, timeout=30)
    hasty.cancel()
    slow.may.release()
    assert await patient == b"written 1"


async def test_a_failure_is_told_and_the_next_is_tried() -> None:
    shared = Shared(lambda: (_ for _ in ()).throw(OSError("gone")))
    for _ in range(2):
        with pytest.raises(OSError, match="gone"):
            await shared()


async def test_health_is_told_while_metrics_are_written(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = Slow()
    monkeypatch.setattr("mailguard.admin.server.exposition", lambda *_: slow())
    admin = Admin("127.0.0.1", 0, Health)
    port = await admin.start()
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as http:
            asked = [asyncio.create_task(_text(http, "/metrics")) for _ in range(20)]
            await asyncio.to_thread(slow.writing.acquire, timeout=30)
            assert '"ok": true' in await _text(http, "/healthz")
            slow.may.release(2)
            assert {text.partition(" ")[0] for text in await asyncio.gather(*asked)} == {"written"}
    finally:
        await admin.stop()
    assert slow.ended <= 2


async def _text(http: aiohttp.ClientSession, path: str) -> str:
    async with http.get(path) as answer:
        return await answer.text()
