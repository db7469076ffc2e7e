"""The two heads put together, and the whole corpus through them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import dkim
import pytest

from mailguard.commands import Path
from mailguard.facts import ClientAddress, Known, Message, ReverseDns, SpamResult, Unknown, VirusResult
from mailguard.message import Origin, Transmission, for_backend, for_scanners, parse_head, strip_forged
from mailguard.message.sought import field_name
from mailguard.spool import Spool
from tests import corpus
from tests.corpus.signed import public_key
from tests.corpus.trust import HOSTNAME
from tests.support.heads import fields

ORIGIN = Origin(
    hostname=HOSTNAME,
    address=ClientAddress.parse("198.18.1.10"),
    helo="mail.example.org",
    reverse=Known(ReverseDns("mail.example.org", confirmed=True)),
)
WAY = Transmission(ORIGIN, reference="abc123", with_="ESMTP", at=datetime(2026, 11, 20, 10, 0, 0, tzinfo=UTC))
SENDER = Path(b"alice", b"example.org")
CLEAN = Message(9, virus=Known(VirusResult()), spam=Known(SpamResult(7.5, 7.5, rules={"A": 7.5})))
UNSCANNED = Message(9, virus=Unknown("down"), spam=Unknown("down"))
ORIGINAL = parse_head(b"Subject: s\r\n\r\nbody\r\n")


def names(octets: bytes) -> list[str]:
    return [field_name(field).decode() for field in fields(octets)]


def test_top_first_for_the_backend() -> None:
    assert names(for_backend(ORIGINAL, WAY, CLEAN, folder="Junk", tags=("T",))) == [
        "received",
        "authentication-results",
        "x-mailguard-id",
        "x-spam-flag",
        "x-spam-status",
        "x-spam-level",
        "x-spam-score",
        "x-virus-scanned",
        "x-mailguard-tags",
        "x-mailguard-folder",
        "subject",
    ]


def test_what_was_not_scanned_is_not_said_to_be() -> None:
    expected = ["received", "authentication-results", "x-mailguard-id", "subject"]
    assert names(for_backend(ORIGINAL, WAY, UNSCANNED)) == expected


def test_top_first_for_the_scanners() -> None:
    octets = for_scanners(ORIGINAL, WAY, SENDER)
    assert names(octets) == ["return-path", "received", "subject"]
    assert octets.startswith(
        b"Return-Path: <alice@example.org>\r\nReceived: from mail.example.org (mail.example.org [198."
    )


def test_the_received_field_is_the_same_in_both() -> None:
    scanned, delivered = fields(for_scanners(ORIGINAL, WAY, SENDER)), fields(for_backend(ORIGINAL, WAY, CLEAN))
    assert scanned[1] == delivered[0]


def test_other_envelope_senders_reach_no_scanner_but_the_backend() -> None:
    head = parse_head(b"Return-Path: <x@y>\r\nX-Envelope-From: x@y\r\nenvelope-sender : x@y\r\nSubject: s\r\n\r\n")
    assert names(for_scanners(head, WAY, SENDER)) == ["return-path", "received", "subject"]
    assert for_backend(head, WAY, UNSCANNED).endswith(head.octets)


@pytest.mark.parametrize("first", [b" X: folded\r\n", b"text\r\n", b"From a@b Fri Nov 20 10:00:00 2026\r\n"])
def test_a_message_without_a_header_section_never_joins_ours(first: bytes) -> None:
    octets = first + b"X-Mailguard-Folder: INBOX\r\n\r\nbody"
    head = strip_forged(parse_head(octets), HOSTNAME)
    for composed in (for_scanners(head, WAY, SENDER), for_backend(head, WAY, CLEAN, folder="Junk")):
        assert composed.endswith(b"\r\n\r\n")
        whole = composed + octets[head.size :]
        assert b"INBOX" not in parse_head(whole).octets
        assert whole.endswith(b"\r\n\r\n" + octets)


def test_results_of_white_lists_are_told() -> None:
    way = replace(WAY, origin=replace(ORIGIN, dnswl=(("w.example", Known(frozenset())),)))
    assert b"dnswl=none dns.zone=w.example" in for_backend(ORIGINAL, way, UNSCANNED)


def test_the_corpus_is_what_it_says() -> None:
    samples = list(corpus.messages())
    assert len(samples) >= 200
    assert len({sample.structure for sample in samples}) >= 40
    assert len({sample.name for sample in samples}) == len(samples)
    assert max(len(sample.octets) for sample in samples) > 20_000_000
    assert sum(sample.signed for sample in samples) >= 20


def test_the_corpus_is_always_the_same() -> None:
    """But for the signatures, which carry the time."""
    for one, other in zip(corpus.messages(), corpus.messages(), strict=True):
        assert one.signed or one == other


@pytest.mark.parametrize("memory", [0, 1024 * 1024])
def test_every_message_of_the_corpus_is_the_same_below_our_fields(memory: int) -> None:
    for sample in corpus.messages():
        spool = Spool(memory)
        spool.write(sample.octets)
        with spool.finish() as content:
            head = strip_forged(parse_head(content.prefix(content.size)), HOSTNAME)
            ours = for_backend(head, WAY, CLEAN, folder="Junk", tags=("T",))
            with content.with_head(ours, head.size) as changed:
                delivered = b"".join(changed.chunks())
        assert corpus.undo(delivered, HOSTNAME) == corpus.expected(sample), sample.name


def test_a_signature_still_verifies_below_our_fields() -> None:
    for sample in corpus.messages():
        if sample.signed:
            assert dkim.verify(sample.octets, dnsfunc=public_key), sample.name
            head = strip_forged(parse_head(sample.octets), HOSTNAME)
            delivered = for_backend(head, WAY, CLEAN, folder="Junk") + sample.octets[head.size :]
            assert dkim.verify(delivered, dnsfunc=public_key), sample.name
            assert not dkim.verify(delivered.replace(b"Subject: ", b"Subject: x", 1), dnsfunc=public_key), sample.name
