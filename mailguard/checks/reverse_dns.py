"""The client's name by its address, and whether that name leads back to it ("iprev", RFC 8601 3).

A PTR record is written by whoever holds the address: what it says is believed, and shown in Received and log, only as
far as it is a host name, and is nobody's until the name's own zone says so too.

On failure: unknown, where the PTR question failed, or where no name was confirmed and a question about one of them
failed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address
from typing import Final, cast

from mailguard.checks.existence import unknown
from mailguard.dns.answers import AnyAnswer, Failed, Found, NotFound
from mailguard.dns.inquiry import Inquiry, Steps
from mailguard.dns.names import DoubtfulNameError, ImpossibleNameError, host_name
from mailguard.dns.question import RecordType, about, backwards
from mailguard.dns.resolver import Resolver
from mailguard.facts import Answer, ClientAddress, Known, ReverseDns

MAX_NAMES: Final = 10
"""Names of one client that are followed, as many as SPF follows (RFC 7208 4.6.4); the rest are as if not there."""
_OF_IPV4: Final = about("in-addr.arpa", "PTR")
_OF_IPV6: Final = about("ip6.arpa", "PTR")
_NAMELESS: Final = Known(ReverseDns("", confirmed=False))


def reverse_dns(resolver: Resolver, address: ClientAddress, deadline: float) -> Inquiry[Answer[ReverseDns]]:
    """The name of ``address``: the first confirmed one, else the first, else none; ``deadline`` is in loop time."""
    return resolver.inquire(("reverse DNS", address.text), lambda: _steps(address), deadline)


def _steps(address: ClientAddress) -> Steps[Answer[ReverseDns]]:
    ipv4 = isinstance(address.ip, IPv4Address)
    [(pointers, _)] = yield [backwards(address.ip) + (_OF_IPV4 if ipv4 else _OF_IPV6)]
    match cast("Found[str] | NotFound | Failed", pointers):
        case Failed() as failure:
            return unknown(failure)
        case NotFound():
            return _NAMELESS
        case Found(records):
            names = list(_host_names(records[:MAX_NAMES]))
            rdtype: RecordType = "A" if ipv4 else "AAAA"
            forward = yield [about(name, rdtype) for name in names]
            return judge(address, [(name, answer) for name, (answer, _) in zip(names, forward, strict=True)])


def _host_names(targets: Sequence[str]) -> Iterator[str]:
    """Those of ``targets`` that can be a host's name."""
    for target in targets:
        try:
            yield host_name(target)
        except (ImpossibleNameError, DoubtfulNameError):
            continue


def judge(address: ClientAddress, forward: Sequence[tuple[str, AnyAnswer]]) -> Answer[ReverseDns]:
    """The answer from what each name, in the order of the PTR records, leads to."""
    for name, answer in forward:
        if isinstance(answer, Found) and address.ip in answer.records:
            return Known(ReverseDns(name, confirmed=True))
    for _, answer in forward:
        if isinstance(answer, Failed):
            return unknown(answer)
    return Known(ReverseDns(forward[0][0] if forward else "", confirmed=False))
