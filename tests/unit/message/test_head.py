"""Reading header sections: what is a field, where they end, and that nothing fails."""

from __future__ import annotations

from email import message_from_bytes
from email.policy import compat32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailguard.message import RECEIVED, parse_head, sought, strip_forged
from mailguard.message.sought import field_name, field_value, is_sought
from tests.support.heads import fields as fields_of


@pytest.mark.parametrize(
    ("octets", "fields", "separator"),
    [
        pytest.param(b"", [], b"", id="nothing"),
        pytest.param(b"\r\n", [], b"", id="an empty line"),
        pytest.param(b"\r\nFrom: body\r\n", [], b"", id="a body alone"),
        pytest.param(b"A: 1\r\nB: 2\r\n\r\nC: 3\r\n", [b"A: 1\r\n", b"B: 2\r\n"], b"", id="fields and a body"),
        pytest.param(b"A: 1\r\nB: 2\r\n", [b"A: 1\r\n", b"B: 2\r\n"], b"", id="fields alone"),
        pytest.param(b"A: 1\r\nB: 2", [b"A: 1\r\n", b"B: 2"], b"", id="no end of line"),
        pytest.param(b"A: 1\r\n", [b"A: 1\r\n"], b"", id="one field"),
        pytest.param(b"A:\r\n 1\r\n\t2\r\nB: 3\r\n\r\n", [b"A:\r\n 1\r\n\t2\r\n", b"B: 3\r\n"], b"", id="folded"),
        pytest.param(b"A: 1\r\n \t\r\nB: 2\r\n\r\n", [b"A: 1\r\n \t\r\n", b"B: 2\r\n"], b"", id="a line of blanks"),
        pytest.param(b"A: 1\r\n \r\n\r\nB: 2\r\n", [b"A: 1\r\n \r\n"], b"", id="blanks, then the empty line"),
        pytest.param(
            b"A: 1\r\nno field\r\nB: 2\r\n\r\n", [b"A: 1\r\n", b"no field\r\n", b"B: 2\r\n"], b"", id="no colon"
        ),
        pytest.param(b"A : 1\r\n\r\n", [b"A : 1\r\n"], b"", id="blank before the colon"),
        pytest.param(b"A\r\n : 1\r\n\r\n", [b"A\r\n : 1\r\n"], b"", id="folded before the colon"),
        pytest.param(b"\xe4: 1\r\n\r\n", [b"\xe4: 1\r\n"], b"", id="8-bit name"),
        pytest.param(b"text\r\nA: 1\r\n\r\n", [], b"\r\n", id="text at once"),
        pytest.param(b" A: 1\r\nB: 2\r\n\r\n", [], b"\r\n", id="a blank first"),
        pytest.param(b"\tA: 1\r\n\r\n", [], b"\r\n", id="a tab first"),
        pytest.param(b": 1\r\n\r\n", [], b"\r\n", id="no name"),
        pytest.param(b"A\0: 1\r\n\r\n", [], b"\r\n", id="NUL in the first name"),
        pytest.param(b"From a@b Fri Nov 20 10:00:00 2026\r\nA: 1\r\n\r\n", [], b"\r\n", id="mbox From_ line"),
        pytest.param(b"two words: x\r\n\r\n", [], b"\r\n", id="two words before the colon"),
        pytest.param(b"x", [], b"\r\n", id="one octet"),
    ],
)
def test_parse(octets: bytes, fields: list[bytes], separator: bytes) -> None:
    head = parse_head(octets)
    assert fields_of(head.octets) == fields
    assert head.separator == separator
    assert head.size == len(b"".join(fields))


BOUND = 2000


@pytest.mark.parametrize("behind", [b"", b"\r\n", b"\r\nbody\r\n", b"\r\n" + b"y" * 3000])
@pytest.mark.parametrize("over", [-1, 0, 1, 2, 3, 500])
def test_two_octets_more_than_a_bound_tell_whether_the_section_keeps_it(over: int, behind: bytes) -> None:
    octets = b"A: " + b"x" * (BOUND + over - 5) + b"\r\n" + behind
    head = parse_head(octets[: BOUND + 2])
    assert (head.size > BOUND) == (over > 0)
    if over <= 0:
        assert head == parse_head(octets)


def test_what_has_no_section_keeps_every_bound() -> None:
    for first in (b"\r\n", b"text at once\r\n", b" A: 1\r\n"):
        assert parse_head((first + b"x" * 3000)[: BOUND + 2]).size == 0


@pytest.mark.parametrize(
    ("field", "name", "value"),
    [
        (b"Subject: a b \r\n", b"subject", b"a b"),
        (b"SUBJECT :\r\n\ta\r\n b\r\n", b"subject", b"a b"),
        (b"A:b:c\r\n", b"a", b"b:c"),
        (b"no colon\r\n", b"", b""),
        (b"A\r\n :\r\n", b"a", b""),
    ],
)
def test_name_and_value(field: bytes, name: bytes, value: bytes) -> None:
    assert field_name(field) == name
    assert field_value(field) == value


def test_received_are_counted_however_they_are_written() -> None:
    ours = b"Received: a\r\nRECEIVED : b\r\nreceived:\r\n c\r\n"
    others = b"X-Received: d\r\nSubject: Received:\r\n\r\nReceived: body\r\n"
    assert len(parse_head(ours + others).named(RECEIVED)) == 3


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (b"Message-ID: <a@b>\r\n", "<a@b>"),
        (b"message-id:\r\n <a@b>\r\nMessage-Id: <second@b>\r\n", "<a@b>"),
        (b"Message-ID: <\xff\0\x1b@b>\r\n", "<???@b>"),
        (b"Message-ID: " + b"x" * 2000 + b"\r\n", "x" * 998),
        (b"Subject: none\r\n", ""),
    ],
)
def test_message_id(field: bytes, value: str) -> None:
    assert parse_head(field + b"\r\n").message_id == value


@given(st.binary(max_size=200) | st.text("A: \r\n\tX\0", max_size=60).map(str.encode))
def test_any_octets_are_parsed_and_none_is_lost(octets: bytes) -> None:
    head = parse_head(octets)
    assert head.octets == octets[: head.size]
    assert not head.octets.startswith((b" ", b"\t"))
    assert all(field in octets for field in head.named(RECEIVED))
    assert head.message_id.isascii()
    assert octets[head.size :].startswith(b"\r\n") or not head.octets or head.size == len(octets)


NAME = st.text("abcXYZ-0189!~", min_size=1, max_size=9)
VALUE = st.text("abc :;()\t\\\"'é", max_size=30).map(str.strip)
FIELDS = st.lists(st.tuples(NAME, st.lists(VALUE.filter(bool), min_size=1, max_size=3)), min_size=1, max_size=9)


@given(FIELDS, st.binary(max_size=30))
def test_the_standard_library_reads_the_same_fields(fields: list[tuple[str, list[str]]], body: bytes) -> None:
    octets = b"".join(
        f"{name}: ".encode() + b"\r\n\t".join(v.encode() for v in values) + b"\r\n" for name, values in fields
    )
    oracle = message_from_bytes(octets + b"\r\n" + body, policy=compat32)
    head = parse_head(octets + b"\r\n" + body)
    assert [field_name(field).decode() for field in fields_of(head.octets)] == [name.lower() for name in oracle.keys()]  # noqa: SIM118
    assert head.octets == octets


SOUGHT = st.sampled_from(
    [
        b"From",
        b"X-Spam-Flag",
        b"x-mailguard",
        b"X-Mailguardian",
        b"X-VirUs\r\n -Scanned",
        b"Received",
        b"RECEIVED ",
        b"Received-SPF",
        b"\0Message-ID",
        b"X-S\0pam-x",
        b"x-spam-\r\n",
        b"\x7fReturn-Path\t\r\n ",
        b"\rX-Spam-",
        b"X-Spam-\nB",
        b" Received",
        b"",
        b"\r",
        b"\n",
        b"\r\n",
    ]
)
LINES = st.tuples(
    SOUGHT, st.sampled_from([b":", b" :", b""]), st.binary(max_size=6), st.sampled_from([b"\r\n", b"\n", b"\r", b""])
)


@given(st.lists(LINES.map(b"".join), max_size=9).map(b"".join))
def test_what_is_sought_is_found_and_nothing_else(lines: bytes) -> None:
    head = parse_head(b"A: 1\r\n" + lines)
    named = [(field_name(field), field) for field in fields_of(head.octets)]
    assert [field[:2] for field in head.sought] == [each for each in named if is_sought(each[0])]
    assert all(head.octets.startswith(octets, start) for _, octets, start in head.sought)


@given(st.lists(LINES.map(b"".join), max_size=9).map(b"".join), st.sets(st.integers(0, 8)))
def test_without_some_the_others_are_found_where_they_are(lines: bytes, places: set[int]) -> None:
    head = parse_head(b"A: 1\r\n" + lines)
    unwanted = [field for place, field in enumerate(head.sought) if place in places]
    left = head.without(unwanted)
    assert sum(len(octets) for _, octets, _ in unwanted) == len(head.octets) - len(left.octets)
    assert left.sought == parse_head(left.octets).sought


def test_a_name_that_is_not_sought_cannot_be_asked_for() -> None:
    with pytest.raises(ValueError, match="subject"):
        parse_head(b"Subject: s\r\n\r\n").named(b"subject")


@pytest.mark.parametrize("line", [b"B\r\n", b"B:\r\n", b" \r\n", b"X-Spam\r\n", b"\0\r\n"])
def test_what_is_not_sought_is_not_kept_however_many_lines_it_has(line: bytes) -> None:
    """Nothing is made of them, or a message of tiny lines would hold up all other sessions."""
    octets = b"A: 1\r\n" + line * ((1 << 20) // len(line))
    head = parse_head(octets)
    assert (head.sought, head.octets) == ((), octets)


def test_each_field_that_is_sought_is_named_once(monkeypatch: pytest.MonkeyPatch) -> None:
    named: list[bytes] = []

    def counted(field: bytes) -> bytes:
        named.append(field)
        return field_name(field)

    monkeypatch.setattr(sought, "field_name", counted)
    head = parse_head(b"A: 1\r\n" + b"Received: x\r\nB:\r\nX-Spam-A: y\r\nMessage-ID: <i>\r\n" * 1000 + b"\r\n")
    stripped = strip_forged(head, "mx.example.com")
    assert (len(stripped.named(RECEIVED)), stripped.message_id) == (1000, "<i>")
    assert len(named) == 3000
