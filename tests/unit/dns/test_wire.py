"""Replies: the short way against dnspython, and octets from hell."""

from __future__ import annotations

import dns.message
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailguard.dns import quick, wire
from mailguard.dns.answers import Absence, Failed, Found, NotFound
from mailguard.dns.question import TYPE_CODES, about
from tests.unit.dns.fakes import NODATA, NXDOMAIN, REFUSED, SERVFAIL, Say

CLIENT = "7.7.18.198.bl.example"
QUESTION = about(CLIENT, "A")
QUERY = wire.encode(QUESTION, b"\x12\x34")
LISTED = Say(("7.7.18.198.bl.example. 60 A 127.0.0.2", "7.7.18.198.bl.example. 60 A 127.0.0.4"))

_ADDRESSES = st.lists(st.ip_addresses(v=4), max_size=4).map(lambda ips: [str(ip) for ip in ips])
_OWNERS = st.sampled_from(["bl.example.", "example.", "7.7.18.198.bl.example.", "other.", "l.example.", "."])
_TTLS = st.integers(0, 2**31 - 1)


def test_a_query_is_what_dnspython_reads() -> None:
    for rdtype in TYPE_CODES:
        message = dns.message.from_wire(wire.encode(about("Host.Example", rdtype), b"\0\x4d"))
        assert message.to_text().splitlines()[:5] == ["id 77", "opcode QUERY", "rcode NOERROR", "flags RD", ";QUESTION"]
        assert message.question[0].to_text() == f"host.example. IN {rdtype}"


@given(_ADDRESSES, _TTLS, st.none() | _OWNERS, _TTLS, _TTLS, st.sampled_from(["NOERROR", "NXDOMAIN", "SERVFAIL"]))
def test_the_short_way_says_what_dnspython_says(
    addresses: list[str], ttl: int, owner: str | None, soa_ttl: int, minimum: int, rcode: str
) -> None:
    records = tuple(f"{CLIENT}. {ttl} A {address}" for address in addresses)
    soa = (
        ()
        if addresses or owner is None
        else (f"{owner} {soa_ttl} SOA ns.{owner.removeprefix('.')} h. 1 2 3 4 {minimum}",)
    )
    reply = Say(records, soa, rcode).to(QUERY)
    known = quick.read(QUESTION, reply)
    assert known is None or known == wire.read(QUESTION, reply)


REVERSE = "7.7.18.198.in-addr.arpa"
HOST = about(REVERSE, "PTR")
HOST_QUERY = wire.encode(HOST, b"\x12\x34")
NAMED = Say(("7.7.18.198.in-addr.arpa. 60 PTR Mail-7.example.net.",))
_LABELS = st.lists(st.text("aZ9-_", min_size=1, max_size=63), min_size=1, max_size=3).map(
    lambda labels: ".".join(labels) + "."
)
_NAMES = st.sampled_from([".", "a\\.b.example.", "a\\032b.example.", "7.7.18.198.in-addr.arpa.", "x.arpa.", "a/b.c."])


@given(_LABELS | _NAMES, _TTLS, st.integers(1, 2), st.sampled_from(["NOERROR", "NXDOMAIN"]))
def test_the_short_way_reads_the_host_names_that_dnspython_reads(name: str, ttl: int, count: int, rcode: str) -> None:
    records = tuple(f"{REVERSE}. {ttl} PTR {each}" for each in (name, "other.example.")[:count])
    reply = Say(records, rcode=rcode).to(HOST_QUERY)
    known = quick.read(HOST, reply)
    assert known is None or known == wire.read(HOST, reply)


def test_the_short_way_reads_one_plain_host_name_alone() -> None:
    assert quick.read(HOST, NAMED.to(HOST_QUERY)) == Found(("mail-7.example.net",), 60)
    for odd in ("a\\.b.example.", "a/b.example.", "x.7.7.18.198.in-addr.arpa.", "."):
        assert quick.read(HOST, Say((f"{REVERSE}. 60 PTR {odd}",)).to(HOST_QUERY)) is None


def test_a_host_name_cut_or_spoiled_anywhere_is_what_dnspython_says_it_is() -> None:
    reply = NAMED.to(HOST_QUERY)
    for place in range(len(HOST_QUERY), len(reply)):
        assert quick.read(HOST, reply[:place]) is None
        for octet in range(256):
            spoiled = reply[:place] + bytes([octet]) + reply[place + 1 :]
            known = quick.read(HOST, spoiled)
            assert known is None or known == wire.read(HOST, spoiled)


@pytest.mark.parametrize(
    ("said", "kind"),
    [(LISTED, Found), (Say(authority=("bl.example. 60 SOA a. b. 1 2 3 4 5",), rcode="NXDOMAIN"), NotFound)],
)
def test_the_short_way_is_taken_for_the_replies_of_dns_lists(said: Say, kind: type) -> None:
    assert isinstance(quick.read(QUESTION, said.to(QUERY)), kind)


def test_the_short_way_knows_both_absences() -> None:
    for rcode, absence in (("NXDOMAIN", Absence.NXDOMAIN), ("NOERROR", Absence.NODATA)):
        reply = Say(authority=("bl.example. 60 SOA a. b. 1 2 3 4 5",), rcode=rcode).to(QUERY)
        assert quick.read(QUESTION, reply) == NotFound(absence, 5)
        assert quick.read(QUESTION, Say(rcode=rcode).to(QUERY)) == NotFound(absence, 0)
        of_root = Say(authority=(". 60 SOA a. b. 1 2 3 4 5",), rcode=rcode).to(QUERY)
        assert quick.read(QUESTION, of_root) == NotFound(absence, 5)


@pytest.mark.parametrize("said", [LISTED, NXDOMAIN, NODATA])
def test_a_reply_cut_anywhere_is_none_of_the_short_way_and_no_answer(said: Say) -> None:
    reply = said.to(QUERY)
    for length in range(len(QUERY), len(reply)):
        cut = reply[:length]
        assert quick.read(QUESTION, cut) is None
        assert isinstance(wire.decode(QUESTION, cut), Failed)


@given(st.sampled_from([LISTED, NXDOMAIN, NODATA, SERVFAIL, REFUSED]), st.data())
def test_spoiled_octets_never_raise(said: Say, data: st.DataObject) -> None:
    reply = bytearray(said.to(QUERY))
    for _ in range(data.draw(st.integers(1, 4))):
        reply[data.draw(st.integers(0, len(reply) - 1))] = data.draw(st.integers(0, 255))
    octets = bytes(reply)
    if wire.echoes(QUERY, octets):
        wire.decode(QUESTION, octets)


@given(st.binary(max_size=200), st.sampled_from(sorted(TYPE_CODES)))
def test_any_octets_after_the_echo_never_raise(tail: bytes, rdtype: str) -> None:
    question = about("host.example", rdtype)  # type: ignore[arg-type]
    query = wire.encode(question, b"\0\7")
    header = b"\0\7\x81\x80\0\1" + tail[:6].ljust(6, b"\0")
    reply = header + query[12:] + tail[6:]
    assert wire.echoes(query, reply)
    wire.decode(question, reply)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda r: b"\0" + r[1:],
        lambda r: r[:2] + b"\x01" + r[3:],
        lambda r: r[:2] + b"\xa1" + r[3:],
        lambda r: r[:4] + b"\0\2" + r[6:],
        lambda r: r[:4] + b"\0\0" + r[6:],
        lambda r: r.replace(b"\x02bl", b"\x02bm"),
        lambda r: r[: len(QUERY) - 3] + b"\x1c" + r[len(QUERY) - 2 :],
        lambda r: r[:11],
    ],
    ids=["id", "query", "opcode", "two questions", "no question", "name", "type", "short"],
)
def test_what_does_not_echo_the_question_is_no_reply(spoil: object) -> None:
    reply = LISTED.to(QUERY)
    assert wire.echoes(QUERY, reply)
    assert wire.echoes(QUERY, reply.replace(b"\x02bl", b"\x02BL"))
    assert not wire.echoes(QUERY, spoil(reply))  # type: ignore[operator]
