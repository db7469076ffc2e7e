"""XCLIENT: its grammar, what it changes of a peer, and the session that begins anew (Postfix's XCLIENT_README)."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from mailguard.facts import ClientAddress, Known, ReverseDns, Unknown
from mailguard.replies import reply
from mailguard.smtp import grammar
from mailguard.smtp.admission import Slots, renamed
from mailguard.smtp.events import End, HeloGiven
from mailguard.smtp.identity import Identity
from mailguard.smtp.shared_counts import SharedCounts, Tally
from mailguard.smtp.story import Peer, Told
from mailguard.smtp.xclient import NAMES, Xclient, read_xclient
from tests.support.certificates import trusting
from tests.support.client import proxy_v1, proxy_v2
from tests.support.story import RecordingStory
from tests.unit.smtp.conftest import Server, settings
from tests.unit.smtp.test_tls import identity

LOOPBACK = ("127.0.0.0/8",)
OFFER = b"XCLIENT ADDR PORT NAME HELO PROTO LOGIN DESTADDR DESTPORT"


def address(text: str) -> ClientAddress:
    return ClientAddress(ip_address(text))


# --- the command ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        (b"ADDR=198.18.1.10", Xclient(address=address("198.18.1.10"))),
        (b"addr=IPV6:2001:db8::1", Xclient(address=address("2001:db8::1"))),
        (b"ADDR=ipv6:::ffff:198.18.1.10", Xclient(address=address("198.18.1.10"))),
        (b"ADDR=[UNAVAILABLE]", Xclient(address=None)),
        (b"ADDR=[unavailable] PORT=[Unavailable]", Xclient(address=None, port=None)),
        (b"PORT=65535 DESTPORT=0", Xclient(port=65535, local_port=0)),
        (b"DESTADDR=198.18.0.25", Xclient(local_address=address("198.18.0.25"))),
        (b"NAME=mail.example.org", Xclient(reverse=Known(ReverseDns("mail.example.org", confirmed=True)))),
        (b"NAME=[UNAVAILABLE]", Xclient(reverse=Known(ReverseDns("", confirmed=False)))),
        (b"HELO=mail.example.org PROTO=SMTP", Xclient(helo="mail.example.org", extended=False)),
        (b"PROTO=esmtp", Xclient(extended=True)),
        (b"HELO=+5B198.18.1.10+5D", Xclient(helo="[198.18.1.10]")),
        (b"HELO=[198.18.1.10]", Xclient(helo="[198.18.1.10]")),
        (b"HELO=[UNAVAILABLE] PROTO=[TEMPUNAVAIL]", Xclient(helo=None, extended=None)),
        (b"LOGIN=someone+40example.org", Xclient()),
        (b"  ADDR=198.18.1.10   PORT=1 ", Xclient(address=address("198.18.1.10"), port=1)),
    ],
)
def test_attributes(argument: bytes, said: Xclient) -> None:
    assert read_xclient(argument) == said


def test_a_name_that_is_unknown_for_now() -> None:
    assert isinstance(read_xclient(b"NAME=[TEMPUNAVAIL]").reverse, Unknown)


@pytest.mark.parametrize(
    "argument",
    [
        b"",
        b"   ",
        b"ADDR",
        b"ADDR=",
        b"=198.18.1.10",
        b"ADDR=198.18.1",
        b"ADDR=198.18.1.256",
        b"ADDR=2001:db8::1",
        b"ADDR=IPV6:198.18.1.10",
        b"ADDR=IPV6:fe80::1%eth0",
        b"ADDR=198.18.1.10 ADDR=198.18.1.11",
        b"addr=198.18.1.10 ADDR=198.18.1.11",
        b"ADDR=198.18.1.10 ADDRESS=198.18.1.11",
        b"NAME=a+0D+0ADATA",
        b"NAME=a+20b",
        b"NAME=a b",
        b"NAME=a+2",
        b"NAME=a+zz",
        b"NAME=a+4a",
        b"NAME=\xc3\xa9",
        b"NAME=+C3+A9.example",
        b"NAME=.example",
        b"NAME=" + b"a" * 256,
        b"HELO=a+00b",
        b"HELO=" + b"+61" * 256,
        b"HELO=a@b",
        b"PORT=65536",
        b"PORT=-1",
        b"PORT=1e3",
        b"PORT=000001",
        b"PORT=+D9+A1",
        b"PROTO=LMTP",
        b"DESTADDR=mx.example.com",
        b"X-LOGIN=x",
    ],
)
def test_what_is_outside_the_grammar_is_refused_as_a_whole(argument: bytes) -> None:
    with pytest.raises(grammar.Refused) as refused:
        read_xclient(argument)
    assert (refused.value.reply.code, refused.value.reply.enhanced) == (501, "5.5.4")


@given(st.binary(max_size=300))
def test_garbage_is_refused_and_never_raises_otherwise(argument: bytes) -> None:
    for prefix in (b"", b"ADDR=", b"NAME=", b"HELO=", b"PORT="):
        try:
            read_xclient(prefix + argument)
        except grammar.Refused as refused:
            assert refused.reply.code == 501


@given(st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=60))
def test_xtext_of_any_name_comes_out_as_it_was_or_not_at_all(name: str) -> None:
    encoded = "".join(f"+{ord(c):02X}" for c in name).encode()
    try:
        said = read_xclient(b"HELO=" + encoded)
    except grammar.Refused:
        return
    assert said.helo in (name, None)


# --- who it is then -------------------------------------------------------------------------------------------------

OWN = Peer(address("127.0.0.1"), 1234, (address("127.0.0.1"), 25))


def test_what_is_not_given_holds() -> None:
    assert renamed(OWN, Xclient(), OWN) == OWN


def test_all_is_given() -> None:
    reverse = Known(ReverseDns("c.example", confirmed=True))
    said = Xclient(address("198.18.1.10"), 99, reverse, "helo.example", False, address("198.18.0.25"), 2525)
    told = Told("helo.example", extended=False, reverse=reverse)
    assert renamed(OWN, said, OWN) == Peer(address("198.18.1.10"), 99, (address("198.18.0.25"), 2525), told)


def test_a_new_address_has_no_old_name_and_port_but_the_helo_holds() -> None:
    """The README wants HELO and PROTO sent before NAME and ADDR."""
    first = renamed(OWN, read_xclient(b"HELO=h.example PROTO=SMTP NAME=n.example PORT=7"), OWN)
    assert first.told == Told("h.example", extended=False, reverse=Known(ReverseDns("n.example", confirmed=True)))
    second = renamed(first, read_xclient(b"ADDR=198.18.1.10"), OWN)
    assert (str(second.address), second.port) == ("198.18.1.10", 0)
    assert second.told == Told("h.example", extended=False)


def test_unavailable_is_the_connections_own() -> None:
    there = replace(OWN, address=address("198.18.1.10"), port=5, local=(address("198.18.0.9"), 26))
    said = read_xclient(b"ADDR=[UNAVAILABLE] DESTADDR=[UNAVAILABLE] DESTPORT=[UNAVAILABLE] HELO=[UNAVAILABLE]")
    assert renamed(there, said, OWN) == replace(OWN, port=0)


def test_the_vanishing_of_the_connection_is_the_new_clients_too() -> None:
    assert renamed(OWN, read_xclient(b"ADDR=198.18.1.10"), OWN).gone is OWN.gone


def test_the_helo_that_was_told_goes_before_the_one_that_is_said() -> None:
    said = HeloGiven("relay.example", extended=True)
    assert Told().hello(said) == said
    assert Told("c.example").hello(said) == HeloGiven("c.example", extended=True)
    assert Told("c.example", extended=False).hello(said) == HeloGiven("c.example", extended=False)


# --- the session ----------------------------------------------------------------------------------------------------


async def over(story: RecordingStory) -> End:
    async with asyncio.timeout(20):
        await story.over.wait()
    return story.ends[-1].how


async def test_the_session_begins_anew_with_another_client(server: Server) -> None:
    await server.start(xclient_from=LOOPBACK)
    async with await server.connect() as client:
        offered = await client.command(b"EHLO relay.example")
        assert b"250-" + OFFER in offered
        assert (await client.command(b"XCLIENT ADDR=198.18.1.10 PORT=99 HELO=c.example NAME=c.example")) == [
            b"220 mx.example.com ESMTP mailguard"
        ]
        assert await client.code(b"MAIL FROM:<a@b>") == 503
        offered = await client.command(b"EHLO relay.example")
        assert not any(b"XCLIENT" in line for line in offered)
        assert (await client.message(b"a@b.example", [b"u@example.com"], b"x\r\n"))[-1][0].startswith(b"250 ")
        assert await client.code(b"QUIT") == 221
    relay, named = server.stories
    assert await over(relay) is End.RENAMED
    assert await over(named) is End.QUIT
    assert relay.log == ["connected", "greeting", "helo", "closed"]
    assert relay.ends[0].commands == 2
    assert named.log[:3] == ["connected", "greeting", "helo"]
    assert named.ends[0].errors == 1
    assert len(named.messages) == 1
    assert relay.peer is not None
    assert named.peer is not None
    assert (str(named.peer.address), named.peer.port) == ("198.18.1.10", 99)
    assert named.peer.local == relay.peer.local
    assert named.peer.told.helo == "c.example"
    assert isinstance(named.early_talker, Unknown)


async def test_nobody_waits_for_an_early_talker_behind_xclient(server: Server) -> None:
    server.make = lambda: RecordingStory(wait=0.1)
    await server.start(xclient_from=LOOPBACK)
    async with await server.connect() as client:
        await client.send(b"XCLIENT ADDR=198.18.1.10\r\nEHLO c\r\nNOOP\r\n")
        codes = [(await client.reply())[-1][:3] for _ in range(3)]
        assert codes == [b"220", b"250", b"250"]
    assert server.stories[0].early_talker == Known(False)
    assert isinstance(server.stories[1].early_talker, Unknown)


async def test_from_a_stranger_it_is_an_error(server: Server) -> None:
    await server.start(xclient_from=("198.18.7.0/24",))
    async with await server.connect() as client:
        assert not any(b"XCLIENT" in line for line in await client.command(b"EHLO c"))
        assert await client.command(b"XCLIENT ADDR=198.18.1.10") == [b"502 5.5.1 Command not implemented (T3STREF)"]
    (story,) = server.stories
    assert await over(story) is End.LOST
    assert story.ends[0].errors == 1


async def test_a_client_that_was_named_may_not_name_another(server: Server) -> None:
    await server.start(xclient_from=LOOPBACK)
    async with await server.connect() as client:
        assert await client.code(b"XCLIENT ADDR=198.18.1.10") == 220
        assert await client.code(b"XCLIENT ADDR=198.18.1.11") == 502


async def test_helo_first_and_the_address_in_a_command_of_its_own(server: Server) -> None:
    await server.start(xclient_from=LOOPBACK)
    async with await server.connect() as client:
        assert await client.code(b"XCLIENT HELO=c.example PROTO=SMTP") == 220
        assert await client.code(b"XCLIENT ADDR=198.18.1.10") == 220
    named = server.stories[2].peer
    assert named is not None
    assert (str(named.address), named.told) == ("198.18.1.10", Told("c.example", extended=False))


@pytest.mark.parametrize(
    ("trusted", "code"), [(("198.18.3.0/24",), 220), (LOOPBACK, 502)], ids=["the client of the header", "the proxy"]
)
async def test_behind_a_proxy_header_the_client_named_there_must_be_trusted(
    server: Server, trusted: tuple[str, ...], code: int
) -> None:
    await server.start(proxy_from=LOOPBACK, xclient_from=trusted)
    async with await server.connect(proxy=proxy_v2("198.18.3.1")) as client:
        assert await client.code(b"XCLIENT ADDR=198.18.1.10") == code


async def test_a_proxy_header_comes_first(server: Server) -> None:
    await server.start(proxy_from=LOOPBACK, xclient_from=LOOPBACK)
    async with await server.connect(proxy=b"XCLIENT ADDR=198.18.1.10\r\n", greeted=False) as client:
        assert (await client.reply())[0].startswith(b"421 4.3.0 PROXY protocol error")


async def test_in_a_transaction_it_is_out_of_order(server: Server) -> None:
    await server.start(xclient_from=LOOPBACK)
    async with await server.in_transaction() as client:
        assert await client.code(b"XCLIENT ADDR=198.18.1.10") == 503
        assert await client.code(b"RSET") == 250
        assert await client.code(b"XCLIENT ADDR=nowhere") == 501
        assert await client.code(b"MAIL FROM:<a@b>") == 250
    assert len(server.stories) == 1


async def test_slots_are_those_of_the_new_client(server: Server) -> None:
    counts = SharedCounts.alone()
    slots = Slots(settings(max_connections_per_client=1).limits, (), counts)
    await server.start(xclient_from=LOOPBACK, slots=slots)
    async with await server.connect() as one:
        assert await one.code(b"XCLIENT ADDR=198.18.1.10") == 220
        async with await server.connect() as other:  # the relay's own slot was given back
            assert (await other.command(b"XCLIENT ADDR=198.18.1.10"))[0].startswith(b"421 4.7.0 Too many connections")
            assert await other.rest() == b""
        async with await server.connect() as other:
            assert await other.code(b"XCLIENT ADDR=198.18.1.11") == 220
            assert await other.code(b"XCLIENT ADDR=198.18.1.12") == 502
    assert [await over(story) for story in server.stories if story.ends][:1] == [End.RENAMED]
    async with asyncio.timeout(20):
        while counts.total(Tally.CONNECTIONS):  # noqa: ASYNC110  the connections end by themselves
            await asyncio.sleep(0.01)
    assert not any(counts.client(ClientAddress.parse(f"198.18.1.{number}").client_key) for number in (10, 11, 12))


async def test_naming_the_same_client_again_takes_no_second_slot(server: Server) -> None:
    await server.start(xclient_from=("127.0.0.0/8", "198.18.1.0/24"), max_connections_per_client=1)
    async with await server.connect() as client:
        for _ in range(3):
            assert await client.code(b"XCLIENT ADDR=198.18.1.10") == 220


@pytest.mark.parametrize("stage", ["connected", "greeting"])
async def test_a_client_that_the_story_refuses(server: Server, stage: str) -> None:
    answers = iter([RecordingStory(), RecordingStory(answers={stage: reply("overloaded")})])
    server.make = lambda: next(answers)
    await server.start(xclient_from=LOOPBACK)
    async with await server.connect() as client:
        assert (await client.command(b"XCLIENT ADDR=198.18.1.10"))[0].startswith(b"421 4.3.2 ")
        assert await client.rest() == b""
    assert await over(server.stories[1]) is End.REFUSED


async def test_the_log_names_the_new_client(server: Server) -> None:
    await server.start(xclient_from=LOOPBACK)
    with capture_logs() as lines:
        async with await server.connect() as client:
            await client.code(b"XCLIENT ADDR=198.18.1.10")
            await client.code(b"BAD")
    assert [line["client"] for line in lines if line["event"] == "command refused"] == ["198.18.1.10"]


async def test_behind_xclient_in_plain_text_there_is_no_starttls(server: Server) -> None:
    """Who sits between relay and us may have said it, and the handshake would not make it unsaid."""
    await server.start(xclient_from=LOOPBACK, identity=identity())
    async with await server.connect() as client:
        assert await client.code(b"XCLIENT ADDR=198.18.1.10") == 220
        assert not any(b"STARTTLS" in line for line in await client.command(b"EHLO c"))
        assert await client.code(b"STARTTLS") == 502


async def test_xclient_in_tls(server: Server) -> None:
    shown: Identity = identity()
    await server.start(xclient_from=LOOPBACK, identity=shown)
    async with await server.connect() as client:
        await client.command(b"EHLO relay.example")
        await client.starttls(trusting())
        assert b"250-" + OFFER in await client.command(b"EHLO relay.example")
        assert await client.code(b"XCLIENT ADDR=198.18.1.10") == 220
        assert not any(b"STARTTLS" in line for line in await client.command(b"EHLO c"))
        assert await client.code(b"STARTTLS") == 503
        assert await client.code(b"QUIT") == 221
    relay, named = server.stories
    assert relay.tls is not None
    assert named.tls is None  # how the client came to the relay nobody knows


async def test_the_counts_begin_anew(server: Server) -> None:
    """A relay sends the mail of many over one connection; the errors of one are not the next one's."""
    await server.start(xclient_from=("127.0.0.0/8", "198.18.1.0/24"), max_errors=2)
    async with await server.connect() as client:
        for _ in range(4):
            assert [await client.code(b"BAD"), await client.code(b"BAD")] == [500, 500]
            assert await client.code(b"XCLIENT ADDR=198.18.1.10") == 220


async def test_the_header_and_the_command_name_one_after_the_other(server: Server) -> None:
    await server.start(proxy_from=LOOPBACK, xclient_from=("198.18.3.0/24",))
    async with await server.connect(proxy=proxy_v1("198.18.3.1", 7)) as client:
        assert await client.code(b"XCLIENT NAME=relay.example") == 220
        assert await client.code(b"XCLIENT ADDR=[UNAVAILABLE] PORT=8") == 220
    addresses = [(str(story.peer.address), story.peer.port) for story in server.stories if story.peer]
    assert addresses == [("198.18.3.1", 7), ("198.18.3.1", 7), ("198.18.3.1", 8)]


def test_ehlo_names_every_attribute() -> None:
    assert OFFER.decode().split()[1:] == list(NAMES)
