"""Forged fields: each of the table, wherever it stands, and laws that hold for any octets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailguard.message import parse_head, strip_forged
from mailguard.message.forged import authserv_id
from mailguard.smtp.chunkreader import ChunkReader
from tests.forgeries.rows import AFTER, BEFORE, HOST, ROWS, Forgery
from tests.support.heads import fields as fields_of

TRICKS = {f"{row.group}: {row.name}": row for row in ROWS if row.field and row.goes}


def stripped(octets: bytes, host: str = HOST) -> bytes:
    return strip_forged(parse_head(octets), host).octets


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.group}: {row.name}")
def test_what_is_left_of_each_row(row: Forgery) -> None:
    reader = ChunkReader(1 << 20)
    octets = reader.feed(row.sent) + reader.finish()
    head = strip_forged(parse_head(octets), row.host)
    assert head.octets + head.separator + octets[head.size :] == row.arrives


@pytest.mark.parametrize("row", TRICKS.values(), ids=TRICKS)
class TestTricks:
    def test_last_without_a_body(self, row: Forgery) -> None:
        assert stripped(BEFORE + row.field, row.host) == BEFORE

    def test_again_and_again(self, row: Forgery) -> None:
        octets = BEFORE + row.field * 3 + AFTER + row.field + b"\r\n"
        assert stripped(octets, row.host) == BEFORE + AFTER

    def test_behind_a_line_of_blanks(self, row: Forgery) -> None:
        """Some readers take a line of blanks for the empty line; to Exim what stands behind it is a field."""
        octets = BEFORE + b" \t\r\n" + row.field + AFTER + b"\r\n"
        assert stripped(octets, row.host) == BEFORE + b" \t\r\n" + AFTER

    def test_behind_a_line_that_is_no_field(self, row: Forgery) -> None:
        """Exim ends the header section there, SpamAssassin does not."""
        octets = BEFORE + b"no field\r\n" + row.field + AFTER + b"\r\n"
        assert stripped(octets, row.host) == BEFORE + b"no field\r\n" + AFTER

    def test_not_in_the_body(self, row: Forgery) -> None:
        head = parse_head(BEFORE + b"\r\n" + row.field + AFTER)
        assert strip_forged(head, row.host) == head

    def test_on_the_first_line_it_is_gone_or_no_field(self, row: Forgery) -> None:
        """A first line that no reader takes for a field stays, below the empty line that makes it body."""
        head = strip_forged(parse_head(row.field + AFTER + b"\r\n"), row.host)
        assert (head.octets, head.separator) in ((AFTER, b""), (b"", b"\r\n"))


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
    came = iter(fields_of(head.octets))
    assert all(field in came for field in fields_of(strip_forged(head, HOST).octets))


@given(MESSAGES, st.text(max_size=9))
def test_the_body_is_never_touched(octets: bytes, host: str) -> None:
    head = parse_head(octets)
    assert strip_forged(head, host).size == head.size
    assert head.octets + octets[head.size :] == octets
