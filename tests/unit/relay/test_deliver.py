"""The message, by DATA, by BDAT, and in TLS: no 250 but the backend's, no message lost, none invented."""

from __future__ import annotations

import asyncio
import ssl

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailguard.relay import ClientGone
from mailguard.spool import CHUNK, SpoolLost
from tests.support.certificates import serving, shared
from tests.support.sink import CHUNKING, CLOSE, EXTENSIONS, RESET, Connection, Sink, Stall, Step
from tests.unit.relay.conftest import ALICE, BOB, MESSAGE, SENDER, Setup, spooled

DOWN = "451 4.3.0 Mail server not reachable, try again later"
BIG = b"Subject: big\r\n\r\n" + (b"x" * 998 + b"\r\n") * 16_000
"""16 MB: more than the socket buffers of both ends hold."""


@pytest.fixture(params=["data", "bdat", "bdat in tls"])
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def extensions(way: str) -> tuple[bytes, ...]:
    return EXTENSIONS if way == "data" else CHUNKING


@pytest.fixture
def tls(way: str) -> ssl.SSLContext | None:
    return serving(shared()) if way.endswith("tls") else None


def opening(sink: Sink) -> list[str]:
    """The command with which the content begins."""
    return ["BDAT"] if sink.extensions is CHUNKING else ["DATA"]


async def test_the_content_arrives_octet_for_octet_and_quit_follows(setup: Setup, sink: Sink) -> None:
    transaction = await setup.to(ALICE, BOB)
    assert await setup.deliver(transaction) == "250 2.0.0 taken"
    await sink.seen("end")
    (message,) = sink.messages
    assert message.content == MESSAGE
    assert message.mail == b"MAIL FROM:<sender@example.org>"
    assert message.rcpts == [b"RCPT TO:<alice@example.com>", b"RCPT TO:<bob@example.com>"]
    begun = ["EHLO", "STARTTLS", "EHLO"] if sink.tls else ["EHLO"]
    assert sink.connections[0].verbs == [*begun, "MAIL", "RCPT", "RCPT", *opening(sink), "QUIT"]
    assert not transaction.doubtful


@pytest.mark.slow
async def test_a_big_message(setup: Setup, sink: Sink) -> None:
    octets = b"Subject: x\r\n\r\n" + b"".join(b".%d\r\n" % i * 3 for i in range(700_000))
    assert await setup.deliver(await setup.to(), octets) == "250 2.0.0 taken"
    assert sink.messages[0].content == octets


@pytest.mark.parametrize(
    ("said", "ours"),
    [
        (b"250 OK id=1xUfdD-0003It-0y", "250 2.0.0 OK id=1xUfdD-0003It-0y"),
        (b"250", "250 2.0.0 Message accepted"),
        (b"550 5.7.1 spam", "550 5.7.1 spam"),
        (b"552-too\r\n552 big", "552 5.0.0 too big"),
        (b"451 4.3.1 later", "451 4.3.1 later"),
    ],
)
async def test_the_final_reply_is_ours(setup: Setup, sink: Sink, said: bytes, ours: str) -> None:
    sink.on("content", said)
    transaction = await setup.to()
    assert await setup.deliver(transaction) == ours
    assert not transaction.doubtful


@pytest.mark.parametrize(("said", "ours"), [(b"554 5.5.1 no", "554 5.5.1 no"), (b"452 full", "452 4.0.0 full")])
async def test_a_refusal_of_data_is_ours(both: Setup, sink: Sink, second: Sink, said: bytes, ours: str) -> None:
    sink.extensions = EXTENSIONS
    sink.on("DATA", said)
    assert await both.deliver(await both.to()) == ours
    assert second.connections == []


# -- lost before the final dot: sent again


LOST_AT_DATA: list[tuple[Step, ...]] = [(CLOSE,), (RESET,), (b"421 4.3.2 closing", CLOSE), (b"250 what",), (b"?",)]


@pytest.mark.parametrize("steps", LOST_AT_DATA, ids=lambda steps: str(steps[0])[:20])
async def test_lost_at_data(setup: Setup, sink: Sink, steps: tuple[Step, ...]) -> None:
    sink.extensions = EXTENSIONS
    sink.once("DATA", *steps)
    transaction = await setup.to(ALICE, BOB)
    assert await setup.deliver(transaction) == "250 2.0.0 taken"
    assert len(sink.connections) == 2
    assert len(sink.messages) == 1
    assert sink.messages[0].rcpts == [b"RCPT TO:<alice@example.com>", b"RCPT TO:<bob@example.com>"]


async def test_lost_during_the_scan_the_same_backend_takes_it(setup: Setup, sink: Sink) -> None:
    transaction = await setup.to()
    await sink.stop()
    await sink.start()
    assert await setup.deliver(transaction) == "250 2.0.0 taken"
    assert [m.content for m in sink.messages] == [MESSAGE]


async def test_lost_during_the_scan_the_next_backend_takes_it(both: Setup, sink: Sink, second: Sink) -> None:
    transaction = await both.to()
    await sink.stop()
    assert await both.deliver(transaction) == "250 2.0.0 taken"
    assert [m.content for m in second.messages] == [MESSAGE]
    assert transaction.backend == second.address


async def test_lost_during_the_scan_for_good(setup: Setup, sink: Sink) -> None:
    transaction = await setup.to()
    await sink.stop()
    assert await setup.deliver(transaction) == DOWN
    assert not transaction.doubtful


@pytest.mark.parametrize(
    "steps",
    [(CLOSE,), (RESET,), (b"421 4.3.2 closing", CLOSE), (b"250 taken",), (b"354 ?",)],
    ids=lambda s: str(s[0])[:20],
)
async def test_lost_in_the_middle_of_the_content(setup: Setup, sink: Sink, steps: tuple[Step, ...]) -> None:
    """Not even an early 250 counts: the message was not there."""
    sink.mid_content(100_000, *steps)
    assert await setup.deliver(await setup.to(), BIG) == "250 2.0.0 taken"
    assert [m.content for m in sink.messages] == [BIG]
    assert len(sink.connections) == 2


@pytest.mark.parametrize("follow", [(), (CLOSE,), (RESET,), (Stall(),)], ids=["reads on", "close", "reset", "stall"])
async def test_an_early_refusal_is_ours(both: Setup, sink: Sink, second: Sink, follow: tuple[Step, ...]) -> None:
    sink.mid_content(100_000, b"552 5.3.4 too big", *follow)
    assert await both.deliver(await both.to(), BIG) == "552 5.3.4 too big"
    await sink.seen("end")
    assert sink.messages == [], "no final dot was sent"
    assert second.connections == []


@pytest.mark.slow
async def test_a_backend_that_stops_reading_fails_in_time(sink: Sink) -> None:
    sink.on("DATA", b"354 go on", Stall(deaf=True))
    sink.on("chunk", Stall(deaf=True))
    setup = Setup(sink, backend_reply_timeout=1.0)
    transaction = await setup.to()
    assert await setup.deliver(transaction, BIG) == DOWN
    assert not transaction.doubtful


# -- a replay that is refused


@pytest.mark.parametrize(
    ("stage", "replies"),
    [
        ("MAIL", (b"550 5.7.1 not any more",)),
        ("RCPT", (b"250 ok", b"550 5.1.1 gone")),
        ("RCPT", (b"451 later", b"250 ok")),
    ],
)
async def test_a_refusal_in_a_replay_is_451_and_nobody_gets_it(
    both: Setup, sink: Sink, second: Sink, stage: str, replies: tuple[bytes, ...]
) -> None:
    transaction = await both.to(ALICE, BOB)
    await sink.stop()
    for said in replies:
        second.once(stage, said)
    assert await both.deliver(transaction) == DOWN
    await second.seen("end")
    assert second.messages == []
    assert second.connections[0].verbs[-1] == "QUIT"
    assert not {"DATA", "BDAT"} & set(second.connections[0].verbs)


# -- between the final dot and the reply


@pytest.mark.parametrize("steps", [(CLOSE,), (RESET,), (b"?",), (b"354 more",)], ids=lambda steps: str(steps[0])[:20])
async def test_lost_after_the_dot_is_doubtful_and_never_sent_again(
    both: Setup, sink: Sink, second: Sink, steps: tuple[Step, ...]
) -> None:
    sink.on("content", *steps)
    transaction = await both.to()
    assert await both.deliver(transaction) == DOWN
    assert transaction.doubtful
    assert len(sink.messages) == 1
    assert second.connections == []


async def test_no_final_reply_in_time_is_doubtful(sink: Sink) -> None:
    setup = Setup(sink, backend_final_timeout=0.05)
    sink.on("content", Stall())
    transaction = await setup.to()
    assert await setup.deliver(transaction) == DOWN
    assert transaction.doubtful


async def test_a_final_421_is_a_no_and_not_doubtful(both: Setup, sink: Sink, second: Sink) -> None:
    """RFC 5321 3.8: the backend says that it took nothing. Our client is not to lose its connection for it."""
    sink.on("content", b"421 4.3.2 going down", CLOSE)
    transaction = await both.to()
    assert await both.deliver(transaction) == DOWN
    assert not transaction.doubtful
    assert second.connections == []


# -- the client is gone


async def test_gone_before_anything_is_sent(setup: Setup, sink: Sink) -> None:
    transaction = await setup.to()
    setup.gone.set()
    with pytest.raises(ClientGone):
        await setup.deliver(transaction)
    await sink.seen("end")
    assert not {"DATA", "BDAT"} & set(sink.connections[0].verbs)


async def test_gone_while_the_backend_thinks_about_data(setup: Setup, sink: Sink) -> None:
    sink.extensions = EXTENSIONS
    hold = Stall()
    sink.on("DATA", hold, b"354 go on")
    transaction = await setup.to()
    sending = asyncio.create_task(setup.deliver(transaction))
    await hold.reached.wait()
    setup.gone.set()
    hold.release()
    with pytest.raises(ClientGone):
        await sending
    await sink.seen("end")
    assert sink.messages == []


async def test_gone_in_the_middle_of_the_content(setup: Setup, sink: Sink) -> None:
    hold = Stall()
    sink.mid_content(1, hold)
    transaction = await setup.to()
    sending = asyncio.create_task(setup.deliver(transaction, BIG))
    await hold.reached.wait()
    setup.gone.set()
    hold.release()
    with pytest.raises(ClientGone):
        await sending
    await sink.seen("end")
    assert sink.messages == []


async def test_gone_at_the_very_last_moment(setup: Setup, sink: Sink) -> None:
    """All is out but the last piece and the end of data."""
    transaction = await setup.to()

    class GoneAtTheEnd(asyncio.Event):
        asked = 0

        def is_set(self) -> bool:
            self.asked += 1
            return self.asked > 3  # before the dialogue, before each of two pieces, before the end

    octets = b"x" * CHUNK + b"the end\r\n"
    with spooled(octets) as content, pytest.raises(ClientGone):
        await transaction.deliver(content, GoneAtTheEnd())
    await sink.seen("end")
    assert sink.messages == []
    assert sink.connections[0].received.endswith(octets[:CHUNK])


async def test_gone_after_the_dot_changes_nothing(setup: Setup, sink: Sink) -> None:
    hold = Stall()
    sink.on("content", hold, b"250 2.0.0 taken")
    transaction = await setup.to()
    sending = asyncio.create_task(setup.deliver(transaction))
    await hold.reached.wait()
    setup.gone.set()
    await transaction.abort()
    hold.release()
    assert await sending == "250 2.0.0 taken"
    assert sink.messages[0].reply == b"250 2.0.0 taken\r\n"


# -- cancelled


async def test_cancelled_after_the_dot_the_transaction_goes_on(setup: Setup, sink: Sink) -> None:
    hold = Stall()
    sink.on("content", hold, b"250 2.0.0 taken")
    transaction = await setup.to()
    sending = asyncio.create_task(setup.deliver(transaction))
    await hold.reached.wait()
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    hold.release()
    await setup.relay.finish()
    await sink.seen("QUIT")
    assert sink.messages[0].reply == b"250 2.0.0 taken\r\n"


async def _cancelled_at(number: int, sink: Sink, setup: Setup) -> bool:
    """Run a whole transaction and cancel it when the loop has turned ``number`` times; whether that was soon enough."""

    async def whole() -> str:
        transaction = await setup.to(ALICE, BOB)
        return await setup.deliver(transaction)

    task = asyncio.create_task(whole())
    for _ in range(number):
        if task.done():
            break
        await asyncio.sleep(0)
    cancelled = task.cancel()
    result = (await asyncio.gather(task, return_exceptions=True))[0]
    await setup.relay.finish()
    assert isinstance(result, asyncio.CancelledError) or result == "250 2.0.0 taken"
    return cancelled


async def test_cancelled_at_every_turn_of_the_loop(setup: Setup, sink: Sink) -> None:
    """Wherever it is cut: the backend either never saw the dot, or got our whole attention until its reply."""
    number = 0
    while await _cancelled_at(number, sink, setup):
        number += 1
    assert number > 10, "the transaction takes some turns of the loop"
    await sink.until(lambda sink: all(connection.end for connection in sink.connections))
    for connection in sink.connections:
        if connection.messages:
            assert connection.messages[0].content == MESSAGE
            assert connection.sent[-2 if connection.end == "quit" else -1].startswith(b"250")
    assert any(not connection.messages for connection in sink.connections)


# -- given up


async def test_abort_of_an_idle_transaction_quits(setup: Setup, sink: Sink) -> None:
    transaction = await setup.to()
    await transaction.abort()
    await transaction.abort()
    await sink.seen("end")
    assert sink.connections[0].verbs[-1] == "QUIT"
    with pytest.raises(ClientGone):
        await setup.deliver(transaction)


async def test_abort_before_anything(setup: Setup, sink: Sink) -> None:
    await setup.transaction().abort()
    assert sink.connections == []


async def test_abort_in_the_middle_of_the_content_cuts(both: Setup, sink: Sink, second: Sink) -> None:
    hold = Stall()
    sink.mid_content(1, hold)
    transaction = await both.to()
    sending = asyncio.create_task(both.deliver(transaction, BIG))
    await hold.reached.wait()
    await transaction.abort()
    with pytest.raises(ClientGone):
        await sending
    await sink.seen("end")
    assert sink.messages == []
    assert second.connections == [], "what was given up is not replayed"


async def test_abort_while_a_recipient_is_asked_about(both: Setup, sink: Sink, second: Sink) -> None:
    hold = Stall()
    sink.on("RCPT", hold)
    transaction = both.transaction()
    asking = asyncio.create_task(transaction.rcpt(ALICE))
    await hold.reached.wait()
    await transaction.abort()
    assert str(await asking) == DOWN
    assert second.connections == []


async def test_a_spool_that_cannot_be_read_delivers_nothing(
    setup: Setup, sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    transaction = await setup.to()
    with spooled(MESSAGE) as content:

        def lost() -> object:
            yield MESSAGE[:10]
            raise SpoolLost("spool file ends at octet 10")

        monkeypatch.setattr(content, "chunks", lost)
        with pytest.raises(SpoolLost):
            await transaction.deliver(content, setup.gone)
    await sink.seen("end")
    assert sink.messages == []


async def test_deliver_wants_a_recipient_and_happens_once(setup: Setup, sink: Sink) -> None:
    sink.once("RCPT", b"550 5.1.1 unknown")
    transaction = setup.transaction()
    await transaction.rcpt(ALICE)
    with pytest.raises(ValueError, match="no recipient"):
        await setup.deliver(transaction)
    await transaction.rcpt(BOB)
    assert await setup.deliver(transaction) == "250 2.0.0 taken"
    with pytest.raises(ValueError, match="sent already"):
        await setup.deliver(transaction)


# -- any message


@settings(max_examples=30)
@pytest.mark.parametrize("offered", [EXTENSIONS, CHUNKING], ids=["data", "bdat"])
@given(
    st.lists(
        st.lists(st.sampled_from([b".", b"..", b"a", b"\x00", b"\xff", b" ", b"MAIL FROM:<>"]), max_size=5), max_size=8
    )
)
def test_any_message_passes_unchanged(offered: tuple[bytes, ...], lines: list[list[bytes]]) -> None:
    octets = b"".join(b"".join(line) + b"\r\n" for line in lines)

    async def pass_on() -> None:
        async with Sink(extensions=offered) as sink:
            setup = Setup(sink)
            assert await setup.deliver(await setup.to(), octets) == "250 2.0.0 taken"
            assert sink.messages[0].content == octets
            assert sink.connections[0].verbs[:4] == ["EHLO", "MAIL", "RCPT", *opening(sink)]

    asyncio.run(pass_on())


def by_recipient(connection: Connection, line: bytes) -> bytes:
    return b"250 ok" if b"alice" in line else b"550 no"


async def test_only_those_taken_are_replayed(both: Setup, sink: Sink, second: Sink) -> None:
    sink.on("RCPT", by_recipient)
    transaction = both.transaction(SENDER)
    assert [(await transaction.rcpt(who)).code for who in (BOB, ALICE)] == [550, 250]
    await sink.stop()
    assert await both.deliver(transaction) == "250 2.0.0 taken"
    assert second.messages[0].rcpts == [b"RCPT TO:<alice@example.com>"]
