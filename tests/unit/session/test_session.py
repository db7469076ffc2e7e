"""The story of a connection: who is refused where, what is held, what is written down."""

from __future__ import annotations

import asyncio
import os
import re
from pathlib import Path
from unittest.mock import Mock

import pytest
from structlog.testing import capture_logs

from mailguard import metrics
from mailguard.checks.dnsbl import Said
from mailguard.config import Limits
from mailguard.dns.inquiry import Inquiry
from mailguard.facts import Answer, ClientAddress, Known, Mailbox
from mailguard.session.story import is_ours
from mailguard.smtp.server import Connection
from tests.support.client import Client, proxy_v2
from tests.support.found import said
from tests.support.mail import mail, submit, transaction
from tests.support.sink import CLOSE, Stall
from tests.unit.session.conftest import CLIENT, IMPATIENT, POLICY, Service, Start

REFERENCE = re.compile(rb"\(([2-9B-Z]{9}-\d+)\)$")


@pytest.mark.parametrize(
    ("local", "domain", "ours"),
    [
        ("user", "example.com", True),
        ("user", "sub.example.com", False),
        ("user", "xexample.com", False),
        ("user", "example.com.elsewhere.example", False),
        ("user", "sub.example.net", True),
        ("user", "a.sub.example.net", True),
        ("user", "example.net", False),
        ("postmaster", "elsewhere.example", False),
        ("postmaster", "", True),
        ("POSTMASTER", "", True),
        ("po\u017ftmaster", "", False),
        ("user", "\u212aiosk.example", False),
        ("user", "sub.\u212aiosk.example", False),
        ("user", "kio\u017fk.example", False),
        ("user", "[198.18.0.1]", False),
    ],
)
def test_whom_we_take_mail_for(local: str, domain: str, ours: bool) -> None:
    assert is_ours(Mailbox(local, domain), ["example.com", ".example.net", "kiosk.example", ".kiosk.example"]) is ours


async def _connection_over(lines: list[dict[str, object]]) -> None:
    """Wait, for ten seconds at the most, until a connection's last line is logged."""
    for _ in range(1000):
        if any(line["event"] == "connection" for line in lines):
            return
        await asyncio.sleep(0.01)
    raise TimeoutError("the connection is not over")


@pytest.fixture
async def service(start: Start) -> Service:
    return await start()


async def test_the_message_passes_unchanged_below_our_headers(service: Service) -> None:
    message = mail()
    async with await service.connect() as client:
        outcome = await submit(client, message.octets)
    assert outcome.content.startswith(b"250 2.0.0 taken (")
    [got] = service.sink.messages
    assert got.content.endswith(message.octets)
    assert got.content.startswith(b"Received: from mail.example.org (")


async def test_a_foreign_recipient_never_reaches_policy_or_backend(service: Service) -> None:
    async with await service.connect() as client:
        outcome = await submit(client, mail().octets, "x@elsewhere.example", sender="a@unwanted.example")
    assert outcome.rcpt[0].startswith(b"550 5.7.1 Relaying to elsewhere.example is not permitted (")
    assert not any(b"elsewhere" in line for line in service.sink.commands)


@pytest.mark.parametrize(("sender", "code"), [("a@unwanted.example", b"554 5.7.1"), ("a@later.example", b"451 4.7.1")])
async def test_policy_answers_at_rcpt_with_a_reference(service: Service, sender: str, code: bytes) -> None:
    with capture_logs() as lines:
        async with await service.connect() as client:
            outcome = await submit(client, mail().octets, sender=sender)
    [answer] = outcome.rcpt
    assert answer.startswith(code)
    reference = REFERENCE.search(answer)
    assert reference
    [line] = [line for line in lines if line["event"] == "recipient"]
    assert (line["ref"], line["client"], line["sender"]) == (reference[1].decode(), CLIENT, sender)
    assert line["reply"].startswith(code.decode())
    assert line["rule"].startswith("an unwanted") or line["rule"].startswith("a sender to come")


async def test_filing_at_the_envelope_writes_the_header(service: Service) -> None:
    async with await service.connect() as client:
        await submit(client, mail().octets, sender="a@dull.example")
    [got] = service.sink.messages
    assert b"\r\nX-Mailguard-Folder: Junk\r\n" in got.content


async def test_a_loop_is_refused(service: Service) -> None:
    trail = [f"Received: from a{i} by b{i}; Sat, 21 Nov 2026 09:00:00 +0000" for i in range(101)]
    async with await service.connect() as client:
        looping = await submit(client, mail(headers=trail).octets)
        passing = await transaction(client, mail(headers=trail[:100]).octets)
    assert looping.content.startswith(b"554 5.4.6 ")
    assert passing.content.startswith(b"250 ")


def _long_head(size: int) -> bytes:
    """A message whose header section has ``size`` octets and ends in forged fields."""
    forged = b"X-Mailguard-Folder: Trash\r\nX-Spam-Status: No\r\nAuthentication-Results: mx.example.com; dkim=pass\r\n"
    lines = b"X-Filler: a\r\n" * ((size - len(forged)) // 13 - 1)
    last = b"X-Last: " + b"z" * (size - len(forged) - len(lines) - 10) + b"\r\n"
    return lines + last + forged + b"\r\nb\r\n"


@pytest.mark.parametrize("limit", [65536, 1 << 20])
@pytest.mark.parametrize("recipient", ["alice@example.com", "postmaster@example.com"])
async def test_a_header_section_over_the_bound_is_refused(start: Start, limit: int, recipient: str) -> None:
    service = await start(limits={} if limit == 1 << 20 else {"max_header_size": limit})
    with capture_logs() as lines:
        async with await service.connect() as client:
            over = await submit(client, _long_head(limit + 1), recipient)
            far_over = await transaction(client, _long_head(2 * limit), recipient)
            await client.command(b"MAIL FROM:<a@b.example>")
            await client.command(b"RCPT TO:<alice@example.com>")
            octets = _long_head(limit + 1)
            await client.send(b"BDAT %d LAST\r\n%b" % (len(octets), octets))
            by_bdat = (await client.reply())[-1]
            assert service.sink.messages == [], "nothing of it is for the backend"
            assert await client.code(b"RCPT TO:<alice@example.com>") == 503, "the transaction is over"
            within = await transaction(client, _long_head(limit), recipient)
    for refused in (over.content, far_over.content, by_bdat):
        assert refused.startswith(b"552 5.3.4 Header section longer than %d octets (" % limit)
    assert within.content.startswith(b"250 ")
    [got] = service.sink.messages
    assert len(_long_head(limit)) == limit + 5
    assert b"Trash" not in got.content
    assert b"dkim=pass" not in got.content
    assert len([line for line in lines if line["event"] == "message" and line["reply"].startswith("552")]) == 3


@pytest.mark.parametrize("first", [b"\r\n", b"text at once\r\n", b"Subject: s\r\n\r\n"])
async def test_a_body_has_no_part_in_the_bound_of_the_header_section(start: Start, first: bytes) -> None:
    service = await start(limits={"max_header_size": 65536})
    async with await service.connect() as client:
        outcome = await submit(client, first + b"X-Filler: a\r\n" * 10_000)
    assert outcome.content.startswith(b"250 ")


async def test_a_message_that_is_all_header_section_passes_within_the_bound(start: Start) -> None:
    service = await start(limits={"max_header_size": 65536})
    async with await service.connect() as client:
        passing = await submit(client, b"Abc: 345\r\n" + b"X-Filler: a\r\n" * 5040 + b"A: 5\r\n")
        over = await transaction(client, b"Abc: 3456\r\n" + b"X-Filler: a\r\n" * 5040 + b"A: 5\r\n")
    assert passing.content.startswith(b"250 ")
    assert over.content.startswith(b"552 5.3.4 ")


async def test_received_fields_do_not_count_in_the_size_that_a_policy_sees(start: Start) -> None:
    limited = POLICY.replace(
        "  content:\n", "  content:\n    - {name: big, if: message.size > 5000, then: reject}\n", 1
    )
    service = await start(limited)
    trail = [f"Received: from a{i} by b{i} ({'x' * 70});\r\n\tSat, 21 Nov 2026 09:00:00 +0000" for i in range(90)]
    other = [field.replace("Received", "X-Trace") for field in trail]
    async with await service.connect() as client:
        travelled = await submit(client, mail(headers=trail).octets)
        padded = await transaction(client, mail(headers=other).octets)
    assert travelled.content.startswith(b"250 ")
    assert padded.content.startswith(b"554 5.7.1 ")


async def test_no_room_for_the_message_defers_it(start: Start, tmp_path: Path) -> None:
    service = await start(spool_dir=tmp_path / "missing", limits={"max_message_memory": 1000})
    with capture_logs() as lines:
        async with await service.connect() as client:
            big = await submit(client, mail("x" * 900 + "\r\n" + "y" * 900).octets)
            small = await transaction(client, mail().octets)
    assert big.content.startswith(b"452 4.3.1 ")
    assert small.content.startswith(b"250 ")
    assert len(service.sink.messages) == 1
    [line] = [line for line in lines if line["event"] == "spool failed"]
    reference = REFERENCE.search(big.content)
    assert reference
    assert (line["log_level"], line["ref"]) == ("error", reference[1].decode())
    assert line["error"].endswith("missing: No such file or directory")


async def test_what_is_declared_too_long_for_the_disk_is_deferred_at_mail(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RFC 1870 6.1. What stays in memory needs no disk."""
    service = await start(spool_dir=tmp_path, limits={"max_message_memory": 1000, "min_spool_free": 5000})
    monkeypatch.setattr(os, "statvfs", lambda _path: os.statvfs_result((1, 1, 99_999, 9000, 9000, 0, 0, 0, 0, 255)))
    with capture_logs() as lines:
        async with await service.connect() as client:
            await client.reply()
            await client.command(b"EHLO mail.example.org")
            [refusal] = await client.command(b"MAIL FROM:<a@b.example> SIZE=4001")
            assert await client.code(b"RCPT TO:<alice@example.com>") == 503
            assert await client.code(b"MAIL FROM:<a@b.example> SIZE=4000") == 250
            await client.command(b"RSET")
            monkeypatch.setattr(os, "statvfs", lambda _path: os.statvfs_result((1, 1, 99_999, *[0] * 6, 255)))
            assert await client.code(b"MAIL FROM:<a@b.example> SIZE=1000") == 250
    reference = REFERENCE.search(refusal)
    assert reference
    assert refusal.startswith(b"452 4.3.1 ")
    logged = {line["event"] for line in lines if line.get("ref") == reference[1].decode()}
    assert logged >= {"spool failed", "message"}


async def test_a_message_that_cannot_be_read_back_is_deferred(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = await start(spool_dir=tmp_path, limits={"max_message_memory": 0})
    monkeypatch.setattr(os, "pread", lambda *_: b"")
    with capture_logs() as lines:
        async with await service.connect() as client:
            outcome = await submit(client, mail().octets)
    assert outcome.content.startswith(b"452 4.3.1 ")
    assert [line["log_level"] for line in lines if line["event"] == "spool failed"] == ["error"]
    assert service.worker.health().not_ready == ("no spool for long messages: spool file ends at octet 0",)
    assert service.sink.messages == []


async def test_a_spooled_message_passes_too(start: Start, tmp_path: Path) -> None:
    service = await start(spool_dir=tmp_path, limits={"max_message_memory": 1000})
    message = mail("\r\n".join("x" * 900 for _ in range(100)))
    async with await service.connect() as client:
        await submit(client, message.octets)
    assert service.sink.messages[0].content.endswith(message.octets)
    assert sorted(os.listdir(tmp_path)) == ["policy.yaml"]


@pytest.mark.parametrize(
    ("where", "answer"),
    [("mailguard.session.story.origin", b"451 "), ("mailguard.session.record.Who", b"250 ")],
    ids=["before the backend has it", "when it has taken it"],
)
async def test_after_a_bug_nothing_is_told_of_who_the_client_was_before(
    service: Service, where: str, answer: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with await service.connect() as client:
        await client.reply()
        with capture_logs() as lines:
            for name in (b"one.example", b"two.example"):
                assert await client.code(b"EHLO " + name) == 250
                await client.message(b"a@b.example", [b"u@example.com"], b"Subject: x\r\n\r\n")
                with monkeypatch.context() as patch:
                    patch.setattr(where, Mock(side_effect=ZeroDivisionError))
                    assert await client.code(b"EHLO then." + name) == 250
                    [*_, said] = await client.message(b"a@b.example", [b"u@example.com"], b"Subject: x\r\n\r\n")
                    assert said[0].startswith(answer)
                await client.message(b"a@b.example", [b"u@example.com"], b"Subject: x\r\n\r\n")
    told = [re.search(rb"from ([a-z.]+) ", message.content) for message in service.sink.messages]
    assert told[-1] is not None
    assert told[-1][1] == b"then.two.example"
    assert [line["helo"] for line in lines if line["event"] == "message"][-1] == "then.two.example"
    assert [line["event"] for line in lines].count("internal error") == 2


async def test_one_connection_line_tells_how_it_went(service: Service) -> None:
    with capture_logs() as lines:
        async with await service.connect() as client:
            await submit(client, mail().octets)
            await transaction(client, mail().octets)
            await client.command(b"BOGUS")
            await client.command(b"QUIT")
            await client.rest()
        await _connection_over(lines)
    [line] = [line for line in lines if line["event"] == "connection"]
    assert (line["end"], line["messages"], line["errors"], line["commands"]) == ("quit", 2, 1, 9)
    references = [line["ref"] for line in lines if line["event"] == "message"]
    assert references == [f"{line['ref']}-1", f"{line['ref']}-2"]


async def test_a_client_gone_before_the_dot_leaves_nothing_at_the_backend(service: Service) -> None:
    stall = Stall()
    service.sink.once("DATA", stall, b"354 go on")
    with capture_logs() as lines:
        client = await service.connect()
        await client.reply()
        for command in (b"EHLO x.example.org", b"MAIL FROM:<a@b.example>", b"RCPT TO:<u@example.com>", b"DATA"):
            await client.command(command)
        await client.send(mail().octets + b".\r\n")
        await asyncio.wait_for(stall.reached.wait(), 10)
        client.reset()
        await asyncio.sleep(0.05)
        stall.release()
        await _connection_over(lines)
    assert service.sink.messages == []
    [line] = [line for line in lines if line["event"] == "message"]
    assert line["reply"].startswith("451 4.4.2")


async def test_a_client_gone_after_the_dot_is_delivered_and_logged(service: Service) -> None:
    stall = Stall()
    service.sink.once("content", stall, b"250 2.0.0 taken")
    with capture_logs() as lines:
        client = await service.connect()
        await client.reply()
        for command in (b"EHLO x.example.org", b"MAIL FROM:<a@b.example>", b"RCPT TO:<u@example.com>", b"DATA"):
            await client.command(command)
        await client.send(mail().octets + b".\r\n")
        await asyncio.wait_for(stall.reached.wait(), 10)
        client.reset()
        await asyncio.sleep(0.05)
        stall.release()
        await _connection_over(lines)
    assert len(service.sink.messages) == 1
    [line] = [line for line in lines if line["event"] == "message"]
    assert line["reply"].startswith("250 2.0.0 taken")


async def test_a_backend_that_dies_after_the_dot_is_logged_by_digest(service: Service) -> None:
    service.sink.once("content", CLOSE)
    with capture_logs() as lines:
        async with await service.connect() as client:
            outcome = await submit(client, mail().octets)
    assert outcome.content.startswith(b"451 4.3.0 ")
    assert len(service.sink.messages) == 1
    [line] = [line for line in lines if line["event"] == "message"]
    assert re.fullmatch(r"[0-9a-f]{64}", line["digest"])


async def test_drain_ends_idle_sessions_at_once_and_lets_a_message_finish(service: Service) -> None:
    stall = Stall()
    service.sink.once("content", stall, b"250 2.0.0 taken")
    async with await service.connect() as idle, await service.connect() as busy:
        await idle.reply()
        sending = asyncio.create_task(submit(busy, mail().octets))
        await asyncio.wait_for(stall.reached.wait(), 10)
        stopping = asyncio.create_task(service.worker.stop(drain=10))
        assert (await idle.reply())[0].startswith(b"421 4.3.2 ")
        assert "draining" in service.worker.health().not_ready
        stall.release()
        outcome = await sending
        await stopping
    assert outcome.content.startswith(b"250 ")


async def test_told_again_to_stop_it_ends_sooner_and_not_before_all_is_done(start: Start) -> None:
    service = await start(limits={"close_timeout": 0.3})
    stall = Stall()
    service.sink.once("content", stall, b"250 2.0.0 taken")
    with capture_logs() as lines:
        async with await service.connect() as client, asyncio.timeout(20):
            sending = asyncio.create_task(submit(client, mail().octets))
            await stall.reached.wait()
            first = asyncio.create_task(service.worker.stop(drain=60))
            await asyncio.sleep(0.05)
            await service.worker.stop()
            assert [line["count"] for line in lines if line["event"] == "messages without a reply"] == [1]
            await first
            await asyncio.gather(sending, return_exceptions=True)


async def test_a_reload_is_for_new_sessions_and_a_bad_policy_changes_nothing(service: Service, tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    before = service.worker.health().details["policy"]
    async with await service.connect() as early:
        await early.reply()
        policy.write_text(POLICY.replace("unwanted.example", "new.example"))
        assert await service.worker.reload()
        after = service.worker.health().details["policy"]
        await early.command(b"EHLO mail.example.org")
        unmoved = await transaction(early, mail().octets, sender="a@new.example")
    async with await service.connect() as late:
        moved = await submit(late, mail().octets, sender="a@new.example")
    assert unmoved.content.startswith(b"250 ")
    assert moved.rcpt[0].startswith(b"554 ")
    policy.write_text(POLICY.replace("expect: {accept: true}", "expect: {reject: 554}"))
    with capture_logs() as lines:
        assert not await service.worker.reload()
    assert [line["event"] for line in lines if line["event"] != "connection"] == ["policy refused"]
    assert metrics.REGISTRY.get_sample_value("mailguard_policy_load_success") == 0
    assert before != after == service.worker.health().details["policy"]


async def test_our_own_relays_are_asked_nothing_about(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def ask(_dnsbl: object, address: ClientAddress, _deadline: float, _took: object) -> Inquiry[Said]:
        asked.append(str(address))
        return said({})

    monkeypatch.setattr("mailguard.checks.dnsbl.Dnsbl.ask", ask)
    asking = (
        POLICY.replace("rules:\n", "dnsbl:\n  zen: {zone: zen.test, answers: {127.0.0.2: {weight: 1}}}\nrules:\n", 1)
        .replace("sender.domain == 'dull.example'", "dnsbl.score >= 1")
        .replace("unavailable:\n", "unavailable:\n  dnsbl: ignore\n")
    )
    service = await start(own_relays=["198.18.9.0/24"], policy_text=asking)
    async with await service.connect("198.18.9.1") as relay, await service.connect("198.18.1.10") as other:
        assert (await submit(relay, mail().octets)).content.startswith(b"250 ")
        assert (await submit(other, mail().octets)).content.startswith(b"250 ")
    assert asked == ["198.18.1.10"]


async def test_a_client_that_speaks_first_is_noticed_with_the_default_settings(start: Start) -> None:
    service = await start(IMPATIENT)
    eager = proxy_v2(CLIENT) + b"EHLO mail.example.org\r\n"
    async with await Client.connect("127.0.0.1", service.worker.ports[0], proxy=eager) as client:
        await client.reply()
        assert (await client.reply())[0].startswith(b"250-")
        await client.command(b"MAIL FROM:<a@b.example>")
        [answer] = await client.command(b"RCPT TO:<alice@example.com>")
    assert answer.startswith(b"554 5.7.1 ")


@pytest.mark.parametrize(("policy", "wait"), [(POLICY, 0.0), (IMPATIENT, Limits().greeting_wait)])
async def test_the_greeting_waits_only_where_the_policy_asks(
    start: Start, policy: str, wait: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    service, waits = await start(policy), list[float]()
    monkeypatch.setattr(Connection, "_early_talker", lambda _connection, seconds: noted(waits, seconds))
    async with await service.connect() as client:
        await client.reply()
    assert waits == [wait]
    assert Limits().greeting_wait > 0


async def noted(waits: list[float], seconds: float) -> Answer[bool]:
    waits.append(seconds)
    return Known(value=False)
