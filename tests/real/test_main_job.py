"""The main job before real servers: refuse at the envelope, file spam, refuse malware, pass mail, explain, count."""

from __future__ import annotations

import re

import aiohttp
import pytest
from structlog.testing import capture_logs

from mailguard.lab import Lab, world
from mailguard.lab.clamd import Clamd
from mailguard.lab.exim import INBOX, Exim
from tests.real.conftest import Service, StartMailguard
from tests.support.mail import EICAR, GTUBE, mail, submit, transaction

MIB = 1024 * 1024
REFERENCE = re.compile(rb"\(([2-9B-Z]{9}(?:-\d+)?)\)$")


async def test_clean_mail_arrives_in_the_inbox(mailguard: Service, exim: Exim, client_address: str) -> None:
    message = mail()
    async with await mailguard.connect(client_address) as client:
        outcome = await submit(client, message.octets)
    assert outcome.content.startswith(b"250 ")
    assert [found.folder for found in exim.find(message.message_id, 30)] == [INBOX]


async def test_exims_own_final_reply_is_ours(mailguard: Service, exim: Exim, client_address: str) -> None:
    async with await mailguard.connect(client_address) as client:
        outcome = await submit(client, mail().octets)
    identity = re.search(rb"id=(\S+)", outcome.content)
    assert identity and identity[1].decode() in exim.main_log()


async def test_a_listed_client_is_refused_at_the_envelope_and_told_why(mailguard: Service) -> None:
    with capture_logs() as lines:
        async with await mailguard.connect(world.LISTED_TWICE) as client:
            outcome = await submit(client, mail().octets)
    [refusal] = outcome.rcpt
    assert refusal.startswith(b"554 5.7.1 ")
    assert world.LISTED_TWICE.encode() in refusal
    reference = REFERENCE.search(refusal)
    assert reference
    [line] = [line for line in lines if line["event"] == "recipient"]
    assert line["ref"] == reference[1].decode()
    assert line["action"] == "reject"
    assert line["rule"]
    assert "zen=127.0.0.4" in line["dnsbl"]
    assert line["weights"]


async def test_one_list_alone_does_not_refuse(mailguard: Service) -> None:
    async with await mailguard.connect(world.LISTED_BY_SPAMCOP) as client:
        outcome = await submit(client, mail().octets)
    assert outcome.content.startswith(b"250 ")


async def test_postmaster_is_reachable_from_a_listed_client(mailguard: Service, exim: Exim) -> None:
    message = mail(GTUBE)
    async with await mailguard.connect(world.LISTED_TWICE) as client:
        outcome = await submit(client, message.octets, "postmaster@example.com")
    assert outcome.content.startswith(b"250 ")
    assert [(found.user, found.folder) for found in exim.find(message.message_id, 30)] == [("postmaster", INBOX)]


async def test_spam_is_filed_into_junk(mailguard: Service, exim: Exim, client_address: str) -> None:
    message = mail(GTUBE)
    async with await mailguard.connect(client_address) as client:
        outcome = await submit(client, message.octets)
    assert outcome.content.startswith(b"250 ")
    [found] = exim.find(message.message_id, 30)
    assert found.folder == "Junk"
    assert b"X-Mailguard-Folder: Junk\n" in found.read()
    assert b"X-Spam-Flag: YES\n" in found.read()


async def test_malware_is_refused(mailguard: Service, exim: Exim, client_address: str) -> None:
    message = mail(EICAR)
    async with await mailguard.connect(client_address) as client:
        outcome = await submit(client, message.octets)
    assert outcome.content.startswith(b"554 5.7.1 ")
    assert b"Eicar" in outcome.content
    assert exim.find(message.message_id) == []


LISTED_TRAIL = (
    "Received: from dynamic.example.net (unknown [198.18.7.7])\r\n\tby relay.example.org with ESMTP id abc;\r\n"
    "\tSat, 21 Nov 2026 09:59:00 +0000",
    "Received: from [198.18.66.6] (helo=laptop) by smtp.example.org with esmtpsa;\r\n\tSat, 21 Nov 2026 09:58:00 +0000",
)


async def test_what_clamd_does_not_look_through_is_not_clean(
    own_lab: Lab, start_mailguard: StartMailguard, exim: Exim, client_address: str
) -> None:
    """Over MaxScanSize clamd says so (AlertExceedsMax): filed by ``unscannable``, and no header calls it clean."""
    small = own_lab.server("clamd", Clamd, lambda folder: Clamd(folder, stream_max=2 * MIB, scan_max=2 * MIB))
    service = await start_mailguard(clamav={"address": small.address}, spamassassin={"address": None, "rule_dirs": []})
    message = mail("\r\n".join(["y" * 70] * (4 * MIB // 72)) + "\r\n" + EICAR)
    with capture_logs() as lines:
        async with await service.connect(client_address) as client:
            outcome = await submit(client, message.octets)
    assert outcome.content.startswith(b"250 ")
    [line] = [line for line in lines if line["event"] == "message"]
    assert line["virus"].startswith("unknown(clamav: not scanned whole: Heuristics.Limits.Exceeded")
    assert line["rule"] == "unavailable: clamav"
    [found] = exim.find(message.message_id, 30)
    assert found.folder == "Junk"
    assert b"X-Virus-Scanned" not in found.read()


async def test_listed_addresses_in_received_never_block(mailguard: Service, exim: Exim, client_address: str) -> None:
    message = mail(headers=LISTED_TRAIL)
    async with await mailguard.connect(client_address) as client:
        outcome = await submit(client, message.octets)
    assert outcome.content.startswith(b"250 ")
    [found] = exim.find(message.message_id, 30)
    assert found.folder in (INBOX, "Junk")


@pytest.mark.parametrize(
    "recipient", ["x@elsewhere.example", "postmaster@elsewhere.example", "alice%elsewhere@[127.0.0.1]"]
)
async def test_nobody_relays_through_us(mailguard: Service, client_address: str, recipient: str) -> None:
    """Exim's default list of relay hosts, loopback, is behind us; it never gets to be asked."""
    async with await mailguard.connect(client_address) as client:
        outcome = await submit(client, mail().octets, recipient)
    assert outcome.rcpt[0].startswith(b"550 5.7.1 ")


async def test_a_client_on_loopback_may_not_relay_either(mailguard: Service) -> None:
    async with await mailguard.connect("127.0.0.1") as client:
        outcome = await submit(client, mail().octets, "x@elsewhere.example")
    assert outcome.rcpt[0].startswith(b"550 5.7.1 ")


async def test_an_unknown_user_is_refused_in_exims_words(mailguard: Service, client_address: str) -> None:
    async with await mailguard.connect(client_address) as client:
        outcome = await submit(client, mail().octets, "nobody@example.com")
    assert outcome.rcpt[0].startswith(b"550 ")
    assert b"Unknown user" in outcome.rcpt[0]


async def test_exim_sees_the_client_and_not_us(mailguard: Service, exim: Exim, client_address: str) -> None:
    message = mail()
    async with await mailguard.connect(client_address) as client:
        await submit(client, message.octets)
    [found] = exim.find(message.message_id, 30)
    assert f"X-Exim-Saw: host={client_address} ".encode() in found.read()


async def test_postmaster_needs_a_transaction_of_its_own(mailguard: Service, client_address: str) -> None:
    async with await mailguard.connect(client_address) as client:
        outcome = await submit(client, mail().octets, "alice@example.com", "postmaster@example.com", "bob@example.com")
    assert [line[:3] for line in outcome.rcpt] == [b"250", b"452", b"250"]
    assert outcome.content.startswith(b"250 ")


async def test_many_messages_of_one_connection(mailguard: Service, exim: Exim, client_address: str) -> None:
    messages = [mail() for _ in range(25)]
    async with await mailguard.connect(client_address) as client:
        first = await submit(client, messages[0].octets)
        outcomes = [first] + [await transaction(client, message.octets) for message in messages[1:]]
    assert all(outcome.content.startswith(b"250 ") for outcome in outcomes)
    assert all(len(exim.find(message.message_id, 30)) == 1 for message in messages)


async def test_one_reference_in_reply_log_and_headers(mailguard: Service, exim: Exim, client_address: str) -> None:
    message = mail()
    with capture_logs() as lines:
        async with await mailguard.connect(client_address) as client:
            outcome = await submit(client, message.octets)
            await client.command(b"QUIT")
            await client.rest()
    reference = REFERENCE.search(outcome.content)
    assert reference
    [logged] = [line for line in lines if line["event"] == "message"]
    assert logged["ref"] == reference[1].decode()
    assert logged["message_id"] == message.message_id
    [found] = exim.find(message.message_id, 30)
    assert b"X-Mailguard-Id: %b\n" % reference[1] in found.read()
    [connection] = [line for line in lines if line["event"] == "connection"]
    assert reference[1].decode().startswith(connection["ref"])
    assert connection["messages"] == 1


async def test_metrics_and_health(mailguard: Service, client_address: str) -> None:
    async with await mailguard.connect(client_address) as client:
        await submit(client, mail().octets)
    base = f"http://127.0.0.1:{mailguard.admin_port}"
    async with aiohttp.ClientSession() as http:
        page = await (await http.get(f"{base}/metrics")).text()
        healthy = await http.get(f"{base}/healthz")
        ready = await http.get(f"{base}/readyz")
        assert (healthy.status, ready.status) == (200, 200), await ready.text()
    assert re.search(r'mailguard_messages_total\{action="accept",rule="[^"]*"\} [1-9]', page)
    assert 'mailguard_dnsbl_queries_total{outcome="not_listed",zone="zen"}' in page
    assert "mailguard_scan_duration_seconds_bucket" in page
    assert client_address not in page


async def test_a_bad_policy_never_goes_live(start_mailguard: StartMailguard, tmp_path, client_address: str) -> None:
    good = (await start_mailguard()).settings.policy.read_text()
    policy = tmp_path / "policy.yaml"
    policy.write_text(good)
    service = await start_mailguard(policy=policy)
    policy.write_text(good + "\nunknown_key: true\n")
    with capture_logs() as lines:
        assert await service.worker.reload() is False
    assert any(line["event"] == "policy refused" and "unknown_key" in line["error"] for line in lines)
    async with await service.connect(client_address) as client:
        assert (await submit(client, mail().octets)).content.startswith(b"250 ")


async def test_a_bug_defers_and_shows_nothing(
    mailguard: Service, client_address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise LookupError("a secret of ours")

    monkeypatch.setattr("mailguard.session.story.judge", broken)
    with capture_logs() as lines:
        async with await mailguard.connect(client_address) as client:
            outcome = await submit(client, mail().octets)
            again = await client.command(b"NOOP")
    assert outcome.content.startswith(b"451 4.3.0 ")
    assert b"secret" not in outcome.content
    reference = REFERENCE.search(outcome.content)
    assert reference
    assert again[0].startswith(b"250 ")
    assert [line["ref"] for line in lines if line["event"] == "internal error"] == [reference[1].decode()]
