"""The relay and a real Exim with the very files of ``deploy/exim``: replies, filing, identity, loss, limits."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from mailguard import config
from mailguard.commands import Extensions, MailFrom, Parameter, RcptTo
from mailguard.commands import Path as MailPath
from mailguard.facts import ClientAddress
from mailguard.lab import Lab
from mailguard.lab.exim import INBOX, Exim
from mailguard.relay import Identity, Relay, Transaction
from mailguard.replies import Reply
from mailguard.spool import Content, Spool
from tests.support.certificates import shared
from tests.support.client import Client
from tests.support.mail import Mail, mail

HOSTNAME = "mx.test.invalid"
CLIENT = Identity(ClientAddress.parse("198.18.1.10"), 40123, ClientAddress.parse("127.0.0.1"), 25, "client.example.org")
SENDER = MailFrom(MailPath(b"sender", b"example.org"))
LIMITS = config.Limits(backend_connect_timeout=30.0, backend_reuse_timeout=60.0)
WAIT = 30.0
"""Seconds within which Exim delivers what it took."""


def rcpt_to(local: str) -> RcptTo:
    return RcptTo(MailPath(local.encode(), b"example.com"))


def relay(*addresses: str, **settings: Any) -> Relay:
    backends = [config.Backend.model_validate({"address": address} | settings) for address in addresses]
    return Relay(backends, LIMITS, HOSTNAME, time.monotonic)


def spooled(octets: bytes) -> Content:
    spool = Spool(1 << 20)
    spool.write(octets)
    return spool.finish()


async def envelope(one: Relay, *locals_: str, identity: Identity = CLIENT, sender: MailFrom = SENDER) -> Transaction:
    transaction = one.transaction(identity, sender)
    for local in locals_ or ("alice",):
        answer = await transaction.rcpt(rcpt_to(local))
        assert answer.code == 250, answer
    return transaction


async def deliver(transaction: Transaction, octets: bytes) -> Reply:
    with spooled(octets) as content:
        return await transaction.deliver(content, asyncio.Event())


async def send(one: Relay, octets: bytes, *locals_: str, **more: Any) -> Reply:
    return await deliver(await envelope(one, *locals_, **more), octets)


@pytest.fixture
def own_exim(own_lab: Lab) -> Exim:
    """An Exim to kill."""
    return own_lab.exim()


# -- replies, delivery, filing


async def test_exims_own_replies_to_rcpt(exim: Exim) -> None:
    one = relay(exim.address)
    transaction = one.transaction(CLIENT, SENDER)
    assert str(await transaction.rcpt(rcpt_to("nobody"))) == "550 5.0.0 Unknown user"
    assert str(await transaction.rcpt(rcpt_to("alice"))) == "250 2.0.0 Accepted"
    elsewhere = RcptTo(MailPath(b"x", b"elsewhere.example"))
    assert str(await transaction.rcpt(elsewhere)) == "550 5.0.0 relay not permitted", "seen as the client, not as us"
    await transaction.abort()


@pytest.fixture(scope="session")
def tls_exim(lab: Lab) -> Exim:
    """An Exim with a certificate."""
    pair = (shared().certificate, shared().key)
    return lab.server("exim-tls", Exim, lambda folder: Exim(folder, certificate=pair))


WAYS: dict[str, dict[str, Any]] = {
    "bdat": {},
    "data": {"ignore_extensions": ["CHUNKING"]},
    "data, in turn": {"ignore_extensions": ["CHUNKING", "PIPELINING"]},
    "tls": {"tls": "required", "tls_name": "mx.example.com", "tls_ca_file": str(shared().certificate)},
    "tls, data": {"tls": "required", "ignore_extensions": ["CHUNKING"]},
}


@pytest.mark.parametrize("way", WAYS)
async def test_delivered_octet_for_octet_below_exims_header_lines(tls_exim: Exim, way: str) -> None:
    exim = tls_exim
    letter = mail(".dots\r\n..more\r\n.\r\n\r\nFrom here 8-bit: \xfc\r\n" + "x" * 998)
    answer = await send(relay(exim.address, **WAYS[way]), letter.octets, "alice", "bob")
    assert (answer.code, answer.lines[-1][:6]) == (250, "OK id=")
    found = exim.find(letter.message_id, WAIT)
    while len(found) < 2:
        found = exim.find(letter.message_id, WAIT)
    assert sorted((one.user, one.folder) for one in found) == [("alice", INBOX), ("bob", INBOX)]
    head, _, body = letter.octets.replace(b"\r\n", b"\n").partition(b"\n\n")
    for one in found:
        head_there, _, body_there = one.read().partition(b"\n\n")
        assert body_there == body
        assert b"\n" + head + b"\n" in head_there, "Exim adds its own above and below"
        assert (b"(TLS1.3)" in head_there) == ("tls" in way)
    taken = answer.lines[-1].removeprefix("OK id=")
    (arrival,) = (line for line in exim.main_log().splitlines() if f" {taken} <= " in line)
    assert (" K " in arrival) == ("data" not in way), "Exim's log says K for CHUNKING"
    assert (" X=TLS1.3" in arrival) == ("tls" in way)


@pytest.mark.parametrize("way", ["bdat", "tls", "tls, data"])
async def test_a_big_message_by_every_way(tls_exim: Exim, way: str) -> None:
    letter = mail("\r\n".join(f".{number}" for number in range(700_000)))
    assert (await send(relay(tls_exim.address, **WAYS[way]), letter.octets)).code == 250
    (found,) = tls_exim.find(letter.message_id, WAIT)
    assert found.read().partition(b"\n\n")[2] == letter.octets.replace(b"\r\n", b"\n").partition(b"\n\n")[2]


async def test_exim_has_nothing_to_complain_about_in_tls(tls_exim: Exim) -> None:
    before = len(tls_exim.main_log())
    one = relay(tls_exim.address, **WAYS["tls"])
    await one.probe()
    letter = mail()
    await send(one, letter.octets)
    await (await envelope(one)).abort()
    assert tls_exim.find(letter.message_id, WAIT)
    log = tls_exim.main_log()[before:]
    for complaint in ("TLS error", "unexpected disconnection", "synchronization", "SMTP protocol error", "lost"):
        assert complaint not in log


async def test_a_certificate_that_exim_does_not_have_no_mail(tls_exim: Exim) -> None:
    one = relay(tls_exim.address, tls="required", tls_fingerprints=["ab" * 32])
    answer = await one.transaction(CLIENT, SENDER).rcpt(rcpt_to("alice"))
    assert answer.code == 451
    assert "none of tls_fingerprints" in answer.cause


async def test_no_tls_no_mail(exim: Exim) -> None:
    answer = await relay(exim.address, tls="required").transaction(CLIENT, SENDER).rcpt(rcpt_to("alice"))
    assert (answer.code, "offers no STARTTLS" in answer.cause) == (451, True)


async def test_one_connection_for_ten_messages_where_no_client_is_named(default_exim: Exim) -> None:
    """Exim's own smtp_accept_queue_per_connection is 10: an eleventh would wait for its queue runner."""
    one = relay(default_exim.plain_address, client_identity="none")
    letters = [mail(str(number)) for number in range(25)]
    for letter in letters:
        assert (await send(one, letter.octets)).code == 250
    await one.finish()
    assert all(len(default_exim.find(letter.message_id, WAIT)) == 1 for letter in letters)
    log = default_exim.main_log()
    assert "no immediate delivery" not in log
    arrivals = re.findall(r"^\S+ \S+ \[(\d+)\] \S+ <= ", log, re.MULTILINE)
    assert sorted(Counter(arrivals).values()) == [5, 10, 10], "processes of Exim, one a connection"


@pytest.mark.parametrize(
    ("header", "folder"),
    [
        ("Junk", "Junk"),
        ("junk", "Junk"),
        ("  Junk  ", "Junk"),
        ("Elsewhere", INBOX),
        ("../../../escaped", INBOX),
        ("strict=-; normal=Junk", "Junk"),
        ("strict=Junk; normal=-", INBOX),
    ],
)
async def test_filed_by_header(exim: Exim, header: str, folder: str) -> None:
    letter = mail(headers=[f"X-Mailguard-Folder: {header}"])
    assert (await send(relay(exim.address), letter.octets)).code == 250
    assert [one.folder for one in exim.find(letter.message_id, WAIT)] == [folder]


async def test_mail_that_came_another_way_is_not_filed_by_its_header(exim: Exim) -> None:
    """On any port but mailguard's the header is whatever a sender wrote."""
    plain = relay(exim.plain_address, client_identity="none")
    letter = mail(headers=["X-Mailguard-Folder: Junk"])
    assert (await send(plain, letter.octets)).code == 250
    await plain.finish()
    assert [one.folder for one in exim.find(letter.message_id, WAIT)] == [INBOX]


@pytest.mark.parametrize(
    ("address", "helo", "seen"),
    [
        ("198.18.1.11", "client.example.org", "host=198.18.1.11 port=40123 helo=client.example.org proxy=yes"),
        ("198.18.1.11", "under_score", "host=198.18.1.11 port=40123 helo=[198.18.1.11] proxy=yes"),
        ("2001:2:0:1::1", "", "host=2001:2:0:1::1 port=40123 helo=[IPv6:2001:2:0:1::1] proxy=yes"),
    ],
)
async def test_exim_sees_the_client(exim: Exim, address: str, helo: str, seen: str) -> None:
    letter = mail()
    identity = replace(CLIENT, address=ClientAddress.parse(address), helo=helo)
    answer = await send(relay(exim.address), letter.octets, identity=identity)
    (found,) = exim.find(letter.message_id, WAIT)
    assert f"X-Exim-Saw: {seen}\n".encode() in found.read()
    message = answer.lines[-1].removeprefix("OK id=")
    arrival = next(line for line in exim.main_log().splitlines() if f" {message} <= " in line)
    assert f"[{address}]:40123" in arrival
    assert "PRX=127.0.0.1" in arrival


async def test_smtputf8(exim: Exim) -> None:
    sender = MailFrom(
        MailPath("grüße".encode(), "exämple.org".encode()),
        (Parameter("SMTPUTF8"), Parameter("BODY", b"8BITMIME"), Parameter("SIZE", b"500")),
    )
    letter = mail()
    assert (await send(relay(exim.address), letter.octets, sender=sender)).code == 250
    (found,) = exim.find(letter.message_id, WAIT)
    assert b"Return-path: <gr\xc3\xbc\xc3\x9fe@ex\xc3\xa4mple.org>\n" in found.read()


async def test_a_probe_shows_what_exim_offers(exim: Exim) -> None:
    one = relay(exim.address)
    assert await one.probe()
    assert one.extensions == Extensions(LIMITS.max_message_size, eightbitmime=True, smtputf8=True, dsn=True)
    assert one.available


async def test_exim_has_nothing_to_complain_about(exim: Exim) -> None:
    """QUIT without waiting, a PROXY header, pipelining, probes: none of it is an error to Exim."""
    before = len(exim.main_log())
    one = relay(exim.address)
    await one.probe()
    letter = mail()
    await send(one, letter.octets)
    await (await envelope(one)).abort()
    assert exim.find(letter.message_id, WAIT)
    log = exim.main_log()[before:]
    for complaint in ("unexpected disconnection", "synchronization", "SMTP protocol error", "incomplete", "lost"):
        assert complaint not in log


# -- Exim lost


class Eventful(Content):
    """A content that makes something happen, once, when two thirds of it were handed out: the end was not sent yet."""

    happen: Callable[[], object]

    def chunks(self, size: int = 131_072) -> Iterator[bytes]:
        whole = b"".join(super().chunks(size))
        third = len(whole) // 3
        yield whole[:third]
        yield whole[third : 2 * third]
        happen, self.happen = self.happen, lambda: None
        happen()
        yield whole[2 * third :]


def eventful(octets: bytes, happen: Callable[[], object]) -> Eventful:
    content = spooled(octets)
    content.__class__ = Eventful
    assert isinstance(content, Eventful)
    content.happen = happen
    return content


async def test_killed_during_the_scan_and_back_the_envelope_is_replayed(own_exim: Exim) -> None:
    transaction = await envelope(relay(own_exim.address), "alice", "bob")
    own_exim.kill()
    own_exim.start()
    letter = mail()
    assert (await deliver(transaction, letter.octets)).code == 250
    assert own_exim.find(letter.message_id, WAIT)


async def test_killed_for_good_is_a_451(own_exim: Exim) -> None:
    one = relay(own_exim.address)
    transaction = await envelope(one)
    own_exim.kill()
    answer = await deliver(transaction, mail().octets)
    assert (str(answer), transaction.doubtful) == ("451 4.3.0 Mail server not reachable, try again later", False)
    assert (await one.transaction(CLIENT, SENDER).rcpt(rcpt_to("alice"))).code == 451
    own_exim.start()
    letter = mail()
    assert (await send(one, letter.octets)).code == 250, "nothing needs a restart"


async def test_killed_in_the_middle_of_the_content_and_back(own_exim: Exim) -> None:
    """The first Exim had half the message and no dot; the second gets it whole."""
    letter = mail("x" * 900_000)
    transaction = await envelope(relay(own_exim.address))

    def restart() -> None:
        own_exim.kill()
        own_exim.start()

    with eventful(letter.octets, restart) as content:
        answer = await transaction.deliver(content, asyncio.Event())
    assert answer.code == 250
    assert not transaction.doubtful
    assert len(own_exim.find(letter.message_id, WAIT)) == 1


async def test_killed_in_the_middle_of_the_content_for_good(own_exim: Exim) -> None:
    letter = mail("x" * 900_000)
    transaction = await envelope(relay(own_exim.address))
    with eventful(letter.octets, own_exim.kill) as content:
        answer = await transaction.deliver(content, asyncio.Event())
    assert (answer.code, transaction.doubtful) == (451, False)
    own_exim.start()
    again = mail()
    await send(relay(own_exim.address), again.octets)
    assert own_exim.find(again.message_id, WAIT)
    assert own_exim.find(letter.message_id) == []


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT):
        while not condition():  # noqa: ASYNC110 - another process, which tells us nothing
            await asyncio.sleep(0.01)


def children(pid: int) -> list[int]:
    """The processes whose parent is ``pid``."""
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for task in tasks for child in task.read_text().split()]


async def test_killed_between_the_dot_and_the_reply(own_exim: Exim) -> None:
    """The Exim that has our connection is stopped before the dot, so that it can be killed before its reply."""
    letter = mail()
    transaction = await envelope(relay(own_exim.address))

    def stop() -> None:
        for pid in children(own_exim.process.pid):
            os.kill(pid, signal.SIGSTOP)

    with eventful(letter.octets, stop) as content:
        delivering = asyncio.create_task(transaction.deliver(content, asyncio.Event()))
        await until(lambda: transaction._ended)
        own_exim.kill()
        answer = await delivering
    assert (answer.code, answer.enhanced) == (451, "4.3.0")
    assert transaction.doubtful


@dataclass
class Cable:
    """Between mailguard and Exim; pulled when Exim's reply to the final dot comes along."""

    target: int
    port: int = 0

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self.target)
        forth = asyncio.create_task(self.forward(reader, back))
        while line := await there.readline():
            if line.startswith(b"250 OK id="):
                break
            writer.write(line)
        forth.cancel()
        for end in (writer, back):
            end.transport.abort()

    @staticmethod
    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while octets := await reader.read(65536):
            writer.write(octets)


@asynccontextmanager
async def cable(exim: Exim) -> AsyncIterator[str]:
    line = Cable(exim.proxy_port)
    server = await asyncio.start_server(line.carry, "127.0.0.1", 0)
    yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    server.close()
    await server.wait_closed()


async def test_taken_by_exim_but_its_reply_lost(exim: Exim) -> None:
    """RFC 1047: the one case in which the sender's next attempt makes a duplicate. It is known as doubtful."""
    letter = mail()
    async with cable(exim) as address:
        transaction = await envelope(relay(address))
        answer = await deliver(transaction, letter.octets)
    assert (answer.code, transaction.doubtful) == (451, True)
    assert len(exim.find(letter.message_id, WAIT)) == 1


# -- Exim's own limits


@pytest.fixture
def default_exim(own_lab: Lab) -> Exim:
    """20 connections at once, 10 messages of one connection, 5 minutes of silence: what Exim does unless told."""
    return own_lab.exim(default_limits=True)


async def test_exims_five_minutes_are_over_while_the_client_thinks(default_exim: Exim) -> None:
    """SIGALRM is what Exim's own clock sends it after smtp_receive_timeout: 421, and the connection is closed."""
    transaction = await envelope(relay(default_exim.address))
    seen: list[int] = []

    def alone() -> bool:
        """Whether there is our connection's process and no other: queue runners come and go."""
        seen[:] = children(default_exim.process.pid)
        return len(seen) == 1

    await until(alone)
    (pid,) = seen

    def rung_out() -> bool:
        if pid not in children(default_exim.process.pid):
            return True
        os.kill(pid, signal.SIGALRM)  # again and again: it counts only once Exim has sat down to read
        return False

    await until(rung_out)
    assert "SMTP command timeout" in default_exim.main_log()
    letter = mail()
    assert (await transaction.rcpt(rcpt_to("bob"))).code == 250
    assert (await deliver(transaction, letter.octets)).code == 250
    assert {one.user for one in default_exim.find(letter.message_id, WAIT)} <= {"alice", "bob"}


async def attempt(one: Relay, letter: Mail) -> int:
    """The code that a client gets for ``letter``: that of RCPT, where it is no 250, else the final one."""
    transaction = one.transaction(CLIENT, SENDER)
    answer = await transaction.rcpt(rcpt_to("alice"))
    return (await deliver(transaction, letter.octets)).code if answer.code == 250 else answer.code


async def test_more_sessions_than_exim_takes(default_exim: Exim) -> None:
    """100 at once before an Exim that takes 20: a 4xx at worst, and those come again until all are there, each once."""
    one = relay(default_exim.address)
    waiting = [mail(str(number)) for number in range(100)]
    letters, seen = list(waiting), Counter[int]()
    async with AsyncExitStack() as idle:
        for _ in range(20):
            client = await idle.enter_async_context(await Client.connect("127.0.0.1", default_exim.port))
            assert (await client.reply())[0].startswith(b"220 ")
        seen[await attempt(one, letters[0])] += 1
    assert set(seen) == {451}, "Exim is full"
    for _ in range(50):
        codes = await asyncio.gather(*(attempt(one, letter) for letter in waiting))
        seen.update(codes)
        waiting = [letter for letter, code in zip(waiting, codes, strict=True) if code != 250]
        if not waiting:
            break
    assert waiting == []
    assert set(seen) == {250, 451}, "and nothing worse"
    assert seen[250] == 100
    assert all(len(default_exim.find(letter.message_id, WAIT)) == 1 for letter in letters)


async def test_more_messages_than_exim_takes_of_one_connection(default_exim: Exim) -> None:
    """One client, 25 messages: each has a connection of its own to Exim, so none waits for Exim's queue runner."""
    one = relay(default_exim.address)
    letters = [mail(str(number)) for number in range(25)]
    for letter in letters:
        assert (await send(one, letter.octets)).code == 250
    assert all(len(default_exim.find(letter.message_id, WAIT)) == 1 for letter in letters)
    assert "no immediate delivery" not in default_exim.main_log()
