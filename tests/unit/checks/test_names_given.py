"""reverse_dns, helo and sender against tables: found, absent, and every way of not knowing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailguard.checks.helo import helo_is_address, helo_resolves
from mailguard.checks.reverse_dns import MAX_NAMES, reverse_dns
from mailguard.checks.sender import sender_resolves
from mailguard.dns.inquiry import Inquiry
from mailguard.dns.resolver import Resolver
from mailguard.facts import Answer, ClientAddress, Known, ReverseDns, Unknown
from tests.support.loops import alone, at, cancelled_after
from tests.unit.dns.fakes import (
    FAULTS,
    HANGING,
    NODATA,
    NXDOMAIN,
    SERVFAIL,
    SILENT,
    Answerer,
    FakeTransport,
    Say,
    Table,
    resolver,
    says,
)

YES, NO = Known(True), Known(False)
UNKNOWN = "unknown"


def is_as(answer: object, expected: object) -> bool:
    return isinstance(answer, Unknown) if expected is UNKNOWN else answer == expected


def fault(name: str, rdtype: str, failure: Answerer) -> Table:
    return {(name, rdtype): failure}


def absent(name: str, *types: str) -> Table:
    return {(name, rdtype): NODATA for rdtype in types}


# --- helo


@pytest.mark.parametrize("name", ["[198.18.1.1]", "[IPv6:2001:2::1]", "[nonsense]", "198.18.1.1", "2001:2::1", "::1"])
def test_addresses_in_helo(name: str) -> None:
    assert helo_is_address(name)


@pytest.mark.parametrize(
    "name", ["", "localhost", "mail.example", "198.18.1", "198.18.1.1.example", "1-2-3-4.example", "[", "a]"]
)
def test_names_in_helo(name: str) -> None:
    assert not helo_is_address(name)


HOST = "host.example"
HELO: list[tuple[Table, object]] = [
    (says(HOST, "A", "198.18.1.1"), YES),
    (absent(HOST, "A", "MX") | says(HOST, "AAAA", "2001:2::1"), YES),
    (absent(HOST, "A", "AAAA") | says(HOST, "MX", "10 mx.example."), YES),
    (absent(HOST, "A", "AAAA", "MX"), NO),
    ({}, NO),
    *[(fault(HOST, "A", failure) | absent(HOST, "AAAA", "MX"), UNKNOWN) for failure in FAULTS],
    *[(fault(HOST, "AAAA", failure) | absent(HOST, "A", "MX"), UNKNOWN) for failure in FAULTS],
    *[(fault(HOST, "MX", failure) | absent(HOST, "A", "AAAA"), UNKNOWN) for failure in FAULTS],
    ({(HOST, "A"): SERVFAIL} | says(HOST, "AAAA", "2001:2::1") | absent(HOST, "MX"), YES),
]


@pytest.mark.parametrize(("table", "expected"), HELO)
async def test_helo_resolves(table: Table, expected: object) -> None:
    answer = await helo_resolves(resolver(FakeTransport(table)), "HOST.example.", at())
    assert is_as(answer, expected)


async def test_a_name_that_does_not_exist_is_asked_about_once() -> None:
    transport = FakeTransport()
    assert await helo_resolves(resolver(transport), HOST, at()) == NO
    assert len(transport.asked) == 1


# --- sender

SENDER: list[tuple[Table, object]] = [
    (says(HOST, "MX", "10 mx.example."), YES),
    (says(HOST, "MX", "0 ."), NO),
    (says(HOST, "MX", "0 .", "10 mx.example."), YES),
    (absent(HOST, "MX", "AAAA") | says(HOST, "A", "198.18.1.1"), YES),
    (absent(HOST, "MX", "A") | says(HOST, "AAAA", "2001:2::1"), YES),
    (absent(HOST, "MX", "A", "AAAA"), NO),
    ({}, NO),
    *[(fault(HOST, "MX", failure) | says(HOST, "A", "198.18.1.1"), UNKNOWN) for failure in FAULTS],
    *[(fault(HOST, "A", failure) | absent(HOST, "MX", "AAAA"), UNKNOWN) for failure in FAULTS],
    *[(fault(HOST, "AAAA", failure) | absent(HOST, "MX", "A"), UNKNOWN) for failure in FAULTS],
    ({(HOST, "A"): SILENT} | absent(HOST, "MX") | says(HOST, "AAAA", "2001:2::1"), YES),
]


@pytest.mark.parametrize(("table", "expected"), SENDER)
async def test_sender_resolves(table: Table, expected: object) -> None:
    answer = await sender_resolves(resolver(FakeTransport(table)), "Host.Example", at())
    assert is_as(answer, expected)


# --- names that are never asked about


@pytest.mark.parametrize("ask", [helo_resolves, sender_resolves])
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("[198.18.1.1]", YES),
        ("[IPv6:2001:2::1]", YES),
        ("a b.example", NO),
        ("a..example", NO),
        ("-a.example", NO),
        ("x" * 64 + ".example", NO),
        ("*.example", NO),
        ("a_b.123", NO),
        ("a\r\nb.example", NO),
        ("a\0.example", NO),
        (".", NO),
        ("a\u200db.example", UNKNOWN),
    ],
)
async def test_what_is_no_name_needs_no_question(
    ask: Callable[[Resolver, str, float], Awaitable[Answer[bool]]], name: str, expected: object
) -> None:
    transport = FakeTransport()
    answer = await ask(resolver(transport), name, at())
    assert is_as(answer, expected)
    assert not transport.asked


async def test_bare_addresses_and_the_null_path() -> None:
    transport = FakeTransport()
    asking = resolver(transport)
    assert await helo_resolves(asking, "198.18.1.1", at()) == YES  # helo.is_address tells
    assert await helo_resolves(asking, "", at()) == NO
    assert await sender_resolves(asking, "198.18.1.1", at()) == NO  # a domain, all digits: nobody's
    assert await sender_resolves(asking, "", at()) == YES  # <>
    assert not transport.asked


@given(st.text(max_size=60))
def test_no_text_is_sent_that_is_no_host_name(text: str) -> None:
    async def run() -> list[str]:
        transport = FakeTransport()
        asking = resolver(transport)
        await helo_resolves(asking, text, at())
        await sender_resolves(asking, text, at())
        return transport.names

    for name in asyncio.run(run()):
        assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-_.")


async def test_a_unicode_domain_is_asked_about_in_ascii() -> None:
    transport = FakeTransport(says("xn--bcher-kva.example", "MX", "10 mx.example."))
    assert await sender_resolves(resolver(transport), "bücher.example", at()) == YES


# --- reverse_dns

CLIENT = ClientAddress.parse("198.18.1.10")
PTR = "10.1.18.198.in-addr.arpa"
PTR6 = ClientAddress.parse("2001:2::a").ip.reverse_pointer

REVERSE: list[tuple[Table, object]] = [
    ({}, ReverseDns("", False)),
    (absent(PTR, "PTR"), ReverseDns("", False)),
    (
        says(PTR, "PTR", "A.example.") | says("a.example", "A", "198.18.1.9", "198.18.1.10"),
        ReverseDns("a.example", True),
    ),
    (says(PTR, "PTR", "a.example.") | says("a.example", "A", "198.18.1.9"), ReverseDns("a.example", False)),
    (says(PTR, "PTR", "a.example."), ReverseDns("a.example", False)),
    (says(PTR, "PTR", "a.example.") | absent("a.example", "A"), ReverseDns("a.example", False)),
    (
        says(PTR, "PTR", "a.example.", "b.example.") | says("b.example", "A", "198.18.1.10"),
        ReverseDns("b.example", True),
    ),
    (
        says(PTR, "PTR", "a.example.", "b.example.")
        | {("a.example", "A"): SILENT}
        | says("b.example", "A", "198.18.1.10"),
        ReverseDns("b.example", True),
    ),
    (says(PTR, "PTR", r"a\032b.example.", r"x\013\010.example.", "1.2.3.4."), ReverseDns("", False)),
    (
        says(PTR, "PTR", r"a\032b.example.", "ok.example.") | says("ok.example", "A", "198.18.1.10"),
        ReverseDns("ok.example", True),
    ),
    (
        {(PTR, "PTR"): Say((f"{PTR}. 60 CNAME 10.sub.example.", "10.sub.example. 60 PTR a.example."))}
        | says("a.example", "A", "198.18.1.10"),
        ReverseDns("a.example", True),
    ),
    *[(fault(PTR, "PTR", failure), UNKNOWN) for failure in FAULTS],
    *[(says(PTR, "PTR", "a.example.", "b.example.") | fault("b.example", "A", failure), UNKNOWN) for failure in FAULTS],
    (says(PTR, "PTR", "a.example.") | says("a.example", "AAAA", "2001:2::a"), ReverseDns("a.example", False)),
]


@pytest.mark.parametrize(("table", "expected"), REVERSE)
async def test_reverse_dns(table: Table, expected: object) -> None:
    answer = await reverse_dns(resolver(FakeTransport(table)), CLIENT, at())
    assert is_as(answer, expected if expected is UNKNOWN else Known(expected))


async def test_reverse_dns_of_ipv6() -> None:
    table = says(PTR6, "PTR", "six.example.") | says("six.example", "AAAA", "2001:2::a")
    answer = await reverse_dns(resolver(FakeTransport(table)), ClientAddress.parse("2001:2::a"), at())
    assert answer == Known(ReverseDns("six.example", True))


async def test_no_more_names_are_followed_than_the_bound() -> None:
    transport = FakeTransport(says(PTR, "PTR", *(f"h{i}.example." for i in range(30))))
    assert isinstance(await reverse_dns(resolver(transport), CLIENT, at()), Known)
    assert len(transport.asked) == 1 + MAX_NAMES


@pytest.mark.parametrize(
    "ask",
    [
        lambda asking: reverse_dns(asking, CLIENT, at()),
        lambda asking: helo_resolves(asking, HOST, at()),
        lambda asking: sender_resolves(asking, HOST, at()),
    ],
    ids=["reverse_dns", "helo", "sender"],
)
async def test_cancelled_at_every_step_nothing_goes_on(ask: Callable[[Resolver], Inquiry[object]]) -> None:
    async def asked(resolver: Resolver) -> object:
        return await ask(resolver)

    table = absent(HOST, "A", "MX") | says(HOST, "AAAA", "2001:2::1") | says(PTR, "PTR", "a.example.", "b.example.")
    for turns in range(40):
        transport = FakeTransport(table)
        task = await cancelled_after(turns, asked(resolver(transport)))
        assert await alone()
        assert transport.under_way == 0
    assert not task.cancelled()


async def test_the_deadline_is_kept() -> None:
    transport = FakeTransport({(HOST, "A"): HANGING})
    assert await helo_resolves(resolver(transport), HOST, at(0.01)) == Unknown("timeout: no answer by the deadline")


async def test_an_absent_name_needs_no_nodata() -> None:
    """NXDOMAIN settles every type (RFC 8020): nothing but the MX is asked for."""
    transport = FakeTransport({(HOST, "A"): SILENT, (HOST, "MX"): NXDOMAIN})
    assert await sender_resolves(resolver(transport), HOST, at()) == NO
    assert len(transport.asked) == 1
