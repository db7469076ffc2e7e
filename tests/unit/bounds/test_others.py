"""How long resolvers, scanners and backends are waited for: each bound at its default, to the second."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.support.sink import Stall
from tests.unit.bounds.waiting import ENVELOPE, MESSAGE, Connect, Patient
from tests.unit.session.conftest import POLICY, Start

NAMES = POLICY.replace(
    "  envelope:\n", "  envelope:\n    - {name: nowhere, if: sender.unresolvable, then: reject}\n", 1
).replace("unavailable:\n", "unavailable:\n  sender: ignore\n")
"""The same, with a question about the sender's domain."""


@pytest.fixture
def silence() -> Iterator[str]:
    """A resolver that never answers."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{bound.getsockname()[1]}"


@pytest.fixture
async def scanner() -> AsyncIterator[str]:
    """A scanner that takes connections and never answers."""
    writers: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(lambda _, writer: writers.append(writer), "127.0.0.1", 0)
    yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    for writer in writers:
        writer.close()
    server.close()


@pytest.fixture
def deaf() -> Iterator[str]:
    """A server whose queue of connections is full: nobody gets in, and nobody is told (listen(2))."""
    with socket.socket() as bound, socket.socket() as first, socket.socket() as second:
        bound.bind(("127.0.0.1", 0))
        bound.listen(0)
        for waiting in (first, second):
            waiting.setblocking(False)
            waiting.connect_ex(bound.getsockname())
        yield f"127.0.0.1:{bound.getsockname()[1]}"


async def sent(client: Patient) -> tuple[str, float]:
    """The reply to a message, and the seconds since its last octet."""
    await client.say("DATA")
    client.clock.restart()
    await client.octets(MESSAGE)
    return await client.reply()


@pytest.mark.parametrize(
    ("policy", "question", "seconds"),
    [
        (POLICY, 60.0, 5.0),  # the client's name: from when it connected
        (NAMES, 60.0, 8.0),  # the sender's domain: from MAIL, 3 s later
        (POLICY, 2.0, 4.0),  # two questions of 2 s each
    ],
)
async def test_questions_about_the_envelope_5_s_each(
    start: Start, connect: Connect, silence: str, policy: str, question: float, seconds: float
) -> None:
    service = await start(policy, dns={"servers": [silence], "timeout": question})
    client = await connect(service)
    await client.reply()
    await client.say("EHLO mail.example.org")
    await asyncio.sleep(3)
    await client.say(ENVELOPE[0])
    assert await client.say(ENVELOPE[1]) == ("250 2.1.5", seconds)


@pytest.mark.parametrize(("each", "seconds"), [({}, 40.0), ({"timeout": 100}, 45.0)], ids=["default", "longer"])
async def test_scanners_45_s_together(
    start: Start, connect: Connect, scanner: str, each: dict[str, float], seconds: float
) -> None:
    """Both are asked at once; each has a bound of its own too, 30 s and 40 s."""
    asked = {"address": scanner, **each}
    client = await connect(await start(clamav=asked, spamassassin=asked))
    await client.begin(*ENVELOPE)
    assert await sent(client) == ("250 2.0.0", seconds)


async def test_connecting_to_a_backend_10_s(start: Start, connect: Connect, deaf: str) -> None:
    client = await connect(await start(backends=[{"address": deaf}]))
    await client.begin(ENVELOPE[0])
    assert await client.say(ENVELOPE[1]) == ("451 4.3.0", 10.0)


@pytest.mark.parametrize("stage", ["connect", "EHLO", "MAIL", "RCPT"])
async def test_a_backends_reply_60_s(start: Start, connect: Connect, stage: str) -> None:
    service = await start()
    client = await connect(service)
    await client.begin(ENVELOPE[0])
    service.sink.once(stage, Stall())
    assert await client.say(ENVELOPE[1]) == ("451 4.3.0", 60.0)


async def test_a_backends_final_reply_600_s(start: Start, connect: Connect) -> None:
    service = await start()
    client = await connect(service)
    await client.begin(*ENVELOPE)
    service.sink.once("content", Stall())
    assert await sent(client) == ("451 4.3.0", 600.0)


async def test_without_a_reply_to_data_in_60_s_the_message_is_sent_again(start: Start, connect: Connect) -> None:
    service = await start()
    client = await connect(service)
    await client.begin(*ENVELOPE)
    service.sink.once("DATA", Stall())
    assert await sent(client) == ("250 2.0.0", 60.0)
    assert len(service.sink.messages) == 1


async def test_a_late_final_reply_counts(start: Start, connect: Connect) -> None:
    service = await start()
    client = await connect(service)
    await client.begin(*ENVELOPE)
    stall = Stall()
    service.sink.once("content", stall, b"250 2.0.0 late")
    asyncio.get_running_loop().call_later(599, stall.release)
    assert await sent(client) == ("250 2.0.0", 599.0)
    assert len(service.sink.messages) == 1


async def test_a_client_silent_in_its_transaction_has_a_backend_for_15_s(start: Start, connect: Connect) -> None:
    service = await start()
    client = await connect(service)
    await client.begin(*ENVELOPE)
    connection = service.sink.connections[-1]
    await asyncio.sleep(14.5)
    assert not connection.end
    await asyncio.sleep(1)
    assert connection.end
    assert (await sent(client))[0] == "250 2.0.0"
