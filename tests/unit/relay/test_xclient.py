"""relay/xclient.py: how a client is named, and that our own server understands it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mailguard.facts import ClientAddress, Known, ReverseDns, Unknown
from mailguard.relay.answers import BackendFailed
from mailguard.relay.xclient import MAX_LINE, commands, xtext
from tests.unit.relay.conftest import IDENTITY

ALL = ("NAME", "ADDR", "PORT", "PROTO", "HELO", "LOGIN", "DESTADDR", "DESTPORT")


def test_all_attributes() -> None:
    client = replace(
        IDENTITY,
        address=ClientAddress.parse("2001:2::a"),
        local_address=ClientAddress.parse("2001:2::b"),
        helo="un_der+score",
        extended=False,
        reverse=Known(ReverseDns("mail.example.org", confirmed=True)),
    )
    assert commands(client, ALL) == [
        b"XCLIENT ADDR=IPV6:2001:2::a NAME=mail.example.org PORT=40000 PROTO=SMTP HELO=un_der+2Bscore "
        b"DESTADDR=IPV6:2001:2::b DESTPORT=25"
    ]


@pytest.mark.parametrize(
    ("reverse", "name"),
    [
        (Known(ReverseDns("mail.example.org", confirmed=False)), b"[UNAVAILABLE]"),
        (Known(ReverseDns("", confirmed=False)), b"[UNAVAILABLE]"),
        (Unknown("timeout"), b"[TEMPUNAVAIL]"),
    ],
)
def test_a_name_that_is_not_confirmed_is_none(reverse: Known[ReverseDns] | Unknown, name: bytes) -> None:
    assert commands(replace(IDENTITY, reverse=reverse), ("ADDR", "NAME")) == [b"XCLIENT ADDR=198.18.1.10 NAME=" + name]


def test_only_what_is_offered_and_not_without_the_address() -> None:
    assert commands(replace(IDENTITY, helo=""), ("HELO", "ADDR")) == [b"XCLIENT ADDR=198.18.1.10 HELO=[UNAVAILABLE]"]
    for offered in (None, (), ("NAME", "HELO")):
        with pytest.raises(BackendFailed, match="XCLIENT"):
            commands(IDENTITY, offered)


def test_what_is_too_long_for_a_line_goes_into_another() -> None:
    lines = commands(replace(IDENTITY, helo="=" * 150), ALL)
    assert len(lines) == 2
    assert all(line.startswith(b"XCLIENT ") and len(line) + 2 <= MAX_LINE for line in lines)
    assert b" ".join(line.removeprefix(b"XCLIENT ") for line in lines).split()[4] == b"HELO=" + b"+3D" * 150


@pytest.mark.parametrize(
    ("octets", "text"), [(b"a.b-c", b"a.b-c"), (b"a+b=c d\r\n\x00\xff~!", b"a+2Bb+3Dc+20d+0D+0A+00+FF~!")]
)
def test_xtext(octets: bytes, text: bytes) -> None:
    assert xtext(octets) == text
