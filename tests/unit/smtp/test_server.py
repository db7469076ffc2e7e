"""The adapter to the network: time bounds, slots, PROXY, draining, clients that vanish, stories that fail."""

from __future__ import annotations

import asyncio
import logging
import re
import socket
from collections.abc import Awaitable, Callable
from ipaddress import ip_network
from itertools import pairwise

import pytest
from structlog.testing import capture_logs

from mailguard import metrics
from mailguard.config import Limits, Listener
from mailguard.facts import ClientAddress, Known, Unknown
from mailguard.journal.recorder import Recorder
from mailguard.net.local import BACKLOG
from mailguard.net.wire import READ_SIZE
from mailguard.replies import reply
from mailguard.smtp.admission import Slots
from mailguard.smtp.events import End, EndOfData
from mailguard.smtp.listener import SmtpListener
from mailguard.smtp.server import PIPELINED
from mailguard.smtp.shared_counts import SharedCounts, Tally
from tests.support.client import Client, proxy_v1, proxy_v2, proxy_v2_local
from tests.support.story import RecordingStory
from tests.unit.smtp.conftest import Server, settings

MESSAGE = b"Subject: x\r\n\r\n.dot\r\n"
STUFFED = b"Subject: x\r\n\r\n..dot\r\n"
REFERENCE = rb" \(\w{9}\)"
WHOLE_STORY = ["connected", "greeting", "helo", "mail", "rcpt", "data", "content", "end_of_data", "closed"]
LOOPBACK = ("127.0.0.0/8",)


async def soon(event: asyncio.Event) -> None:
    async with asyncio.timeout(20):
        await event.wait()


async def ended(story: RecordingStory) -> End:
    await soon(story.over)
    assert len(story.ends) == 1
    return story.ends[0].how


def counted(end: End) -> float:
    return metrics.CONNECTIONS.labels(end.value)._value.get()


async def test_a_message(server: Server) -> None:
    await server.start()
    before = counted(End.QUIT)
    async with await server.connect() as client:
        assert (await client.command(b"EHLO c.example")) == [
            b"250-mx.example.com",
            b"250-PIPELINING",
            b"250-ENHANCEDSTATUSCODES",
            b"250-CHUNKING",
            b"250-LIMITS RCPTMAX=100 MAILMAX=1000",
            b"250-SIZE 1048576",
            b"250-8BITMIME",
            b"250-SMTPUTF8",
            b"250 DSN",
        ]
        replies = await client.message(b"a@b.example", [b"u@example.com"], MESSAGE)
        assert [lines[-1][:3] for lines in replies] == [b"250", b"250", b"354", b"250"]
        assert await client.command(b"QUIT") == [b"221 2.0.0 mx.example.com closing connection"]
        assert await client.rest() == b""
    story = server.stories[0]
    assert await ended(story) is End.QUIT
    taken = story.messages[0]
    assert (taken.mail, taken.rcpts, taken.content) == (
        b"MAIL FROM:<a@b.example>",
        [b"RCPT TO:<u@example.com>"],
        MESSAGE,
    )
    assert taken.end == EndOfData(len(MESSAGE))
    assert story.log == WHOLE_STORY
    assert story.ends[0].commands == 5
    assert counted(End.QUIT) == before + 1


async def test_the_peer(server: Server) -> None:
    listener = await server.start()
    async with await server.connect() as client:
        name = client.writer.get_extra_info("sockname")
    peer = server.stories[0].peer
    assert peer is not None
    assert (str(peer.address), peer.port) == name[:2]
    assert (str(peer.local[0]), peer.local[1]) == ("127.0.0.1", listener.port)
    assert listener.address == f"127.0.0.1:{listener.port}"


async def test_a_large_message_is_handed_on_in_pieces(server: Server) -> None:
    server.make = lambda: RecordingStory(pause={"content": held})
    held = asyncio.Event()
    await server.start()
    content = (b"x" * 78 + b"\r\n") * 10_000
    async with await server.in_transaction() as client:
        assert await client.code(b"DATA") == 354
        sending = asyncio.create_task(client.send(content + b".\r\nQUIT\r\n"))
        await soon(server.stories[0].at("content"))
        held.set()
        await sending
        assert (await client.reply())[0].startswith(b"250 ")
    story = server.stories[0]
    assert story.messages[0].content == content
    assert max(map(len, story.chunks)) <= 65536 + 5


async def test_memory_is_bounded_while_the_story_is_busy(server: Server) -> None:
    """The client cannot send on once the reader's and the kernel's buffers are full."""
    server.make = lambda: RecordingStory(pause={"mail": asyncio.Event()})
    listener = await server.start()
    async with await server.connect() as client:
        await client.send(b"EHLO c\r\nMAIL FROM:<>\r\n")
        await soon(server.stories[0].at("mail"))
        client.writer.transport.set_write_buffer_limits(0)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1.0):
                for _ in range(400):
                    client.writer.write(b"NOOP " + b"x" * 65536)
                    await client.writer.drain()
        connection = next(iter(listener._connections.values()))
        assert len(connection._received) <= 2 * READ_SIZE + 256 * 1024
        client.reset()


async def test_a_pipelined_group_is_answered_in_one_write(server: Server) -> None:
    await server.start()
    async with await server.connect() as client:
        await client.send(b"EHLO c\r\n")
        await client.reply()
        await client.send(b"MAIL FROM:<a@b>\r\nRCPT TO:<u@example.com>\r\nRCPT TO:<v@elsewhere>\r\nDATA\r\n")
        assert [(await client.reply())[0][:3] for _ in range(4)] == [b"250", b"250", b"550", b"354"]


async def test_our_own_refusals_end_in_the_reference(server: Server) -> None:
    await server.start()
    async with await server.connect() as client:
        assert await client.command(b"BAD") == [b"500 5.5.2 Command not recognised (T3STREF)"]
        assert await client.command(b"DATA") == [b"503 5.5.1 Bad sequence of commands: EHLO or HELO first (T3STREF)"]


async def test_our_own_refusals_are_logged_under_their_reference(server: Server) -> None:
    await server.start()
    with capture_logs() as lines:
        async with await server.connect() as client:
            await client.command(b"EHLO c")
            await client.command(b"MAIL FROM:<a@b.example>")
            await client.command(b"RCPT TO:<a b@example.com>")
    [line] = [line for line in lines if line["event"] == "command refused"]
    assert line["reply"].startswith("501 5.1.3 Bad address: ")
    assert (line["ref"], line["client"], line["refused_by"]) == ("T3STREF", "127.0.0.1", "mailguard")


async def test_the_log_of_refusals_is_bounded_but_for_the_last(server: Server) -> None:
    await server.start(max_errors=2)
    with capture_logs() as lines:
        async with await server.in_transaction() as client:
            for _ in range(99):
                await client.command(b"RCPT TO:<u@example.com>")
            assert await client.code(b"RCPT TO:<u@example.com>") == 452
            for _ in range(10):
                assert await client.code(b"RCPT TO:<u@example.com>") == 452
            assert [await client.code(b"BAD") for _ in range(3)] == [500, 500, 421]
    logged = [line["reply"][:3] for line in lines if line["event"] == "command refused"]
    assert logged == ["452", "452", "421"]


async def test_a_timeout_is_logged_under_its_reference(server: Server) -> None:
    await server.start(command_timeout=0.1)
    with capture_logs() as lines:
        async with await server.connect() as client:
            assert (await client.rest()).endswith(b"(T3STREF)\r\n")
    [line] = [line for line in lines if line["event"] == "command refused"]
    assert (line["reply"][:9], line["ref"]) == ("421 4.4.2", "T3STREF")


# --- time -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", ["command_timeout", "session_timeout"])
@pytest.mark.parametrize("so_far", [b"", b"EHLO c\r\nNOO"])
async def test_a_silent_client_gets_421(server: Server, limit: str, so_far: bytes) -> None:
    await server.start(**{limit: 0.3})
    async with await server.connect() as client:
        await client.send(so_far)
        assert (await client.rest()).endswith(b"421 4.4.2 Timeout waiting for the client (T3STREF)\r\n")
    assert await ended(server.stories[0]) is End.TIMEOUT


async def test_a_client_that_goes_on_behind_our_last_reply_is_cut(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mailguard.smtp.server.MAX_LINGER", 100_000)
    await server.start(command_timeout=0.1, close_timeout=60.0)
    async with await server.connect() as client:
        assert (await client.rest()).endswith(b"421 4.4.2 Timeout waiting for the client (T3STREF)\r\n")
        with pytest.raises(ConnectionError):
            while True:
                await client.send(b"NOOP\r\n" * 10_000)


async def test_dribbled_octets_do_not_extend_a_command(server: Server) -> None:
    await server.start(command_timeout=0.5)
    async with await server.connect() as client:

        async def dribble() -> None:
            while True:
                await client.send(b"x")
                await asyncio.sleep(0.05)

        task = asyncio.create_task(dribble())
        assert (await client.rest()).startswith(b"421 4.4.2 ")
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_commands_without_end_do_not_extend_a_session(server: Server) -> None:
    """Recipients over the bound are no errors, so only the clock ends them."""
    await server.start(session_timeout=0.5, max_recipients=100)
    async with await server.in_transaction() as client:

        async def flood() -> None:
            while True:
                await client.send(b"RCPT TO:<u@example.com>\r\n" * 1000)

        task, codes = asyncio.create_task(flood()), [b""]
        async with asyncio.timeout(20):
            while codes[-1] != b"421 4.4.2":
                codes.append((await client.reply())[0][:9])
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert set(codes[1:-1]) == {b"250 2.1.5", b"452 4.5.3"}


async def test_pipelined_commands_leave_others_their_turn(server: Server) -> None:
    many = 10_000
    await server.start(max_recipients=many)
    async with await server.in_transaction() as client:
        recipients, steps = server.stories[0].rcpts, []

        async def look() -> None:
            while len(recipients) < many:
                steps.append(len(recipients))
                await asyncio.sleep(0)

        looking = asyncio.create_task(look())
        line = b"RCPT TO:<u@example.com>\r\n"
        client.writer.write(line * (many - 1))
        for _ in range(many - 1):
            assert (await client.reply())[0].startswith(b"250 ")
        async with asyncio.timeout(20):
            await looking
        steps.append(many)
        assert max(after - before for before, after in pairwise(steps)) <= PIPELINED // len(line) + 1


@pytest.mark.parametrize("limits", [{"data_timeout": 0.3}, {"min_data_rate": 10**9, "min_data_rate_grace": 0.3}])
async def test_slow_content_is_cut_with_421(server: Server, limits: dict[str, float]) -> None:
    await server.start(**limits)
    async with await server.in_transaction() as client:
        assert await client.code(b"DATA") == 354
        await client.send(b"hello\r\n")
        assert (await client.rest()).startswith(b"421 4.4.2 ")
    assert await ended(server.stories[0]) is End.TIMEOUT
    assert server.stories[0].messages == []


async def test_the_time_that_the_story_takes_is_not_the_clients(server: Server) -> None:
    held = asyncio.Event()
    server.make = lambda: RecordingStory(pause={"end_of_data": held})
    await server.start(command_timeout=1.5, session_timeout=2.0, data_timeout=1.5)
    async with await server.in_transaction() as client:
        assert await client.code(b"DATA") == 354
        await client.send(b".\r\n")
        await soon(server.stories[0].at("end_of_data"))
        await asyncio.sleep(2.2)
        held.set()
        assert (await client.reply())[0].startswith(b"250 ")
        assert await client.code(b"NOOP") == 250


# --- the greeting ---------------------------------------------------------------------------------------------------


async def test_without_a_wait_early_talk_is_unknown(server: Server) -> None:
    await server.start()
    async with await server.connect():
        assert isinstance(server.stories[0].early_talker, Unknown)


async def test_an_early_talker_is_seen_and_heard(server: Server) -> None:
    server.make = lambda: RecordingStory(wait=20.0)
    await server.start()
    async with await server.connect(greeted=False) as client:
        await client.send(b"EHLO c\r\n")
        assert (await client.reply())[0].startswith(b"220 ")
        assert (await client.reply())[0].startswith(b"250-")
    assert server.stories[0].early_talker == Known(True)


async def test_early_talk_behind_a_proxy_header(server: Server) -> None:
    server.make = lambda: RecordingStory(wait=20.0)
    await server.start(proxy_from=LOOPBACK)
    async with await server.connect(proxy=proxy_v1("198.18.1.10") + b"EHLO c\r\n"):
        assert server.stories[0].early_talker == Known(True)


async def test_a_client_that_waits_is_no_early_talker(server: Server) -> None:
    server.make = lambda: RecordingStory(wait=0.2)
    await server.start()
    async with await server.connect():
        assert server.stories[0].early_talker == Known(False)


async def test_a_client_that_leaves_before_the_greeting(server: Server) -> None:
    server.make = lambda: RecordingStory(wait=20.0)
    await server.start()
    client = await server.connect(greeted=False)
    await client.close()
    await wait_for_story(server)
    assert await ended(server.stories[0]) is End.LOST


async def wait_for_story(server: Server) -> None:
    await soon(server.begun)


@pytest.mark.parametrize(("stage", "code"), [("connected", b"421 "), ("greeting", b"554 ")])
async def test_a_story_that_does_not_let_in(server: Server, stage: str, code: bytes) -> None:
    refusal = reply("too_many_connections") if stage == "connected" else reply("policy_reject")
    server.make = lambda: RecordingStory(answers={stage: refusal})
    await server.start()
    async with await server.connect(greeted=False) as client:
        assert (await client.rest()).startswith(code)
    assert await ended(server.stories[0]) is End.REFUSED


# --- PROXY ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("header", [proxy_v1("198.18.1.10", 4711), proxy_v2("198.18.1.10", 4711)])
async def test_a_proxied_client(server: Server, header: bytes) -> None:
    await server.start(proxy_from=LOOPBACK)
    async with await server.connect(proxy=header):
        peer = server.stories[0].peer
        assert peer is not None
        assert (str(peer.address), peer.port, peer.local[1]) == ("198.18.1.10", 4711, 25)


@pytest.mark.parametrize("header", [b"PROXY UNKNOWN\r\n", proxy_v2_local()])
async def test_a_peer_that_speaks_for_itself(server: Server, header: bytes) -> None:
    await server.start(proxy_from=LOOPBACK)
    async with await server.connect(proxy=header):
        peer = server.stories[0].peer
        assert peer is not None
        assert str(peer.address) == "127.0.0.1"


@pytest.mark.parametrize("first", [b"EHLO c\r\n", b"", b"PROXY TCP4 x"])
async def test_a_trusted_peer_without_a_header_is_turned_away(server: Server, first: bytes) -> None:
    await server.start(proxy_from=LOOPBACK, proxy_header_timeout=0.2)
    async with await server.connect(greeted=False, proxy=first) as client:
        assert re.fullmatch(rb"421 4\.3\.0 PROXY protocol error" + REFERENCE, (await client.reply())[0])
    assert server.stories == []


@pytest.mark.parametrize("header", [proxy_v1("198.18.1.10"), proxy_v2("198.18.1.10")])
async def test_a_stranger_that_sends_a_header(server: Server, header: bytes) -> None:
    await server.start(proxy_from=("198.18.0.0/15",))
    async with await server.connect(proxy=header) as client:
        assert (await client.reply())[0].startswith(b"500 5.5.2 ")
        peer = server.stories[0].peer
        assert peer is not None
        assert peer.address == ClientAddress.parse("127.0.0.1")
    assert "helo" not in server.stories[0].log


async def test_an_ipv6_listener(server: Server) -> None:
    listener = await server.start(host="[::1]")
    assert listener.address == f"[::1]:{listener.port}"
    async with await Client.connect("::1", listener.port) as client:
        assert (await client.reply())[0].startswith(b"220 ")
    peer = server.stories[0].peer
    assert peer is not None
    assert peer.address.literal == "[IPv6:::1]"


# --- slots ----------------------------------------------------------------------------------------------------------


async def test_connections_in_all_are_bounded(server: Server) -> None:
    await server.start(max_connections=2)
    first, second = await server.connect(), await server.connect()
    async with await server.connect(greeted=False) as third:
        assert re.fullmatch(rb"421 4\.3\.2 Too busy, try again later" + REFERENCE + b"\r\n", await third.rest())
    for client in (first, second):
        await client.command(b"QUIT")
        await client.rest()
        await client.close()
    await (await server.connect()).close()


async def test_connections_of_one_client_are_bounded(server: Server) -> None:
    await server.start(proxy_from=LOOPBACK, max_connections_per_client=1)
    async with await server.connect(proxy=proxy_v1("198.18.1.10")):
        with capture_logs() as lines:
            async with await server.connect(greeted=False, proxy=proxy_v2("198.18.1.10")) as other:
                told = (await other.rest()).decode()
        found = re.fullmatch(r"(421 4\.7\.0 Too many connections from your address) \((\w{9})\)\r\n", told)
        assert found
        [line] = lines
        assert (line["event"], line["reply"], line["ref"], line["client"], line["refused_by"]) == (
            *("connection", found[1], found[2]),
            *("198.18.1.10", "mailguard"),
        )
        await (await server.connect(proxy=proxy_v1("198.18.1.11"))).close()
        await (await server.connect(proxy=proxy_v1("2001:db8::1"))).close()


async def test_strangers_behind_a_proxy_leave_the_reserve_to_our_own_relays(server: Server) -> None:
    limits = Limits(max_connections=4, reserved_share=50)
    slots = Slots(limits, (ip_network("203.0.113.0/28"),))
    await server.start(proxy_from=LOOPBACK, slots=slots)
    before = metrics.CONNECTIONS_REFUSED.labels("slots")._value.get()
    strangers = [await server.connect(proxy=proxy_v1(f"198.18.1.{number}")) for number in (20, 21)]
    async with await server.connect(greeted=False, proxy=proxy_v1("198.18.1.22")) as refused:
        assert (await refused.rest()).startswith(b"421 4.3.2 ")
    relays = [await server.connect(proxy=proxy_v1("203.0.113.1")) for _ in range(2)]
    async with await server.connect(greeted=False, proxy=proxy_v1("203.0.113.1")) as refused:
        assert (await refused.rest()).startswith(b"421 4.3.2 ")
    assert metrics.CONNECTIONS_REFUSED.labels("slots")._value.get() == before + 2
    for client in (*strangers, *relays):
        await client.close()


async def test_overloaded_no_story_is_told_to_strangers(server: Server) -> None:
    slots = Slots(Limits(), overloaded=lambda: True)
    await server.start(proxy_from=LOOPBACK, slots=slots)
    async with await server.connect(greeted=False, proxy=proxy_v1("198.18.1.23")) as refused:
        assert (await refused.rest()).startswith(b"421 4.3.2 Too busy, try again later")
    assert server.stories == [], "so nobody is asked about it"
    await (await server.connect(proxy=proxy_v1("127.0.0.1"))).close()


async def test_a_flood_of_refusals_is_not_written_down_one_by_one(server: Server) -> None:
    listener = await server.start(max_connections=1)
    listener.recorder = Recorder(most=2)
    async with await server.connect():
        with capture_logs() as lines:
            told = []
            for _ in range(5):
                async with await server.connect(greeted=False) as refused:
                    told.append(await refused.rest())
    assert [line["event"] for line in lines] == ["connection"] * 2
    assert all(re.search(REFERENCE, reply) for reply in told[:2])
    assert told[2:] == [b"421 4.3.2 Too busy, try again later\r\n"] * 3, "nobody is told a reference that leads nowhere"


async def test_nothing_is_made_for_who_is_turned_away_at_the_door(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    listener = await server.start(max_connections=1)
    before = counted(End.REFUSED)
    async with await server.connect():
        monkeypatch.setattr(listener, "connection", None)
        async with await server.connect(greeted=False) as refused:
            assert (await refused.rest()).startswith(b"421 4.3.2 ")
    assert counted(End.REFUSED) == before + 1


async def test_a_slot_comes_back_from_a_connection_that_is_cancelled_before_it_began(server: Server) -> None:
    counts = SharedCounts.alone()
    listener = await server.start(slots=Slots(Limits(), (), counts))
    task = asyncio.create_task(asyncio.sleep(60))
    listener.entered(listener.connection(None, listener.slots.client(ClientAddress.parse("198.18.1.30"))), task)
    assert counts.total(Tally.CONNECTIONS) == 1
    task.cancel()
    await asyncio.wait({task})
    await asyncio.sleep(0)
    assert counts.total(Tally.CONNECTIONS) == 0


async def test_slots_are_shared_between_listeners(server: Server) -> None:
    slots = Slots(Limits(max_connections=1))
    await server.start(slots=slots)
    other = await server.start(slots=slots)
    async with await server.connect(), await Client.connect("127.0.0.1", other.port) as client:
        assert (await client.rest()).startswith(b"421 4.3.2 ")


# --- draining -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("so_far", [[], [b"EHLO c"], [b"EHLO c", b"MAIL FROM:<>", b"RSET"]])
async def test_draining_ends_idle_sessions_at_once(server: Server, so_far: list[bytes]) -> None:
    listener = await server.start()
    async with await server.connect() as client:
        for line in so_far:
            await client.command(line)
        draining = asyncio.create_task(listener.drain(20.0))
        assert await client.rest() == b"421 4.3.2 Service closing, try again later (T3STREF)\r\n"
    await draining
    assert await ended(server.stories[0]) is End.SHUTDOWN
    with pytest.raises(OSError):
        await Client.connect("127.0.0.1", listener.port)


async def test_draining_lets_a_message_end(server: Server) -> None:
    listener = await server.start()
    async with await server.in_transaction() as client:
        draining = asyncio.create_task(listener.drain(20.0))
        await asyncio.sleep(0.05)
        assert await client.code(b"DATA") == 354
        await client.send(STUFFED + b".\r\nMAIL FROM:<>\r\n")
        assert (await client.reply())[0].startswith(b"250 ")
        assert await client.rest() == b"421 4.3.2 Service closing, try again later (T3STREF)\r\n"
    await draining
    assert len(server.stories[0].messages) == 1
    assert await ended(server.stories[0]) is End.SHUTDOWN


async def test_draining_is_bounded(server: Server) -> None:
    server.make = lambda: RecordingStory(pause={"data": asyncio.Event()})
    listener = await server.start()
    async with await server.in_transaction() as client:
        await client.send(b"DATA\r\n")
        await soon(server.stories[0].at("data"))
        async with asyncio.timeout(20):
            await listener.drain(0.1)
        assert await client.rest() == b"421 4.3.2 Service closing, try again later (T3STREF)\r\n"
    assert await ended(server.stories[0]) is End.SHUTDOWN


async def test_draining_during_the_greeting_wait(server: Server) -> None:
    server.make = lambda: RecordingStory(wait=20.0)
    listener = await server.start()
    async with await server.connect(greeted=False) as client:
        await wait_for_story(server)
        await soon(server.stories[0].at("connected"))
        await asyncio.sleep(0.05)
        await listener.drain(20.0)
        assert (await client.rest()).startswith(b"421 4.3.2 ")
    assert await ended(server.stories[0]) is End.SHUTDOWN


async def test_who_waits_in_the_kernel_hears_421_of_the_last_to_drain(server: Server) -> None:
    listener, loop = await server.start(), asyncio.get_running_loop()
    waiting = [socket.create_connection(("127.0.0.1", listener.port)) for _ in range(20)]  # the loop does not run yet
    try:
        draining = asyncio.create_task(listener.drain(20.0, last=True))
        for client in waiting:
            client.setblocking(False)
            async with asyncio.timeout(20):
                assert (await loop.sock_recv(client, 512)).startswith(b"421 4.3.2 ")
        await draining
    finally:
        for client in waiting:
            client.close()


async def test_draining_resets_no_client_whose_proxy_header_is_under_way(server: Server) -> None:
    listener, loop = await server.start(proxy_from=LOOPBACK), asyncio.get_running_loop()
    with socket.create_connection(("127.0.0.1", listener.port)) as client:
        client.setblocking(False)
        await loop.sock_sendall(client, b"PROXY TCP4 198.18.1.10")
        await asyncio.sleep(0.05)
        draining = asyncio.create_task(listener.drain(20.0))
        assert (await loop.sock_recv(client, 4096)).startswith(b"421 4.3.2 ")
        for octets in (b" 198.18.0.1", b" 4711 25\r\n"):
            await loop.sock_sendall(client, octets)  # BrokenPipeError, were the first of them answered by a reset
            await asyncio.sleep(0.05)
        assert await loop.sock_recv(client, 4096) == b""
    await draining


# --- clients that vanish --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["close", "reset"])
async def test_a_client_that_vanishes_between_commands(server: Server, how: str) -> None:
    await server.start()
    client = await server.in_transaction()
    client.reset() if how == "reset" else await client.close()
    story = server.stories[0]
    assert await ended(story) is End.LOST
    assert story.peer is not None
    assert story.peer.gone.is_set()


@pytest.mark.parametrize("how", ["close", "reset"])
async def test_of_a_client_that_vanishes_nothing_is_left(
    server: Server, how: str, none_left: Callable[[], Awaitable[None]]
) -> None:
    await server.start()
    client = await server.in_transaction()
    client.reset() if how == "reset" else await client.close()
    assert await ended(server.stories[0]) is End.LOST
    await none_left()


@pytest.mark.parametrize("how", ["close", "reset"])
async def test_a_client_that_vanishes_behind_the_final_dot_cancels_nothing(server: Server, how: str) -> None:
    held = asyncio.Event()
    server.make = lambda: RecordingStory(pause={"end_of_data": held})
    await server.start()
    client = await server.in_transaction()
    assert await client.code(b"DATA") == 354
    await client.send(STUFFED + b".\r\n")
    story = server.stories[0]
    await soon(story.at("end_of_data"))
    client.reset() if how == "reset" else await client.close()
    assert story.peer is not None
    await soon(story.peer.gone)
    assert story.messages == []
    held.set()
    assert await ended(story) is End.LOST
    assert [taken.content for taken in story.messages] == [MESSAGE]


@pytest.mark.parametrize("at", ["mail", "data"])
async def test_a_client_that_resets_while_the_story_is_busy_is_no_bug(
    server: Server, at: str, caplog: pytest.LogCaptureFixture
) -> None:
    held = asyncio.Event()
    server.make = lambda: RecordingStory(pause={at: held})
    await server.start()
    client = await server.connect()
    await client.send(b"EHLO c.example\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<u@example.com>\r\nDATA\r\n")
    story = server.stories[0]
    await soon(story.at(at))
    client.reset()
    assert story.peer is not None
    await soon(story.peer.gone)
    held.set()
    assert await ended(story) is End.LOST
    assert [record.getMessage() for record in caplog.records] == [], "an exception that nobody handled"


async def test_a_client_that_sends_all_and_half_closes_is_not_gone(server: Server) -> None:
    held = asyncio.Event()
    server.make = lambda: RecordingStory(pause={"end_of_data": held})
    await server.start()
    async with await server.in_transaction() as client:
        await client.send(b"DATA\r\n" + STUFFED + b".\r\nQUIT\r\n")
        client.writer.write_eof()
        story = server.stories[0]
        await soon(story.at("end_of_data"))
        await asyncio.sleep(0.1)
        assert story.peer is not None
        assert not story.peer.gone.is_set()
        held.set()
        codes = [line[:3] for line in (await client.rest()).split(b"\r\n")]
    assert codes == [b"354", b"250", b"221", b""]
    assert await ended(story) is End.QUIT


async def test_content_cut_off_is_no_message(server: Server) -> None:
    await server.start()
    client = await server.in_transaction()
    assert await client.code(b"DATA") == 354
    await client.send(STUFFED + b"\r\n.\r")
    await client.close()
    assert await ended(server.stories[0]) is End.LOST
    assert server.stories[0].messages == []
    assert "end_of_data" not in server.stories[0].log


@pytest.mark.slow
async def test_a_client_that_does_not_read_is_cut(server: Server) -> None:
    listener = await server.start(command_timeout=0.5, close_timeout=0.2, max_commands_without_mail=10**6)
    assert listener._bound is not None
    for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):  # who is accepted gets them; the kernel's own take megabytes
        listener._bound.setsockopt(socket.SOL_SOCKET, option, 4096)
    client = await server.connect()
    client.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.writer.transport.pause_reading()  # type: ignore[attr-defined]
    writing = asyncio.create_task(flood(client))
    assert await ended(server.stories[0]) in (End.LOST, End.TIMEOUT)
    writing.cancel()
    await asyncio.gather(writing, return_exceptions=True)
    client.reset()


async def flood(client: Client) -> None:
    while True:
        await client.send(b"HELP\r\n" * 10_000)


# --- stories that fail ----------------------------------------------------------------------------------------------

BUG = RuntimeError("a secret in the traceback")


@pytest.mark.parametrize("stage", ["helo", "mail", "rcpt", "data", "content", "end_of_data"])
async def test_a_bug_defers(server: Server, stage: str, caplog: pytest.LogCaptureFixture) -> None:
    server.make = lambda: RecordingStory(answers={stage: BUG})
    await server.start()
    before = metrics.ERRORS._value.get()
    async with await server.connect() as client:
        lines = [b"EHLO c", b"MAIL FROM:<>", b"RCPT TO:<u@example.com>", b"DATA", b"x\r\n."]
        replies: list[list[bytes]] = []
        for line in lines:
            replies.append(await client.command(line))
            if not replies[-1][-1].startswith((b"2", b"3")):
                break
        assert replies[-1] == [b"451 4.3.0 Internal error, try again later (T3STREF)"]
        del server.stories[0].answers[stage]
        assert await client.code(b"RSET") == 250
    assert metrics.ERRORS._value.get() == before + 1
    assert server.stories[0].messages == []


async def test_a_bug_in_content_drops_the_transaction_once_it_is_drained(server: Server) -> None:
    server.make = lambda: RecordingStory(answers={"content": BUG})
    await server.start()
    async with await server.in_transaction() as client:
        assert await client.code(b"DATA") == 354
        await client.send(b"x\r\n" * 100_000 + b".\r\n")
        assert (await client.reply())[0].startswith(b"451 4.3.0 ")
        assert await client.code(b"MAIL FROM:<>") == 250
    log = server.stories[0].log
    assert log.count("content") == 1
    assert "reset" in log
    assert "end_of_data" not in log


@pytest.mark.parametrize("stage", ["connected", "greeting"])
async def test_a_bug_before_the_greeting(server: Server, stage: str) -> None:
    server.make = lambda: RecordingStory(answers={stage: BUG})
    await server.start()
    async with await server.connect(greeted=False) as client:
        assert await client.rest() == b"421 4.3.0 Internal error, try again later (T3STREF)\r\n"
    assert await ended(server.stories[0]) is End.INTERNAL


async def test_a_bug_in_reset_ends_the_connection(server: Server) -> None:
    server.make = lambda: RecordingStory(answers={"reset": BUG})
    await server.start()
    async with await server.in_transaction() as client:
        await client.send(b"RSET\r\nMAIL FROM:<>\r\n")
        assert await client.reply() == [b"250 2.0.0 Reset"]
        assert await client.rest() == b"421 4.3.0 Internal error, try again later (T3STREF)\r\n"
    assert await ended(server.stories[0]) is End.INTERNAL


async def test_a_bug_in_closed_is_logged_and_counted(server: Server) -> None:
    server.make = lambda: RecordingStory(answers={"closed": BUG})
    await server.start()
    before = metrics.ERRORS._value.get()
    async with await server.connect() as client:
        assert await client.code(b"QUIT") == 221
        assert await client.rest() == b""
    assert metrics.ERRORS._value.get() == before + 1


# --- the socket -----------------------------------------------------------------------------------------------------


async def test_accepted_sockets_have_no_delay(server: Server) -> None:
    listener = await server.start()
    async with await server.connect():
        connection = next(iter(listener._connections.values()))
        accepted = connection.transport.get_extra_info("socket")
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


async def test_a_burst_of_connections_waits_in_the_backlog(server: Server) -> None:
    listener = await server.start()
    assert BACKLOG >= 1024
    clients = await asyncio.gather(*(Client.connect("127.0.0.1", listener.port) for _ in range(40)))
    assert [(await client.reply())[0][:3] for client in clients] == [b"220"] * 40
    for client in clients:
        await client.close()


async def test_an_address_in_use_is_an_error(server: Server) -> None:
    listener = await server.start()
    taken = SmtpListener(
        settings(),
        Listener(address=listener.address),
        RecordingStory,
        listener.slots,
    )
    with pytest.raises(OSError):
        await taken.start()


async def test_no_content_is_logged(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    await server.start()
    async with await server.in_transaction() as client:
        await client.message(b"a@b", [b"u@example.com"], b"a secret\r\n")
    assert "a secret" not in caplog.text
