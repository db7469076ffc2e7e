"""How long a client is waited for: each bound at its default, to the second, in a whole mailguard."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.certificates import shared
from tests.unit.bounds.waiting import ENVELOPE, Clock, Connect
from tests.unit.session.conftest import IMPATIENT, Service, Start


@pytest.fixture
async def service(start: Start) -> Service:
    return await start()


@pytest.mark.parametrize("commands", [(), ("NOOP",), ENVELOPE])
async def test_a_command_is_waited_for_300_s(service: Service, connect: Connect, commands: tuple[str, ...]) -> None:
    client = await connect(service)
    await client.begin(*commands)
    assert await client.reply() == ("421 4.4.2", 300.0)


async def test_octets_of_a_command_win_no_time(service: Service, connect: Connect) -> None:
    client = await connect(service)
    await client.begin()

    async def dribble() -> None:
        while True:
            await asyncio.sleep(7)
            await client.octets(b"N")

    dribbling = asyncio.create_task(dribble())
    assert await client.reply() == ("421 4.4.2", 300.0)
    dribbling.cancel()


async def test_a_session_lasts_1800_s_outside_content(service: Service, connect: Connect) -> None:
    client = await connect(service)
    await client.begin()
    for _ in range(7):
        await asyncio.sleep(250)
        assert (await client.say("NOOP"))[0] == "250 2.0.0"
    assert await client.reply() == ("421 4.4.2", 1800.0)


async def test_content_does_not_count_in_that(service: Service, connect: Connect) -> None:
    client = await connect(service)
    await client.begin(*ENVELOPE, "DATA")
    for _ in range(170):
        await asyncio.sleep(10)
        await client.octets(b"x" * 20_000 + b"\r\n")
    await client.octets(b".\r\n")
    assert await client.reply() == ("250 2.0.0", 1700.0)
    for _ in range(7):
        await asyncio.sleep(250)
        await client.say("NOOP")
    assert await client.reply() == ("421 4.4.2", 1700.0 + 1800.0)


async def test_between_two_chunks_180_s(service: Service, connect: Connect) -> None:
    client = await connect(service)
    await client.begin(*ENVELOPE, "DATA")
    await client.octets((b"x" * 998 + b"\r\n") * 200)
    assert await client.reply() == ("421 4.4.2", 180.0)
    assert service.sink.messages == []


async def test_of_a_chunk_too(service: Service, connect: Connect) -> None:
    client = await connect(service)
    await client.begin(*ENVELOPE)
    await client.octets(b"BDAT 200000 LAST\r\n" + b"x" * 199_999)
    assert await client.reply() == ("421 4.4.2", 180.0)
    assert service.sink.messages == []


async def test_content_without_a_least_rate_30_s(service: Service, connect: Connect) -> None:
    client = await connect(service)
    await client.begin(*ENVELOPE, "DATA")
    assert await client.reply() == ("421 4.4.2", 30.0)


@pytest.mark.parametrize(("octets", "end"), [(100, 30.0), (490, 30.0), (530, None)])
async def test_content_comes_at_500_octets_a_second(
    service: Service, connect: Connect, octets: int, end: float | None
) -> None:
    """A packet each second: below the rate it is over with the grace, above it goes on as long as it likes."""
    client = await connect(service)
    await client.begin(*ENVELOPE, "DATA")

    async def send() -> None:
        for _ in range(100):
            await asyncio.sleep(1)
            await client.octets(b"x" * (octets - 2) + b"\r\n")
        await client.octets(b".\r\n")

    sending = asyncio.create_task(send())
    assert await client.reply() == (("421 4.4.2", end) if end else ("250 2.0.0", 100.0))
    sending.cancel()


@pytest.mark.parametrize(
    ("policy", "limits", "seconds"),
    [
        ("default", {}, 0.0),
        (IMPATIENT, {}, 3.0),
        (IMPATIENT, {"greeting_wait": 0}, 0.0),
        (IMPATIENT, {"greeting_wait": 6}, 5.0),
        (IMPATIENT, {"envelope_deadline": 1}, 1.0),
    ],
)
async def test_the_greeting_waits_where_the_policy_asks_and_never_past_the_deadline(
    start: Start, connect: Connect, policy: str, limits: dict[str, float], seconds: float
) -> None:
    service = await (start(limits=limits) if policy == "default" else start(policy, limits=limits))
    client = await connect(service)
    assert await client.reply() == ("220 mx.ex", seconds)


async def test_who_speaks_is_greeted_at_once(start: Start, connect: Connect) -> None:
    client = await connect(await start(IMPATIENT))
    await asyncio.sleep(1)
    await client.octets(b"EHLO mail.example.org\r\n")
    assert await client.reply() == ("220 mx.ex", 1.0)
    assert (await client.reply())[0].startswith("250 ")
    assert (await client.say(*ENVELOPE))[0] == "554 5.7.1"


async def test_a_proxy_header_is_waited_for_5_s(service: Service, connect: Connect) -> None:
    client = await connect(service, proxied=False)
    assert await client.reply() == ("421 4.3.0", 5.0)


async def test_a_handshake_is_waited_for_30_s(start: Start, connect: Connect) -> None:
    client = await connect(await start(tls=shared().settings))
    assert (await client.begin("STARTTLS"))[0] == "220 2.0.0"
    assert await client.over() == 30.0


async def test_a_client_that_does_not_close_is_cut_after_5_s(service: Service, connect: Connect) -> None:
    client = await connect(service)
    await client.begin()
    assert await client.reply() == ("421 4.4.2", 300.0)
    loop, clock = asyncio.get_running_loop(), Clock()
    while service.worker._listeners[0]._connections:
        await asyncio.sleep(0.5)
        assert loop.time() < 2000
    assert 5.0 <= clock.seconds <= 5.5


async def test_a_drain_lasts_60_s(service: Service, connect: Connect) -> None:
    client = await connect(service)
    await client.begin(*ENVELOPE)
    stopping = asyncio.create_task(service.worker.stop(drain=service.worker._settings.limits.drain_timeout))
    assert await client.reply() == ("421 4.3.2", 60.0)
    await stopping
