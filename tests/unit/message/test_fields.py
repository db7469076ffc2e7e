"""The fields that we write: their form, and that nothing hostile leaves its place in them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from email import message_from_bytes
from email.utils import parsedate_to_datetime
from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailguard.commands import Path
from mailguard.facts import (
    NOT_ASKED,
    Answer,
    ClientAddress,
    Known,
    ReverseDns,
    SpamResult,
    TlsSession,
    Unknown,
    VirusResult,
)
from mailguard.message import fields, protocol
from tests.support.heads import fields as fields_of

NOW = datetime(2026, 11, 20, 10, 0, 0, tzinfo=UTC)
CLIENT = ClientAddress.parse("198.18.1.10")
CLIENT6 = ClientAddress.parse("2001:db8::1")
CONFIRMED = Known(ReverseDns("mail.example.org.", confirmed=True))
UNCONFIRMED = Known(ReverseDns("liar.example.org", confirmed=False))
NAMELESS = Known(ReverseDns("", confirmed=False))
DOWN = Unknown("timeout")


def received(
    helo: str = "mail.example.org",
    reverse: Answer[ReverseDns] | None = CONFIRMED,
    address: ClientAddress = CLIENT,
    reference: str = "abc123",
    now: datetime = NOW,
    tls: TlsSession | None = None,
) -> bytes:
    clause = fields.from_clause(helo=helo, reverse=reverse, address=address)
    return fields.received(clause, "mx.example.com", "ESMTPS" if tls else "ESMTP", reference, now, tls)


def unfolded(field: bytes) -> str:
    return re.sub(r"\r\n[ \t]", " ", field.decode()).removesuffix("\r\n")


def test_received_as_it_is_read() -> None:
    assert received() == (
        b"Received: from mail.example.org (mail.example.org [198.18.1.10])\r\n"
        b"\tby mx.example.com with ESMTP id abc123;\r\n"
        b"\tFri, 20 Nov 2026 10:00:00 +0000\r\n"
    )


@pytest.mark.parametrize(
    ("version", "cipher", "comment"),
    [
        ("TLSv1.3", "TLS_AES_256_GCM_SHA384", "(TLS1.3 TLS_AES_256_GCM_SHA384)"),
        ("TLSv1.2", "ECDHE-ECDSA-AES256-GCM-SHA384", "(TLS1.2 ECDHE-ECDSA-AES256-GCM-SHA384)"),
        ("TLSv1.3", "a)b\r\nc", "(TLS1.3 a?b??c)"),
    ],
)
def test_received_tells_of_tls_in_a_comment_that_is_not_folded(version: str, cipher: str, comment: str) -> None:
    """RFC 3848; RFC 5321 4.4 allows a comment there."""
    field = received(tls=TlsSession(version, cipher, 256))
    assert f" with ESMTPS {comment} id abc123; Fri, " in unfolded(field)
    assert comment.encode() in field
    assert all(len(line) <= 78 for line in field.split(b"\r\n"))


@pytest.mark.parametrize(
    ("reverse", "name"),
    [
        (CONFIRMED, "mail.example.org"),
        (UNCONFIRMED, "unknown"),
        (NAMELESS, "unknown"),
        (DOWN, "unknown"),
        (None, "unknown"),
    ],
)
def test_received_names_the_client_only_where_confirmed(reverse: Answer[ReverseDns] | None, name: str) -> None:
    assert f"({name} [198.18.1.10])" in unfolded(received(reverse=reverse))


@pytest.mark.parametrize(
    ("helo", "word"),
    [
        ("[198.18.1.10]", "[198.18.1.10]"),
        ("[IPv6:2001:db8::1]", "[IPv6:2001:db8::1]"),
        ("WIN_PC-7", "WIN_PC-7"),
        ("", "unknown"),
        ("a b", "a?b"),
        ("x) by evil.example with ESMTP id 1; date (", "x??by?evil.example?with?ESMTP?id?1??date??"),
        ("x\r\nX-Mailguard-Folder: INBOX", "x??X-Mailguard-Folder:?INBOX"),
        ('"quoted\\"', "?quoted??"),
        ("bücher.example", "b?cher.example"),
        ("\0\x7f", "??"),
        ("h" * 300, "h" * 255),
    ],
)
def test_received_keeps_helo_in_its_place(helo: str, word: str) -> None:
    assert unfolded(received(helo=helo)).startswith(f"Received: from {word} (mail.example.org [198.18.1.10]) by mx.")


def test_received_of_an_ipv6_client() -> None:
    assert "[IPv6:2001:db8::1])" in unfolded(received(address=CLIENT6))


@pytest.mark.parametrize("hours", [-11, 0, 5.5, 14])
def test_received_carries_the_instant(hours: float) -> None:
    now = NOW.astimezone(timezone(timedelta(hours=hours)))
    assert parsedate_to_datetime(unfolded(received(now=now)).rpartition("; ")[2]) == NOW


@pytest.mark.parametrize(
    ("extended", "tls", "smtputf8", "keyword"),
    [
        (False, False, False, "SMTP"),
        (True, False, False, "ESMTP"),
        (True, True, False, "ESMTPS"),
        (True, False, True, "UTF8SMTP"),
        (True, True, True, "UTF8SMTPS"),
    ],
)
def test_protocol(extended: bool, tls: bool, smtputf8: bool, keyword: str) -> None:
    assert protocol(extended=extended, tls=tls, smtputf8=smtputf8) == keyword


@pytest.mark.parametrize(
    ("sender", "line"),
    [
        (Path(), b"Return-Path: <>\r\n"),
        (Path(b"a", b"example.org"), b"Return-Path: <a@example.org>\r\n"),
        (Path(b'"a b"', b"[198.18.1.1]"), b'Return-Path: <"a b"@[198.18.1.1]>\r\n'),
        (Path("jürgen".encode(), b"example.org"), "Return-Path: <jürgen@example.org>\r\n".encode()),
        (Path(b"a\r\nX: y", b"e\0x\x7f"), b"Return-Path: <aX: y@ex>\r\n"),
    ],
)
def test_return_path(sender: Path, line: bytes) -> None:
    assert fields.return_path(sender) == line


LISTED = Known(frozenset({IPv4Address("127.0.9.1")}))
TWICE = Known(frozenset({IPv4Address("127.0.9.2"), IPv4Address("127.0.9.1")}))


@pytest.mark.parametrize(
    ("reverse", "address", "dnswl", "value"),
    [
        (CONFIRMED, CLIENT, [], "iprev=pass (mail.example.org) policy.iprev=198.18.1.10"),
        (UNCONFIRMED, CLIENT, [], "iprev=fail (liar.example.org) policy.iprev=198.18.1.10"),
        (NAMELESS, CLIENT, [], "iprev=permerror policy.iprev=198.18.1.10"),
        (DOWN, CLIENT, [], "iprev=temperror policy.iprev=198.18.1.10"),
        (CONFIRMED, CLIENT6, [], 'iprev=pass (mail.example.org) policy.iprev="2001:db8::1"'),
        (None, CLIENT, [], "none"),
        (NOT_ASKED, CLIENT, [], "none"),
        (None, CLIENT, [("list.dnswl.org", LISTED)], "dnswl=pass dns.zone=list.dnswl.org policy.ip=127.0.9.1"),
        (None, CLIENT, [("w.org", TWICE)], 'dnswl=pass dns.zone=w.org policy.ip="127.0.9.1,127.0.9.2"'),
        (None, CLIENT, [("w.org", Known(frozenset()))], "dnswl=none dns.zone=w.org"),
        (None, CLIENT, [("w.org", DOWN)], "dnswl=temperror dns.zone=w.org"),
        (
            DOWN,
            CLIENT,
            [("w.org", DOWN), ("x.org", LISTED)],
            "iprev=temperror policy.iprev=198.18.1.10; dnswl=temperror dns.zone=w.org; "
            "dnswl=pass dns.zone=x.org policy.ip=127.0.9.1",
        ),
        (Known(ReverseDns("a)(b;c\\", True)), CLIENT, [], "iprev=pass (a??b?c?) policy.iprev=198.18.1.10"),
    ],
)
def test_authentication_results(
    reverse: Answer[ReverseDns] | None,
    address: ClientAddress,
    dnswl: list[tuple[str, Answer[fields.Codes]]],
    value: str,
) -> None:
    field = fields.authentication_results(hostname="mx.example.com", address=address, reverse=reverse, dnswl=dnswl)
    assert unfolded(field) == f"Authentication-Results: mx.example.com; {value}"


def spam(score: float, **more: object) -> dict[str, str]:
    octets = fields.spam_fields(SpamResult(score, score, **more))  # type: ignore[arg-type]
    assert len(fields_of(octets)) in (3, 4)
    return dict(unfolded(field).split(": ", 1) for field in fields_of(octets))


@pytest.mark.parametrize(
    ("score", "flag", "status", "level", "points"),
    [
        (15.25, "YES", "Yes, score=15.25 required=5.0 tests=none", "*" * 15, "15.25"),
        (5.0, "YES", "Yes, score=5.0 required=5.0 tests=none", "*****", "5.0"),
        (4.96, "NO", "No, score=4.96 required=5.0 tests=none", "****", "4.96"),
        (4.9999999, "YES", "Yes, score=5.0 required=5.0 tests=none", "*****", "5.0"),
        (0.0, "NO", "No, score=0.0 required=5.0 tests=none", None, "0.0"),
        (-3.1, "NO", "No, score=-3.1 required=5.0 tests=none", None, "-3.1"),
        (1000.0, "YES", "Yes, score=1000.0 required=5.0 tests=none", "*" * 50, "1000.0"),
    ],
)
def test_spam(score: float, flag: str, status: str, level: str | None, points: str) -> None:
    values = spam(score)
    assert values["X-Spam-Flag"] == flag
    assert values["X-Spam-Status"] == status
    assert values.get("X-Spam-Level") == level
    assert values["X-Spam-Score"] == points


def test_spam_names_the_rules_without_blanks_between_lines() -> None:
    rules = {f"RULE_NUMBER_{i}": 0.1 for i in range(40)} | {"EVIL: x\r\nX-Y": 1.0}
    octets = fields.spam_fields(SpamResult(7.0, 7.0, rules=rules))
    named = re.sub(r"\r\n\t", "", octets.decode()).split("tests=")[1].split("\r\n")[0]
    assert named.split(",") == [re.sub(r"\W", "?", rule) for rule in sorted(rules)]
    assert max(map(len, octets.split(b"\r\n"))) <= fields.LINE


def test_spam_says_that_only_a_prefix_was_scored() -> None:
    assert spam(1.0, truncated=True)["X-Spam-Status"] == "No, score=1.0 required=5.0 truncated=yes tests=none"


def test_virus_scanned() -> None:
    clean = fields.virus_scanned(VirusResult(), "mx.example.com")
    assert clean == b"X-Virus-Scanned: clean, by ClamAV at mx.example.com\r\n"
    guess = fields.virus_scanned(VirusResult("Heuristics.X-1 (y)"), "mx.example.com")
    assert unfolded(guess) == "X-Virus-Scanned: infected (Heuristics.X-1??y?), by ClamAV at mx.example.com"


@pytest.mark.parametrize(
    ("folder", "value"),
    [
        ("Junk", "Junk"),
        ("strict=Junk; normal=-", "strict=Junk; normal=-"),
        ("a\r\nb", "a??b"),
        ("Größe", "Gr??e"),
        (" ", "-"),
    ],
)
def test_folder(folder: str, value: str) -> None:
    assert fields.mailguard_folder(folder) == f"X-Mailguard-Folder: {value}\r\n".encode()


def test_id_and_tags() -> None:
    assert fields.mailguard_id("abc-123") == b"X-Mailguard-Id: abc-123\r\n"
    assert fields.mailguard_tags(["DIALUP", "a b,c", ""]) == b"X-Mailguard-Tags: DIALUP, a?b?c, ?\r\n"


ANY = st.text(max_size=400)
REVERSE = st.builds(lambda name, ok: Known(ReverseDns(name, ok)), ANY, st.booleans()) | st.just(DOWN) | st.none()


@given(helo=ANY, reverse=REVERSE, reference=ANY, texts=st.lists(ANY, max_size=5), hostname=ANY, zone=ANY)
def test_nothing_from_outside_leaves_its_field(
    helo: str, reverse: Answer[ReverseDns] | None, reference: str, texts: list[str], hostname: str, zone: str
) -> None:
    rules = dict.fromkeys(texts, 1.0)
    ours = [
        received(helo, reverse, CLIENT6, reference),
        fields.authentication_results(hostname=hostname, address=CLIENT, reverse=reverse, dnswl=[(zone, LISTED)]),
        fields.mailguard_id(reference),
        fields.virus_scanned(VirusResult(helo), hostname),
        fields.mailguard_tags(texts) if texts else b"X-Mailguard-Tags: none\r\n",
        fields.mailguard_folder(zone),
        *fields_of(fields.spam_fields(SpamResult(3.0, 3.0, rules=rules))),
    ]
    octets = b"".join(ours)
    assert fields_of(octets + b"\r\n") == ours
    assert octets.isascii()
    assert max(map(len, octets.split(b"\r\n"))) <= 998
    assert len(message_from_bytes(octets)) == len(ours)
    assert re.fullmatch(
        r"Received: from [\w.:\[\]?-]+ \([\w.:\[\]?-]+ \[[^\s\]]+\]\) by mx\.example\.com with ESMTP id [^\s;]+; "
        r"Fri, 20 Nov 2026 10:00:00 \+0000",
        re.sub(r"\s+", " ", ours[0].decode()).strip(),
        re.ASCII,
    )


@given(st.lists(st.text("AB_1", min_size=1, max_size=70), max_size=60))
def test_lines_are_folded_where_they_can_be(texts: list[str]) -> None:
    octets = fields.spam_fields(SpamResult(3.0, 3.0, rules=dict.fromkeys(texts, 1.0))) + fields.mailguard_tags(
        ["T", *texts]
    )
    for line in octets.split(b"\r\n"):
        assert len(line) <= fields.LINE or b" " not in line.strip()


@given(st.lists(st.lists(st.text("ab", min_size=1, max_size=90), min_size=1, max_size=12), min_size=1, max_size=4))
def test_a_field_is_folded_between_words_and_only_where_it_must_be(lines: list[list[str]]) -> None:
    field = fields._folded("X-Name", *lines).decode()
    assert field.endswith("\r\n")
    physical = field[:-2].split("\r\n\t")
    assert "".join(line + " " for line in physical).split() == ["X-Name:", *(word for words in lines for word in words)]
    starts = {sum(len(words) for words in lines[:number]) for number in range(len(lines))}
    told = 0
    for number, line in enumerate(physical):
        words = line.split()[1:] if not number else line.split()
        assert len(line) + (number > 0) <= fields.LINE or len(words) == 1
        if told not in starts:  # folded because it had to be
            assert len(physical[number - 1]) + (number > 1) + 1 + len(words[0]) > fields.LINE
        told += len(words)
