"""A wire: what is taken, when reading stops, and that every wait ends by its own bound with one timer for all."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from unittest.mock import Mock

import pytest

from mailguard.net.deadlines import Deadlines
from mailguard.net.wire import READ_SIZE, Wire
from tests.support.loops import LOOPS


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return LOOPS


@pytest.fixture
async def wire() -> AsyncIterator[Wire]:
    made = Wire(asyncio.get_running_loop(), Deadlines())
    made.connection_made(Mock(asyncio.Transport))
    yield made
    made.unwatched()


def in_(seconds: float) -> float:
    return asyncio.get_running_loop().time() + seconds


FAR = 1000.0


async def test_what_came_is_taken_once(wire: Wire) -> None:
    assert wire.silent
    wire.data_received(b"one")
    wire.data_received(b"two")
    assert (wire.silent, wire.take(), wire.silent) == (False, b"onetwo", True)


async def test_no_more_is_taken_at_once_than_the_bound_and_nothing_is_lost(wire: Wire) -> None:
    sent = bytes(range(256)) * 1000
    wire.data_received(sent[:100])
    wire.data_received(sent[100:-1])
    taken = [wire.take()]
    wire.data_received(sent[-1:])
    while not wire.silent:
        taken.append(wire.take())
    assert (b"".join(taken), max(map(len, taken))) == (sent, READ_SIZE)


async def test_reading_stops_at_the_bound_until_all_was_taken(wire: Wire) -> None:
    stop, go_on = wire.transport.pause_reading, wire.transport.resume_reading
    assert isinstance(stop, Mock) and isinstance(go_on, Mock)
    wire.data_received(bytes(2 * READ_SIZE))
    assert stop.call_count == 0
    wire.data_received(b"x")
    wire.data_received(b"x")
    assert stop.call_count == 1
    wire.take()
    wire.take()
    assert go_on.call_count == 0
    wire.take()
    assert (go_on.call_count, wire.silent) == (1, True)


async def test_octets_before_the_connection_is_told_stop_nothing() -> None:
    wire = Wire(asyncio.get_running_loop(), Deadlines())
    wire.data_received(bytes(3 * READ_SIZE))
    assert len(wire.take()) == READ_SIZE


async def test_octets_wake_who_waits(wire: Wire) -> None:
    reading = asyncio.create_task(wire.read(in_(FAR)))
    await asyncio.sleep(0)
    wire.data_received(b"x")
    wire.data_received(b"y")
    assert await reading == b"xy"


async def test_the_end_is_no_octets(wire: Wire) -> None:
    wire.data_received(b"x")
    wire.eof_received()
    assert [await wire.read(in_(FAR)), await wire.read(in_(FAR))] == [b"x", b""]


@pytest.mark.parametrize("why", [ConnectionResetError(), TimeoutError("no ACK"), ssl.SSLError("bad record")])
async def test_a_broken_connection_is_told_to_who_waits_and_who_comes(wire: Wire, why: OSError) -> None:
    reading = asyncio.create_task(wire.read(in_(FAR)))
    await asyncio.sleep(0)
    wire.connection_lost(why)
    for broken in (reading, wire.read(in_(FAR)), wire.flushed(in_(FAR)), wire.closed(in_(FAR))):
        with pytest.raises(ConnectionError, match=str(why) or "ConnectionResetError"):
            await broken
    assert why.__traceback__ is None


async def test_a_bound_ends_a_wait(wire: Wire) -> None:
    with pytest.raises(TimeoutError):
        await wire.read(in_(0.02))
    wire.data_received(b"x")
    assert await wire.read(in_(FAR)) == b"x"


async def test_a_later_bound_outlives_the_timer_of_an_earlier_one(wire: Wire) -> None:
    wait = wire._change(in_(0.01))
    wire.data_received(b"x")
    await wait
    wire.take()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await wire.read(in_(FAR))
    async with asyncio.timeout(20):
        with pytest.raises(TimeoutError):
            await wire.read(in_(0.01))


async def test_a_nearer_bound_moves_the_timer(wire: Wire) -> None:
    wait = wire._change(in_(FAR))
    wire.data_received(b"x")
    await wait
    wire.take()
    async with asyncio.timeout(20):
        with pytest.raises(TimeoutError):
            await wire.read(in_(0.01))


async def test_later_bounds_set_no_timer(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    timers: list[object] = []
    start = Deadlines._set_timer
    monkeypatch.setattr(Deadlines, "_set_timer", lambda each, due: (timers.append(each), start(each, due)))
    for turn in range(10):
        wait = wire._change(in_(FAR + turn))
        wire.data_received(b"x")
        await wait
    assert len(timers) == 1


async def test_an_interruption_ends_a_read_and_no_later_one(wire: Wire) -> None:
    wire.interrupt()
    reading = asyncio.create_task(wire.read(in_(FAR)))
    await asyncio.sleep(0)
    wire.interrupt()
    wire.interrupt()
    with pytest.raises(TimeoutError):
        await reading
    wire.data_received(b"x")
    assert await wire.read(in_(FAR)) == b"x"


async def test_an_interruption_ends_nothing_but_a_read(wire: Wire) -> None:
    for wait, end in (
        (wire.flushed, wire.resume_writing),
        (wire.closed, lambda: wire.connection_lost(None)),
    ):
        wire.pause_writing()
        waiting = asyncio.create_task(wait(in_(FAR)))
        await asyncio.sleep(0)
        wire.interrupt()
        await asyncio.sleep(0)
        assert not waiting.done()
        end()
        await waiting


async def test_a_cancelled_wait_does_no_harm(wire: Wire) -> None:
    reading = asyncio.create_task(wire.read(in_(FAR)))
    await asyncio.sleep(0)
    reading.cancel()
    wire.data_received(b"x")
    with pytest.raises(asyncio.CancelledError):
        await reading
    wire.interrupt()
    assert await wire.read(in_(FAR)) == b"x"


async def test_what_is_written_is_waited_for_while_the_kernel_takes_no_more(wire: Wire) -> None:
    await wire.flushed(in_(FAR))
    wire.pause_writing()
    flushing = asyncio.create_task(wire.flushed(in_(FAR)))
    await asyncio.sleep(0)
    wire.data_received(b"meanwhile")
    await asyncio.sleep(0.01)
    assert not flushing.done()
    wire.resume_writing()
    await flushing
    wire.pause_writing()
    with pytest.raises(TimeoutError):
        await wire.flushed(in_(0.01))
    wire.connection_lost(None)
    with pytest.raises(ConnectionResetError):
        await wire.flushed(in_(FAR))


async def test_closing_waits_for_the_end(wire: Wire) -> None:
    closing = asyncio.create_task(wire.closed(in_(FAR)))
    await asyncio.sleep(0.01)
    assert not closing.done()
    wire.connection_lost(None)
    await closing
