"""Forged fields: every trick known to us, its neighbours that must stay, and laws that hold for any octets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailguard.message import parse_head, strip_forged
from mailguard.message.forged import MAX_LOOK, authserv_id

HOST = "mx.example.com"
BEFORE = b"From: a@example.org\r\n"
AFTER = b"Subject: s\r\n"

TRICKS = {
    "plain": b"X-Mailguard-Folder: Junk\r\n",
    "lower case": b"x-mailguard-folder:Junk\r\n",
    "mixed case": b"x-SPAM-fLaG: NO\r\n",
    "a field we never write": b"X-Mailguard-Zzz: 1\r\n",
    "the bare prefix": b"X-Mailguard: 1\r\n",
    "the prefix with nothing behind": b"X-Spam-: 1\r\n",
    "blank before the colon": b"X-Mailguard-Folder : Junk\r\n",
    "tab before the colon": b"X-Spam-Status\t: No\r\n",
    "folded before the colon": b"X-Mailguard-Folder\r\n : Junk\r\n",
    "folded twice before the colon": b"X-Mailguard-Folder \r\n\t\r\n : Junk\r\n",
    "no value": b"X-Spam-Level:\r\n",
    "folded value": b"X-Spam-Status: No,\r\n\tscore=-1\r\n tests=none\r\n",
    "value on the folded line alone": b"X-Virus-Scanned:\r\n clean\r\n",
    "a folded line of blanks inside": b"X-Spam-Status: No,\r\n  \r\n\tscore=-1\r\n",
    "a folded line that looks like a field": b"X-Spam-Flag: NO\r\n X-Other: y\r\n",
    "8-bit value": b"X-Spam-Flag: \xff\xfe\r\n",
    "8-bit name": b"X-Spam-\xe9: NO\r\n",
    "UTF-8 name": "X-Mailguard-Größe: 1\r\n".encode(),
    "NUL after the name": b"X-Mailguard-Folder\x00: Junk\r\n",
    "NUL in the name": b"X-Mail\x00guard-Folder: Junk\r\n",
    "NUL before the name": b"\x00X-Mailguard-Folder: Junk\r\n",
    "control octets around": b"\x0bX-Mailguard-Folder\x7f: Junk\r\n",
    "blank in the name": b"X-Mailguard- Folder: Junk\r\n",
    "punctuation behind the prefix": b"X-Spam-(c): NO\r\n",
    "very long value": b"X-Spam-Report: " + b"z" * 65_000 + b"\r\n",
    "encoded word": b"X-Mailguard-Folder: =?utf-8?q?Junk?=\r\n",
    "virus scanned": b"X-Virus-Scanned: by nobody\r\n",
    "results: plain": b"Authentication-Results: mx.example.com; spf=pass\r\n",
    "results: case": b"AUTHENTICATION-RESULTS: MX.Example.COM; spf=pass\r\n",
    "results: no blank": b"Authentication-Results:mx.example.com;spf=pass\r\n",
    "results: blank before the colon": b"Authentication-Results : mx.example.com; spf=pass\r\n",
    "results: version": b"Authentication-Results: mx.example.com 1; spf=pass\r\n",
    "results: version behind a comment": b"Authentication-Results: mx.example.com (c) 1 (d); spf=pass\r\n",
    "results: comment first": b"Authentication-Results: (hello) mx.example.com; spf=pass\r\n",
    "results: nested comments": rb"Authentication-Results: (a (b \) c) (d)) mx.example.com; none" b"\r\n",
    "results: comment touching": b"Authentication-Results: (c)mx.example.com(d); none\r\n",
    "results: folded first": b"Authentication-Results:\r\n mx.example.com;\r\n\tspf=pass\r\n",
    "results: comment folded": b"Authentication-Results: (x\r\n y)\r\n\tmx.example.com; none\r\n",
    "results: quoted": b'Authentication-Results: "mx.example.com"; spf=pass\r\n',
    "results: quoted pairs": rb'Authentication-Results: "mx\.ex\ample.com"; spf=pass' b"\r\n",
    "results: dot at the end": b"Authentication-Results: mx.example.com.; spf=pass\r\n",
    "results: no semicolon": b"Authentication-Results: mx.example.com\r\n",
    "results: slash version": b"Authentication-Results: mx.example.com/1; spf=pass\r\n",
    "results: comment never closed": b"Authentication-Results: (mx.example.com; spf=pass\r\n",
    "results: quote never closed": b'Authentication-Results: "mx.example.com; spf=pass\r\n',
    "results: unclosed with quoted pairs": rb'Authentication-Results: "mx.\example.com; spf=pass' b"\r\n",
    "results: bracket first": b"Authentication-Results: <mx.example.com>; spf=pass\r\n",
    "results: behind a huge comment": b"Authentication-Results: (" + b"c" * MAX_LOOK + b") mx.example.com; none\r\n",
    "results: control octets": b"Authentication-Results: \x00mx.example.com\x00; none\r\n",
}

NEIGHBOURS = {
    "a similar name": b"X-Spam: no\r\n",
    "another product": b"X-Spamd-Result: default\r\n",
    "a longer word": b"X-Mailguardian: 1\r\n",
    "another virus header": b"X-Virus-Status: Clean\r\n",
    "behind our name": b"X-Virus-Scanned-By: somebody\r\n",
    "name in the value": b"Subject: X-Spam-Flag: YES\r\n",
    "name on a folded line": b"Subject: a\r\n X-Spam-Flag: YES\r\n",
    "name on a folded line, tab": b"Comments:\r\n\tX-Mailguard-Folder: Junk\r\n",
    "name behind a colon": b":X-Spam-Flag: YES\r\n",
    "prefixed": b"Old-X-Spam-Flag: YES\r\n",
    "no colon": b"X-Spam-Flag YES\r\n",
    "a letter that looks alike": "Х-Spam-Flag: YES\r\n".encode(),
    "a long s": "X-ſpam-Flag: YES\r\n".encode(),
    "another hyphen": "X‐Spam‐Flag: YES\r\n".encode(),
    "results: other host": b"Authentication-Results: mx.example.org; spf=pass\r\n",
    "results: a host below ours": b"Authentication-Results: a.mx.example.com; spf=pass\r\n",
    "results: ours with more behind": b"Authentication-Results: mx.example.com.example.net; none\r\n",
    "results: ours in a comment": b"Authentication-Results: (mx.example.com) other.example; none\r\n",
    "results: ours in the results": b"Authentication-Results: other.example; iprev=pass (mx.example.com)\r\n",
    "results: no host at all": b"Authentication-Results: ; none\r\n",
    "results: empty": b"Authentication-Results:\r\n",
    "results: huge other host": b"Authentication-Results: " + b"x" * 5000 + b"; none\r\n",
    "results: 8-bit other host": b"Authentication-Results: \xff\xfe; none\r\n",
    "arc results": b"ARC-Authentication-Results: i=1; mx.example.com; none\r\n",
    "received": b"Received: from mx.example.com by x; date\r\n",
    "return path": b"Return-Path: <a@b>\r\n",
}


def stripped(octets: bytes, host: str = HOST) -> bytes:
    return strip_forged(parse_head(octets), host).octets


@pytest.mark.parametrize("field", TRICKS.values(), ids=TRICKS)
class TestTricks:
    def test_in_the_middle(self, field: bytes) -> None:
        assert stripped(BEFORE + field + AFTER + b"\r\nbody") == BEFORE + AFTER

    def test_last_without_a_body(self, field: bytes) -> None:
        assert stripped(BEFORE + field) == BEFORE

    def test_again_and_again(self, field: bytes) -> None:
        assert stripped(BEFORE + field * 3 + AFTER + field + b"\r\n") == BEFORE + AFTER

    def test_behind_a_line_of_blanks(self, field: bytes) -> None:
        """Some readers take a line of blanks for the empty line; to Exim what stands behind it is a field."""
        assert stripped(BEFORE + b" \t\r\n" + field + AFTER + b"\r\n") == BEFORE + b" \t\r\n" + AFTER

    def test_behind_a_line_that_is_no_field(self, field: bytes) -> None:
        """Exim ends the header section there, SpamAssassin does not."""
        assert stripped(BEFORE + b"no field\r\n" + field + AFTER + b"\r\n") == BEFORE + b"no field\r\n" + AFTER

    def test_not_in_the_body(self, field: bytes) -> None:
        head = parse_head(BEFORE + b"\r\n" + field + AFTER)
        assert strip_forged(head, HOST) == head


@pytest.mark.parametrize(
    "field", [f for f in TRICKS.values() if f[0] > 0x20], ids=[n for n in TRICKS if TRICKS[n][0] > 0x20]
)
def test_a_trick_on_the_first_line_is_gone_or_no_field(field: bytes) -> None:
    """A first line that no reader takes for a field stays, below the empty line that makes it body."""
    head = strip_forged(parse_head(field + AFTER + b"\r\n"), HOST)
    assert (head.octets, head.separator) in ((AFTER, b""), (b"", b"\r\n"))


@pytest.mark.parametrize("field", NEIGHBOURS.values(), ids=NEIGHBOURS)
def test_neighbours_stay(field: bytes) -> None:
    octets = BEFORE + field + AFTER
    assert stripped(octets + b"\r\nbody") == octets


def test_enough_tricks() -> None:
    assert len(TRICKS) >= 27


@pytest.mark.parametrize(
    ("host", "claimed"),
    [
        ("mx.bücher.example", "mx.xn--bcher-kva.example"),
        ("mx.xn--bcher-kva.example", "mx.bücher.example"),
        ("mx.xn--bcher-kva.example", "mx.BÜCHER.example"),
        ("mx.bücher.example", "mx。bücher．example"),
        ("mx.bücher.example", "ｍｘ.bu\u0308cher.example"),
        ("mx.bücher.example", "mx.bü\u00adcher.example"),
        ("mx.straße.example", "mx.strasse.example"),
        ("mx.bücher.example", '"mx.bücher.example'),
        ("mx.bücher.example", "(mx.xn--bcher-kva.example"),
        ("mx_..example", "mx_..example"),
        ("mx.bücher.example", "MX.bücher.example."),
    ],
)
def test_one_name_in_two_spellings(host: str, claimed: str) -> None:
    assert stripped(BEFORE + f"Authentication-Results: {claimed}; spf=pass\r\n".encode(), host) == BEFORE


@pytest.mark.parametrize(
    ("value", "identifier"),
    [
        (b"a.example; none", b"a.example"),
        (b" \t(c (d) \\( ) a.example 1; none", b"a.example"),
        (b'"a b\\"c" ; none', b'a b"c'),
        (b'"\\', None),
        (b"(", None),
        (b"()", None),
        (b"(\\", None),
        (b")x", None),
        (b"", None),
        (b";", None),
        (b"(" * 4000, None),
        (b"a=b", b"a"),
        (b"\xc3\xa4.example", "ä.example".encode()),
    ],
)
def test_authserv_id(value: bytes, identifier: bytes | None) -> None:
    assert authserv_id(value) == identifier


NAMES = st.sampled_from(
    [
        b"From",
        b"X-Spam-Flag",
        b"x-mailguard-x",
        b"Authentication-Results",
        b"X-Virus-Scanned",
        b" fold",
        b"",
        b"\0X-Spam-A",
    ]
)
VALUES = st.sampled_from(
    [b"mx.example.com; none", b"x", b"", b"(", b"\r\n more", b"\r\n\r\nbody", b"\xff"]
) | st.binary(max_size=9)
LINES = st.lists(st.tuples(NAMES, st.sampled_from([b":", b" :", b"", b": "]), VALUES).map(b"".join), max_size=12)
MESSAGES = (
    LINES.map(b"\r\n".join) | LINES.map(lambda ls: b"".join(line + b"\r\n" for line in ls)) | st.binary(max_size=80)
)


@given(MESSAGES)
def test_stripping_twice_is_stripping_once(octets: bytes) -> None:
    once = strip_forged(parse_head(octets), HOST)
    assert strip_forged(once, HOST) == once
    again = parse_head(once.octets + once.separator + octets[once.size :])
    assert strip_forged(again, HOST).octets == again.octets


@given(MESSAGES)
def test_only_whole_fields_go_and_the_rest_stays_in_order(octets: bytes) -> None:
    head = parse_head(octets)
    kept = iter(head.pieces)
    assert all(piece in kept for piece in strip_forged(head, HOST).pieces)


@given(MESSAGES, st.text(max_size=9))
def test_the_body_is_never_touched(octets: bytes, host: str) -> None:
    head = parse_head(octets)
    assert strip_forged(head, host).size == head.size
    assert head.octets + octets[head.size :] == octets
