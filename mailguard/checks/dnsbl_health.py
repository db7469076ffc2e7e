"""Whether a DNS list still answers as a list must, told by its test points (RFC 5782 5).

127.0.0.2 must be listed and 127.0.0.1 must not; for a list of IPv6 clients ::FFFF:7F00:2 and ::FFFF:7F00:1 likewise.
A list is ill when it answers *wrongly*: it was emptied, or lists the Internet, or its domain was sold. Silence or
SERVFAIL proves nothing, least of all just after a failover with a cold resolver: it leaves the list as it was found
before.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from mailguard.checks.dnsbl_answers import Outcome, read
from mailguard.checks.dnsbl_names import query_name
from mailguard.dns.resolver import Resolver
from mailguard.facts import Answer, Codes, DnsblZone, Unknown
from mailguard.net.together import together


@dataclass(frozen=True, slots=True)
class ProbePoint:
    """An address about which every list must say the same."""

    ip: IPv4Address | IPv6Address
    listed: bool


IPV4_POINTS: Final = (ProbePoint(IPv4Address("127.0.0.2"), True), ProbePoint(IPv4Address("127.0.0.1"), False))
IPV6_POINTS: Final = (ProbePoint(IPv6Address("::ffff:7f00:2"), True), ProbePoint(IPv6Address("::ffff:7f00:1"), False))


class Health(StrEnum):
    """What a probe found."""

    HEALTHY = "healthy"
    ILL = "ill"
    UNDECIDED = "undecided"
    """No wrong answer, but not all the right ones either."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a probe found, and why in one short sentence, empty where healthy."""

    health: Health
    why: str = ""


_WRONG: Final = frozenset({Outcome.BLOCKED, Outcome.BAD_ANSWER})
_RIGHT: Final = {True: Outcome.LISTED, False: Outcome.NOT_LISTED}


def points(zone: DnsblZone) -> tuple[ProbePoint, ...]:
    """The test points of ``zone``."""
    return IPV4_POINTS + IPV6_POINTS if zone.ipv6 else IPV4_POINTS


async def probe(resolver: Resolver, zone: DnsblZone, deadline: float) -> Finding:
    """Ask ``zone`` about all its test points at once, past our cache, until ``deadline`` (loop time)."""
    asked = points(zone)
    names = [query_name(point.ip, zone.asked) for point in asked]
    answers = await together(resolver.resolve(name, "A", deadline, fresh=True) for name in names)
    return judge((point, *read(answer)) for point, answer in zip(asked, answers, strict=True))


def judge(answers: Iterable[tuple[ProbePoint, Outcome, Answer[Codes]]]) -> Finding:
    """The finding from what was answered about each point: one wrong answer outweighs everything."""
    undecided = ""
    for point, outcome, answer in answers:
        if outcome is _RIGHT[point.listed]:
            continue
        if outcome in _WRONG or outcome is _RIGHT[not point.listed]:
            return Finding(Health.ILL, f"test point {point.ip}: {_wrong(point, answer)}")
        undecided = undecided or f"test point {point.ip}: {_wrong(point, answer)}"
    return Finding(Health.UNDECIDED, undecided) if undecided else Finding(Health.HEALTHY)


def _wrong(point: ProbePoint, answer: Answer[Codes]) -> str:
    match answer:
        case Unknown(why):
            return why
        case _ if point.listed:
            return "not listed"
        case _:
            return f"listed as {', '.join(map(str, sorted(answer.value)))}"
