"""RCPT: the backend's own replies, and what is said where there are none."""

from __future__ import annotations

import asyncio

import pytest

from mailguard.commands import Parameter, Path, RcptTo
from tests.support.sink import CHUNKING, CLOSE, EXTENSIONS, RESET, Connection, Sink, Stall
from tests.unit.relay.conftest import ALICE, BOB, CAROL, Setup, mail_from

DOWN = "451 4.3.0 Mail server not reachable, try again later"


async def test_nothing_is_sent_before_the_first_recipient(setup: Setup, sink: Sink) -> None:
    setup.transaction()
    await asyncio.sleep(0)
    assert sink.connections == []


async def test_mail_and_first_recipient_come_in_one_packet_under_the_clients_name(setup: Setup, sink: Sink) -> None:
    transaction = setup.transaction(mail_from("s@example.org", SIZE=b"100", BODY=b"8BITMIME"))
    assert str(await transaction.rcpt(ALICE)) == "250 2.1.5 recipient ok"
    connection = sink.connections[0]
    assert connection.proxied is not None
    assert (connection.proxied.source, connection.proxied.source_port) == ("198.18.1.10", 40000)
    assert (connection.proxied.destination, connection.proxied.destination_port) == ("127.0.0.1", 25)
    assert connection.commands == [
        b"EHLO client.example.org\r\n",
        b"MAIL FROM:<s@example.org> SIZE=100 BODY=8BITMIME\r\n",
        b"RCPT TO:<alice@example.com>\r\n",
    ]
    assert transaction.backend == sink.address


async def test_pipelining_only_where_it_is_offered() -> None:
    """A sink that answers MAIL only when asked shows whether RCPT was there already."""
    for offered in (True, False):
        async with Sink(extensions=EXTENSIONS if offered else ()) as sink:
            hold = Stall()
            sink.once("MAIL", hold, b"250 2.1.0 ok")
            asking = asyncio.create_task(Setup(sink).transaction().rcpt(ALICE))
            await hold.reached.wait()
            seen = b"RCPT" in sink.connections[0].received
            hold.release()
            assert (await asking).code == 250
            assert seen is offered


async def test_without_the_proxy_header_we_are_ourselves() -> None:
    async with Sink(proxy=False) as sink:
        await Setup(sink, proxy=False).to(ALICE)
        assert sink.commands[0] == b"EHLO mx.example.com\r\n"


async def test_paths_reach_the_backend_octet_for_octet(sink: Sink) -> None:
    sink.extensions = CHUNKING
    transaction = Setup(sink).transaction(mail_from("grü@example.org", SMTPUTF8=None))
    odd = Path(b'"a b"', b"c.example"), Path("wéird".encode(), "exämple.org".encode()), Path(b"postmaster")
    for path in odd:
        await transaction.rcpt(RcptTo(path, (Parameter("NOTIFY", b"NEVER"),)))
    assert sink.commands[1:] == [
        "MAIL FROM:<grü@example.org> SMTPUTF8\r\n".encode(),
        b'RCPT TO:<"a b"@c.example> NOTIFY=NEVER\r\n',
        "RCPT TO:<wéird@exämple.org> NOTIFY=NEVER\r\n".encode(),
        b"RCPT TO:<postmaster> NOTIFY=NEVER\r\n",
    ]


REPLIES = [
    (b"250 Accepted", "250 2.0.0 Accepted"),
    (b"251 2.1.5 will forward", "251 2.1.5 will forward"),
    (b"550 5.1.1 unknown user", "550 5.1.1 unknown user"),
    (b"550-no such\r\n550 user", "550 5.0.0 no such user"),
    (b"452 4.2.2 full", "452 4.2.2 full"),
    (b"553 \xffno", "553 5.0.0 ?no"),
]


@pytest.mark.parametrize(("said", "ours"), REPLIES)
async def test_the_backends_reply_is_ours(setup: Setup, sink: Sink, said: bytes, ours: str) -> None:
    sink.on("RCPT", said)
    assert str(await setup.transaction().rcpt(ALICE)) == ours


@pytest.mark.parametrize(
    "steps",
    [
        (b"421 4.3.2 going down",),
        (CLOSE,),
        (RESET,),
        (b"nonsense",),
        (b"354 go on",),
        (b"221 bye",),
        (b"250-endless\r\n" * 101,),
        (b"250 " + b"x" * 3000,),
        (b"250-one\r\n550 two",),
        (b"25", CLOSE),
    ],
    ids=lambda steps: str(steps[0])[:20],
)
async def test_what_is_no_reply_is_a_451(setup: Setup, sink: Sink, steps: tuple[bytes, ...]) -> None:
    sink.on("RCPT", *steps)
    ours = await setup.transaction().rcpt(ALICE)
    assert str(ours) == DOWN
    assert sink.address in ours.cause


async def test_a_stalled_backend_is_a_451_in_time(sink: Sink) -> None:
    sink.on("RCPT", Stall())
    ours = await Setup(sink, backend_reply_timeout=0.05).transaction().rcpt(ALICE)
    assert str(ours) == DOWN
    assert "no answer in time" in ours.cause
    await sink.seen("end")


async def test_some_are_refused_the_others_get_it(setup: Setup, sink: Sink) -> None:
    def choose(connection: Connection, line: bytes) -> bytes:
        return b"550 5.1.1 unknown" if b"bob" in line else b"250 2.1.5 ok"

    sink.on("RCPT", choose)
    transaction = setup.transaction()
    assert [(await transaction.rcpt(who)).code for who in (ALICE, BOB, CAROL)] == [250, 550, 250]
    assert await setup.deliver(transaction) == "250 2.0.0 taken"
    assert sink.messages[0].rcpts == [b"RCPT TO:<alice@example.com>", b"RCPT TO:<carol@example.com>"]


@pytest.mark.parametrize("extensions", [EXTENSIONS, ()], ids=["pipelined", "in turn"])
async def test_a_refused_mail_answers_every_recipient(extensions: tuple[bytes, ...]) -> None:
    async with Sink(extensions=extensions) as sink:
        sink.on("MAIL", b"550 5.1.8 sender's domain does not exist")
        transaction = Setup(sink).transaction()
        for who in (ALICE, BOB):
            assert str(await transaction.rcpt(who)) == "550 5.1.8 sender's domain does not exist"
        await sink.seen("end")
        assert len(sink.connections) == 1
        assert sink.connections[0].end == "quit"


async def test_a_mail_refused_by_one_who_then_closes(both: Setup, sink: Sink, second: Sink) -> None:
    """Exim's ``drop``: the refusal is the answer, though none to the pipelined RCPT ever comes."""
    sink.on("MAIL", b"550 5.7.1 go away", CLOSE)
    assert str(await both.transaction().rcpt(ALICE)) == "550 5.7.1 go away"
    assert second.connections == []


async def test_a_recipient_refused_by_one_who_then_closes(setup: Setup, sink: Sink) -> None:
    sink.once("RCPT", b"550 5.7.1 go away", CLOSE)
    transaction = setup.transaction()
    assert str(await transaction.rcpt(ALICE)) == "550 5.7.1 go away"
    await sink.seen("end")
    assert (await transaction.rcpt(BOB)).code == 250
    assert await setup.deliver(transaction) == "250 2.0.0 taken"
    assert sink.messages[0].rcpts == [b"RCPT TO:<bob@example.com>"]


async def test_a_mail_refused_for_now(setup: Setup, sink: Sink) -> None:
    sink.on("MAIL", b"451 greylisted")
    assert str(await setup.transaction().rcpt(ALICE)) == "451 4.0.0 greylisted"


# -- several backends


REFUSALS = [
    ("connect", (b"554 5.3.2 not you",)),
    ("connect", (b"421 4.3.2 busy",)),
    ("connect", (CLOSE,)),
    ("connect", (b"hello",)),
    ("EHLO", (b"550 5.7.1 not by this name",)),
    ("EHLO", (RESET,)),
    ("MAIL", (b"421 4.3.2 busy",)),
    ("MAIL", (CLOSE,)),
    ("RCPT", (b"421 4.3.2 busy",)),
    ("RCPT", (CLOSE,)),
]


@pytest.mark.parametrize(("stage", "steps"), REFUSALS, ids=lambda value: str(value)[:24])
async def test_the_next_backend_takes_over(
    both: Setup, sink: Sink, second: Sink, stage: str, steps: tuple[bytes, ...]
) -> None:
    sink.on(stage, *steps)
    transaction = await both.to(ALICE)
    assert transaction.backend == second.address
    assert await both.deliver(transaction) == "250 2.0.0 taken"
    assert (len(sink.messages), len(second.messages)) == (0, 1)


@pytest.mark.parametrize(("stage", "steps"), REFUSALS, ids=lambda value: str(value)[:24])
async def test_no_backend_left_is_a_451(setup: Setup, sink: Sink, stage: str, steps: tuple[bytes, ...]) -> None:
    sink.on(stage, *steps)
    assert str(await setup.transaction().rcpt(ALICE)) == DOWN


async def test_a_dead_first_backend(both: Setup, sink: Sink, second: Sink) -> None:
    await sink.stop()
    assert await both.deliver(await both.to(ALICE)) == "250 2.0.0 taken"
    await second.stop()
    assert str(await both.transaction().rcpt(ALICE)) == DOWN


async def test_a_backends_refusal_of_a_recipient_is_final(both: Setup, sink: Sink, second: Sink) -> None:
    sink.on("RCPT", b"550 5.1.1 unknown user")
    assert (await both.transaction().rcpt(ALICE)).code == 550
    assert second.connections == []


async def test_one_without_what_the_message_needs_is_passed_over(second: Sink) -> None:
    async with Sink(extensions=(b"PIPELINING",)) as plain:
        setup = Setup(plain, second)
        transaction = await setup.to(ALICE, mail=mail_from("ü@example.org", SMTPUTF8=None))
        assert transaction.backend == second.address
        assert "MAIL" not in plain.connections[0].verbs


# -- a backend lost between two recipients


async def test_lost_between_recipients_the_envelope_is_spoken_again(both: Setup, sink: Sink, second: Sink) -> None:
    transaction = await both.to(ALICE)
    await sink.stop()
    assert (await transaction.rcpt(BOB)).code == 250
    assert second.commands == [
        b"EHLO client.example.org\r\n",
        b"MAIL FROM:<sender@example.org>\r\n",
        b"RCPT TO:<alice@example.com>\r\n",
        b"RCPT TO:<bob@example.com>\r\n",
    ]
    assert await both.deliver(transaction) == "250 2.0.0 taken"


async def test_an_idle_connection_closed_with_421_is_opened_again(setup: Setup, sink: Sink) -> None:
    """As Exim does after smtp_receive_timeout: it says 421, unasked, and closes."""
    sink.once("RCPT", b"250 2.1.5 ok", b"421 4.4.2 timeout", CLOSE)
    transaction = await setup.to(ALICE)
    await sink.seen("end")
    assert (await transaction.rcpt(BOB)).code == 250
    assert len(sink.connections) == 2


async def test_refused_when_spoken_again_is_a_451_for_the_new_one(both: Setup, sink: Sink, second: Sink) -> None:
    transaction = await both.to(ALICE)
    await sink.stop()
    second.once("RCPT", b"550 5.1.1 unknown")
    ours = await transaction.rcpt(BOB)
    assert (ours.code, ours.enhanced) == (451, "4.3.0")
    assert "refused in a replay: 550 5.1.1 unknown" in ours.cause


async def test_cancelled_in_the_middle_the_connection_is_cut(setup: Setup, sink: Sink) -> None:
    hold = Stall()
    sink.on("RCPT", hold)
    asking = asyncio.create_task(setup.transaction().rcpt(ALICE))
    await hold.reached.wait()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await sink.seen("end")
