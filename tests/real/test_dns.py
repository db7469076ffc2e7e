"""The resolver and the checks by name against a real unbound, dnspython's own queries as the oracle."""

from __future__ import annotations

import asyncio

import pytest
from dns import asyncquery, message
from dns import rcode as rcodes

from mailguard.checks.helo import helo_resolves
from mailguard.checks.reverse_dns import reverse_dns
from mailguard.checks.sender import sender_resolves
from mailguard.config import Dns
from mailguard.dns.answers import Absence, Failed, Found, MailExchange, NotFound
from mailguard.dns.question import RecordType
from mailguard.dns.resolver import Resolver
from mailguard.facts import ClientAddress, Known, ReverseDns, Unknown
from mailguard.lab import world
from mailguard.lab.unbound import Unbound


def resolver(server: Unbound, **settings: object) -> Resolver:
    values = {"servers": [server.address], "timeout": 30} | settings
    return Resolver(Dns.model_validate(values), asyncio.get_running_loop().time)


def at() -> float:
    return asyncio.get_running_loop().time() + 60


QUESTIONS: list[tuple[str, RecordType]] = [
    ("example.com", "MX"),
    ("example.com", "A"),
    ("mx.example.com", "A"),
    ("mx.example.com", "AAAA"),
    ("nullmx.example", "MX"),
    ("nowhere.example", "A"),
    ("10.1.18.198.in-addr.arpa", "PTR"),
    (f"2.0.0.127.{world.ZEN}", "A"),
    (f"2.0.0.127.{world.ZEN}", "TXT"),
    (f"1.0.0.127.{world.ZEN}", "A"),
    (f"7.7.18.198.{world.ZEN}", "A"),
    (f"7.7.18.198.{world.ZEN}", "AAAA"),
    (world.ZEN, "SOA"),
    (f"x.{world.fault_zone('blocked')}", "A"),
    (f"x.{world.fault_zone('nothing')}", "A"),
    (f"x.{world.fault_zone('refused')}", "A"),
    (f"x.{world.fault_zone('servfail')}", "A"),
]


@pytest.mark.parametrize(("name", "rdtype"), QUESTIONS)
async def test_as_dnspython_has_it(dns: Unbound, name: str, rdtype: RecordType) -> None:
    dns.forget(name)  # what unbound keeps grows old from now on
    before = await _oracle(dns, name, rdtype)
    answer = await resolver(dns).resolve(name, rdtype, at())
    oracle = await _oracle(dns, name, rdtype)
    earlier, found = ([each for each in one.answer if each.rdtype.name == rdtype] for one in (before, oracle))
    match answer:
        case Found(records, ttl):
            assert len(records) == len(found[0])
            assert found[0].ttl <= ttl <= earlier[0].ttl
        case NotFound(absence):
            assert not found
            assert (absence is Absence.NXDOMAIN) == (oracle.rcode() == rcodes.NXDOMAIN)
        case Failed(kind):
            assert kind.upper() == rcodes.to_text(oracle.rcode())


async def _oracle(server: Unbound, name: str, rdtype: str) -> message.Message:
    query = message.make_query(name, rdtype)
    return await asyncquery.udp(query, "127.0.0.1", port=server.port, timeout=30)


async def test_a_reply_too_long_for_udp_comes_by_tcp(dns: Unbound) -> None:
    for i in range(100):
        dns.add_record(f"long.example.net. 300 IN MX {i} host-{i}.example.net.")
    found = await resolver(dns).resolve("long.example.net", "MX", at())
    assert isinstance(found, Found)
    assert set(found.records) == {MailExchange(i, f"host-{i}.example.net") for i in range(100)}


@pytest.mark.parametrize(
    ("client", "expected"),
    [
        ("198.18.1.10", ReverseDns(world.host_name("198.18.1.10"), True)),
        ("198.18.2.10", ReverseDns("", False)),
        ("198.18.3.10", ReverseDns(world.host_name("198.18.3.10"), False)),
        (str(world.CLEAN_V6[5]), ReverseDns(world.host_name(world.CLEAN_V6[5]), True)),
        ("2001:2:0:2::1", ReverseDns("", False)),
    ],
)
async def test_reverse_names(dns: Unbound, client: str, expected: ReverseDns) -> None:
    assert await reverse_dns(resolver(dns), ClientAddress.parse(client), at()) == Known(expected)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mail.example.com", True),
        ("example.com", True),
        (world.host_name("198.18.1.10"), True),
        (world.host_name(world.CLEAN_V6[5]), True),
        ("nowhere.example", False),
        ("aonly.example", True),
        ("localdomain", False),
        ("no name", False),
    ],
)
async def test_helo_names(dns: Unbound, name: str, expected: bool) -> None:
    assert await helo_resolves(resolver(dns), name, at()) == Known(expected)


@pytest.mark.parametrize(
    ("domain", "expected"),
    [
        ("example.com", True),
        ("EXAMPLE.org", True),
        ("aonly.example", True),
        ("nullmx.example", False),
        ("nowhere.example", False),
        ("", True),
        ("[198.18.1.1]", True),
    ],
)
async def test_sender_domains(dns: Unbound, domain: str, expected: bool) -> None:
    assert await sender_resolves(resolver(dns), domain, at()) == Known(expected)


@pytest.mark.parametrize("zone", ["refused", "servfail"])
async def test_names_in_a_zone_that_fails_are_unknown(dns: Unbound, zone: str) -> None:
    name = f"host.{world.fault_zone(zone)}"
    asking = resolver(dns)
    assert isinstance(await helo_resolves(asking, name, at()), Unknown)
    assert isinstance(await sender_resolves(asking, name, at()), Unknown)


async def test_names_in_a_silent_zone_are_unknown(dns: Unbound) -> None:
    asking = resolver(dns, timeout=0.05, attempts=1)
    assert isinstance(await sender_resolves(asking, f"host.{world.fault_zone('silent')}", at()), Unknown)
