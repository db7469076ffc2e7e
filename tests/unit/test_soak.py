"""What a soak rests on: its account finds what is lost, doubled or unrecorded, and its clients tell how they ended."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import Counter
from collections.abc import Callable
from datetime import date
from ipaddress import IPv4Network

import pytest

from tests.soak.account import UNWRITTEN, Kill, account, account_records
from tests.soak.failure import SoakFailed
from tests.soak.figures import Figures, durations, latency
from tests.soak.link import Closed, Link
from tests.soak.report import page, section
from tests.soak.traffic import Attempt, Stage, Traffic, addresses

BOUND = 20.0


def attempt(name: str, code: int, fault: str = "", stage: Stage = Stage.CONTENT, at: float = 100.0) -> Attempt:
    return Attempt(name, stage, code, fault, at, 0.01)


TAKEN, DEFERRED, REFUSED = attempt("<taken>", 250), attempt("<deferred>", 451), attempt("<refused>", 0, "refused")
RESET = attempt("<reset>", 0, "reset")
ALL = [TAKEN, DEFERRED, REFUSED, RESET]


def test_an_account_that_comes_out() -> None:
    found = account(ALL, Counter({"<taken>": 1, "<reset>": 1, "<of another part>": 1}), (), 0)
    assert (found.taken, found.deferred, found.unanswered, found.doubtful) == (1, 1, 2, 1)
    assert "each delivered once" in found.told()


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (Counter[str](), "1 messages answered 250 and lost: <taken>"),
        (Counter({"<taken>": 2}), "delivered more than once: <taken>"),
        (Counter({"<taken>": 1, "<reset>": 2}), "delivered more than once: <reset>"),
        (Counter({"<taken>": 1, "<deferred>": 1}), "the sender was told that it is not: <deferred>"),
    ],
)
def test_an_account_that_does_not(found: Counter[str], why: str) -> None:
    with pytest.raises(SoakFailed, match=why):
        account(ALL, found, (), 0)


def test_a_message_that_the_log_names_with_a_digest_may_be_there() -> None:
    assert account(ALL, Counter({"<taken>": 1, "<deferred>": 1}), {"<deferred>"}, 0).deferred == 1


def test_a_reply_of_250_to_the_envelope_is_no_promise() -> None:
    assert account([attempt("<early>", 250, stage=Stage.ENVELOPE)], Counter(), (), 0).taken == 0


@pytest.mark.parametrize(
    ("kills", "excused"),
    [
        ([], False),
        ([Kill(99.8, 99.9)], False),
        ([Kill(99.9, 100.0)], True),
        ([Kill(100.0, 100.1)], True),
        ([Kill(100 + UNWRITTEN, 101 + UNWRITTEN)], True),
        ([Kill(100.1 + UNWRITTEN, 101 + UNWRITTEN)], False),
    ],
)
def test_a_record_may_be_missing_of_what_a_worker_answered_right_before_it_died(
    kills: list[Kill], excused: bool
) -> None:
    if excused:
        assert account_records(ALL, Counter(), kills) == 1
    else:
        with pytest.raises(SoakFailed, match="not in the journal"):
            account_records(ALL, Counter(), kills)


def test_records() -> None:
    assert account_records(ALL, Counter({"<taken>": 1}), []) == 0
    with pytest.raises(SoakFailed, match="recorded more than once: <taken>"):
        account_records(ALL, Counter({"<taken>": 2}), [])


Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], None]


def reset(writer: asyncio.StreamWriter) -> None:
    """Send a TCP reset."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def served(octets: bytes, *, by_reset: bool) -> asyncio.Server:
    """A server that says ``octets`` to whoever comes, and ends the connection."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()  # the PROXY header: unread octets would make a reset of any end
        writer.write(octets)
        await writer.drain()
        if by_reset:
            await asyncio.sleep(0.1)  # what was sent has arrived
            reset(writer)
        else:
            writer.close()

    return await asyncio.start_server(serve, "127.0.0.1", 0)


async def linked(server: asyncio.Server) -> Link:
    return await Link.to(server.sockets[0].getsockname()[1], "198.18.140.1")


async def ended(link: Link) -> None:
    async with asyncio.timeout(BOUND):
        while not link.ended:  # noqa: ASYNC110  it becomes so by itself
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("by_reset", [False, True])
async def test_what_came_before_the_end_is_read(by_reset: bool) -> None:
    async with await served(b"220-hello\r\n220 there\r\n421 4.3.2 bye\r\n", by_reset=by_reset) as server:
        link = await linked(server)
        await ended(link)
        assert [await link.reply(), await link.reply()] == [220, 421]
        with pytest.raises(ConnectionResetError if by_reset else Closed):
            await link.reply()
        link.close()


@pytest.mark.parametrize(
    ("said", "by_reset", "came"),
    [
        (b"421 4.3.2 bye\r\n", True, "421"),
        (b"", True, "reset"),
        (b"220 hello\r\n", False, "closed"),
        (b"220 hello\r\n250 hello\r\n250 2.1.0 sender\r\n451 4.3.0 later\r\n", False, "451"),
    ],
)
async def test_what_came_of_a_message(said: bytes, by_reset: bool, came: str) -> None:
    async with await served(said, by_reset=by_reset) as server:
        traffic = Traffic(server.sockets[0].getsockname()[1], addresses(IPv4Network("198.18.140.0/24")))
        async with traffic.flowing(1):
            await traffic.until(lambda: bool(traffic.attempts), "an attempt", BOUND)
    assert set(traffic.came_of()) == {came}
    assert not traffic.taken


async def test_nobody_there() -> None:
    async with await served(b"", by_reset=False) as server:
        port = server.sockets[0].getsockname()[1]
    traffic = Traffic(port, addresses(IPv4Network("198.18.140.0/24")))
    async with traffic.flowing(1):
        await traffic.until(lambda: bool(traffic.attempts), "an attempt", BOUND)
        with pytest.raises(SoakFailed, match="mail flows: not within"):
            await traffic.until(lambda: bool(traffic.taken), "mail flows", bound=0.2)
    assert set(traffic.came_of()) == {"refused"}


def test_report() -> None:
    figures = Figures()
    figures.tell("replaced", durations([1.0, 2.0, 4.0]))
    figures.tell("latency", latency([TAKEN, RESET]))
    written = section("killing", figures, date(2026, 11, 21), 1.5)
    assert "| replaced | median 2.00 s, longest 4.00 s |" in written
    assert "| latency | median 10 ms, 95% within 10 ms, longest 10 ms |" in written
    assert "`make soak ARGS=killing`. 2026-11-21, mailguard " in written
    other = "## Idle and slow connections\n\nfigures\n"
    once = page(f"# Old head\n\n{other}", [written])
    assert page(once, [written]) == once
    assert written in once and other in once and "Old head" not in once
