"""STARTTLS on real sockets (RFC 3207): what is forgotten, what survives, and how a handshake fails."""

from __future__ import annotations

import asyncio
import gc
import ssl
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
import uvloop
from structlog.testing import capture_logs

from mailguard import metrics
from mailguard.config import Tls
from mailguard.facts import Known
from mailguard.smtp.events import End
from mailguard.smtp.identity import Identity
from mailguard.smtp.listener import SmtpListener
from tests.support.certificates import Pair, shared, trusting
from tests.support.client import Client
from tests.support.story import RecordingStory
from tests.unit.smtp.conftest import Server

CONTENT = b"Subject: x\r\n\r\n.dot\r\n"


def identity(pair: Pair | None = None, **more: str) -> Identity:
    made = Identity.load(Tls.model_validate({**(pair or shared()).settings, **more}), time.time)
    assert made is not None
    return made


@pytest.fixture(autouse=True)
def _nothing_is_left_behind(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """No task ends with an exception that nobody sees, and no transport with one that the event loop must tell."""
    yield
    gc.collect()
    records = [*caplog.get_records("call"), *caplog.get_records("teardown")]
    assert [record.getMessage() for record in records if record.name == "asyncio"] == []


async def started(server: Server, **more: object) -> SmtpListener:
    return await server.start(identity=identity(), **more)  # type: ignore[arg-type]


async def ended(story: RecordingStory) -> End:
    async with asyncio.timeout(20):
        await story.over.wait()
    return story.ends[-1].how


def counted(result: str, version: str = "none") -> float:
    return metrics.TLS_HANDSHAKES.labels(result, version)._value.get()


async def greeted(server: Server) -> Client:
    client = await server.connect()
    await client.command(b"EHLO plain.example")
    return client


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_message_in_tls(server: Server, version: ssl.TLSVersion) -> None:
    await started(server)
    name = version.name.replace("_", ".")
    before = counted("ok", name)
    async with await greeted(server) as client:
        await client.starttls(trusting(shared(), maximum_version=version))
        assert await client.code(b"EHLO tls.example") == 250
        replies = await client.message(b"a@b.example", [b"u@example.com"], CONTENT)
        assert [lines[-1][:3] for lines in replies] == [b"250", b"250", b"354", b"250"]
        assert await client.command(b"QUIT") == [b"221 2.0.0 mx.example.com closing connection"]
        assert await client.rest() == b""
    (story,) = server.stories
    assert await ended(story) is End.QUIT
    assert story.messages[0].content == CONTENT
    assert story.tls is not None
    assert (story.tls.version, story.tls.bits >= 128) == (name, True)
    assert "AES" in story.tls.cipher or "CHACHA20" in story.tls.cipher
    assert story.log[:5] == ["connected", "greeting", "helo", "secured", "helo"]
    assert story.ends[0].commands == 7
    assert counted("ok", name) == before + 1


async def test_a_large_message_in_tls(server: Server) -> None:
    await started(server)
    content = (b"x" * 78 + b"\r\n") * 10_000
    async with await greeted(server) as client:
        await client.starttls(trusting())
        await client.command(b"EHLO tls.example")
        replies = await client.message(b"a@b.example", [b"u@example.com"], content)
        assert replies[-1][-1].startswith(b"250 ")
    assert server.stories[0].messages[0].content == content


async def test_ehlo_offers_starttls_until_tls_is_on(server: Server) -> None:
    await started(server)
    async with await server.connect() as client:
        assert b"250-STARTTLS" in await client.command(b"EHLO c")
        await client.starttls(trusting())
        offered = await client.command(b"EHLO c")
        assert not any(b"STARTTLS" in line for line in offered)
        assert b"250-PIPELINING" in offered
        assert await client.command(b"STARTTLS") == [b"503 5.5.1 TLS is on already (T3STREF)"]


@pytest.mark.parametrize("how", ["no certificate", "switched off"])
async def test_without_it_starttls_is_not_offered(server: Server, how: str) -> None:
    await server.start(identity=None if how == "no certificate" else identity(), starttls=how == "no certificate")
    async with await server.connect() as client:
        assert not any(b"STARTTLS" in line for line in await client.command(b"EHLO c"))
        assert await client.command(b"STARTTLS") == [b"502 5.5.1 Command not implemented (T3STREF)"]


async def test_what_was_said_before_is_forgotten_and_who_it_is_is_not(server: Server) -> None:
    server.make = lambda: RecordingStory(wait=0.2)
    await started(server)
    async with await greeted(server) as client:
        await client.starttls(trusting())
        assert await client.code(b"MAIL FROM:<a@b>") == 503
        assert await client.code(b"EHLO c") == 250
        assert await client.code(b"MAIL FROM:<a@b>") == 250
    (story,) = server.stories
    assert story.early_talker == Known(False)
    assert story.peer is not None
    assert str(story.peer.address) == "127.0.0.1"


INJECTED = b"MAIL FROM:<evil@b>\r\nRCPT TO:<u@example.com>\r\nDATA\r\nx\r\n.\r\n"


@pytest.mark.parametrize(
    "behind", [b"RSET\r\n", b"EHLO evil\r\n" + INJECTED, b"EHLO ev", b"\r\n" * 100, b"\x16\x03\x01"]
)
async def test_what_follows_starttls_in_plain_text_is_never_a_command(server: Server, behind: bytes) -> None:
    """CVE-2011-0411: what an attacker puts into the plain text must not be carried out in TLS."""
    await started(server)
    async with await greeted(server) as client:
        await client.send(b"STARTTLS\r\n" + behind)
        assert await client.reply() == [b"220 2.0.0 Ready to start TLS"]
        await client.shake_hands(trusting())
        assert await client.command(b"NOOP") == [b"250 2.0.0 Ok"]
        assert (await client.command(b"EHLO mine"))[0] == b"250-mx.example.com"
        assert await client.code(b"QUIT") == 221
    (story,) = server.stories
    assert await ended(story) is End.QUIT
    assert story.log == ["connected", "greeting", "helo", "secured", "helo", "closed"]
    assert story.hello is not None
    assert story.hello.name == "mine"


async def test_what_comes_later_in_plain_text_ends_the_connection(server: Server) -> None:
    await started(server)
    before = counted("failed")
    with capture_logs() as lines:
        async with await greeted(server) as client:
            assert await client.code(b"STARTTLS") == 220
            await client.send(b"EHLO evil\r\n" + INJECTED)
            assert b"250" not in await client.rest()
        assert await ended(server.stories[0]) is End.TLS
    assert server.stories[0].log == ["connected", "greeting", "helo", "closed"]
    assert counted("failed") == before + 1
    (line,) = [line for line in lines if line["event"] == "tls handshake failed"]
    assert (line["ref"], line["client"], bool(line["error"])) == ("T3STREF", "127.0.0.1", True)


async def test_a_client_that_takes_nothing_of_ours(server: Server) -> None:
    await started(server)
    async with await greeted(server) as client:
        other = ssl.create_default_context()
        with pytest.raises(ssl.SSLError):
            await client.starttls(other)
    assert await ended(server.stories[0]) in (End.TLS, End.LOST)


async def test_an_old_version_is_not_spoken(server: Server) -> None:
    await server.start(identity=identity(minimum_version="TLSv1.3"))
    async with await greeted(server) as client:
        with pytest.raises(OSError):
            await client.starttls(trusting(maximum_version=ssl.TLSVersion.TLSv1_2))
    assert await ended(server.stories[0]) is End.TLS


async def test_a_handshake_is_bounded(server: Server) -> None:
    await started(server, tls_handshake_timeout=0.2)
    before = counted("timeout")
    async with await greeted(server) as client:
        assert await client.code(b"STARTTLS") == 220
        assert await client.rest() == b""
    assert await ended(server.stories[0]) is End.TLS
    assert counted("timeout") == before + 1


@pytest.mark.parametrize("how", ["reset", "close", "half-close", "half-close at once"])
async def test_a_client_that_leaves_instead(server: Server, how: str) -> None:
    await started(server)
    async with await greeted(server) as client:
        await client.send(b"STARTTLS\r\n")
        if how == "half-close at once":
            client.writer.write_eof()
        assert (await client.reply())[0].startswith(b"220 ")
        if how == "reset":
            client.reset()
        elif how == "half-close":
            client.writer.write_eof()
        elif how == "half-close at once":
            assert await client.rest() == b""
    assert await ended(server.stories[0]) is End.TLS


@pytest.mark.parametrize("how", ["leaves", "talks no TLS", "resets in TLS"])
async def test_of_a_client_that_breaks_off_nothing_is_left(
    server: Server, how: str, none_left: Callable[[], Awaitable[None]]
) -> None:
    await started(server)
    async with await greeted(server) as client:
        if how == "resets in TLS":
            await client.starttls(trusting())
        else:
            assert await client.code(b"STARTTLS") == 220
        if how == "talks no TLS":
            await client.send(b"EHLO again.example\r\n")
            await client.rest()
        client.reset()
    assert await ended(server.stories[0]) in (End.TLS, End.LOST)
    if isinstance(asyncio.get_running_loop(), uvloop.Loop):  # asyncio's own start_tls() leaves a circle of its own
        await none_left()


@pytest.mark.parametrize("how", ["close", "reset", "half of it"])
async def test_a_client_that_leaves_in_tls(server: Server, how: str) -> None:
    await started(server)
    async with await greeted(server) as client:
        await client.starttls(trusting())
        await client.command(b"EHLO c")
        if how == "reset":
            client.reset()
        if how == "half of it":
            await client.send(b"MAIL FRO")
    (story,) = server.stories
    assert await ended(story) is End.LOST
    assert story.peer is not None
    assert story.peer.gone.is_set()


async def test_a_client_that_vanishes_in_tls_is_seen_while_the_story_is_busy(server: Server) -> None:
    held = asyncio.Event()
    server.make = lambda: RecordingStory(pause={"mail": held})
    await started(server)
    async with await greeted(server) as client:
        await client.starttls(trusting())
        await client.command(b"EHLO c")
        await client.send(b"MAIL FROM:<a@b>\r\n")
        (story,) = server.stories
        await story.at("mail").wait()
    assert story.peer is not None
    async with asyncio.timeout(20):
        await story.peer.gone.wait()
    held.set()
    assert await ended(story) is End.LOST


async def test_draining_in_tls_says_421(server: Server) -> None:
    listener = await started(server)
    async with await greeted(server) as client:
        await client.starttls(trusting())
        await client.command(b"EHLO c")
        draining = asyncio.create_task(listener.drain(20))
        assert (await client.reply())[0].startswith(b"421 4.3.2 ")
        assert await client.rest() == b""
        await draining
    assert await ended(server.stories[0]) is End.SHUTDOWN


async def test_draining_does_not_wait_for_a_handshake(server: Server) -> None:
    listener = await started(server, tls_handshake_timeout=60)
    async with await greeted(server) as client:
        assert await client.code(b"STARTTLS") == 220
        async with asyncio.timeout(20):
            await listener.drain(30)
        assert await client.rest() == b""
    assert await ended(server.stories[0]) is End.TLS


async def test_a_cut_within_a_handshake_says_nothing_in_plain_text(server: Server) -> None:
    listener = await started(server, tls_handshake_timeout=60)
    async with await greeted(server) as client:
        assert await client.code(b"STARTTLS") == 220
        for task in listener._connections:
            task.cancel()
        assert await client.rest() == b""
    assert await ended(server.stories[0]) is End.SHUTDOWN


async def test_a_bug_of_the_story_behind_the_handshake(server: Server) -> None:
    server.make = lambda: RecordingStory(answers={"secured": RuntimeError("bug")})
    await started(server)
    async with await greeted(server) as client:
        await client.starttls(trusting())
        assert (await client.reply())[0].startswith(b"421 4.3.0 ")
    assert await ended(server.stories[0]) is End.INTERNAL


async def test_errors_are_counted_on(server: Server) -> None:
    """A handshake gives no new chances."""
    await started(server, max_errors=3)
    async with await greeted(server) as client:
        assert [await client.code(b"BAD") for _ in range(3)] == [500] * 3
        await client.starttls(trusting())
        assert await client.code(b"BAD") == 421


async def test_a_timeout_in_tls_says_421(server: Server) -> None:
    await started(server, command_timeout=0.5)
    async with await greeted(server) as client:
        await client.starttls(trusting())
        assert (await client.reply())[0].startswith(b"421 4.4.2 ")
    assert await ended(server.stories[0]) is End.TIMEOUT


async def test_a_new_certificate_is_for_the_next_handshake(server: Server, tmp_path: Path) -> None:
    from mailguard.net.aside import Aside
    from tests.support.certificates import make

    pair = make(tmp_path)
    shown = identity(pair)
    await server.start(identity=shown)
    old = trusting(pair)
    async with await greeted(server) as client:
        await client.starttls(old)
        new_pair = make(tmp_path)
        assert await shown.reload(Aside("test"), 20)
        assert await client.code(b"EHLO still.here") == 250
        async with await greeted(server) as other:
            with pytest.raises(ssl.SSLCertVerificationError):
                await other.starttls(old)
        async with await greeted(server) as other:
            await other.starttls(trusting(new_pair))
            assert await other.code(b"EHLO c") == 250


async def test_two_clients_at_once_share_no_octet(server: Server) -> None:
    await started(server)

    async def one(number: int) -> None:
        async with await greeted(server) as client:
            await client.starttls(trusting())
            for _ in range(20):
                assert await client.command(b"VRFY x%d" % number) == [
                    b"252 2.5.0 Cannot verify; send a message and it will be tried"
                ]

    await asyncio.gather(*(one(number) for number in range(8)))


@pytest.mark.parametrize("cut", range(1, 48))
async def test_wherever_it_is_cut_into_packets_nothing_in_plain_text_is_carried_out(server: Server, cut: int) -> None:
    """The rest comes before the handshake begins, and is dropped; or after, and is no TLS."""
    await started(server)
    plain = b"STARTTLS\r\nEHLO evil\r\nMAIL FROM:<e@b>\r\nQUIT\r\n"
    async with await greeted(server) as client:
        await client.send(plain[:cut])
        await client.send(plain[cut:])
        assert await client.reply() == [b"220 2.0.0 Ready to start TLS"]
        try:
            await client.shake_hands(trusting())
            assert await client.command(b"NOOP") == [b"250 2.0.0 Ok"]
        except OSError:
            assert cut >= len(b"STARTTLS\r\n")
    (story,) = server.stories
    assert await ended(story) in (End.LOST, End.TLS)
    assert [stage for stage in story.log if stage != "secured"] == ["connected", "greeting", "helo", "closed"]


async def test_a_client_cannot_renegotiate(server: Server) -> None:
    """It would make us compute for as long as it likes (CVE-2011-1473); and what it does about it does us no harm."""
    listener = await started(server)
    where = ("-connect", f"127.0.0.1:{listener.port}", "-starttls", "smtp", "-tls1_2")
    process = await asyncio.create_subprocess_exec(
        *("openssl", "s_client", *where),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(20):
        said, _ = await process.communicate(b"R\n")
    assert b"RENEGOTIATING" in said
    assert b"no renegotiation" in said
    assert await ended(server.stories[0]) is End.LOST
