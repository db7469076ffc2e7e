"""Lists that hold the same listings: who is in one is in the other, so the two do not agree, they repeat one another.

Two that count would weigh one listing twice, and `dnsbl.listed_by >= 2` would take it for two opinions.
:data:`COMPOSITIONS` is what operators of lists say of their own zones; where their answers tell the parts apart, an
overlap counts only if the policy weighs that part in both.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from ipaddress import IPv4Address
from itertools import combinations
from typing import Final

from mailguard.policy.analysis.subject import Subject
from mailguard.policy.answers import ListTable
from mailguard.policy.finding import Finding, Kind


def _codes(*last: int) -> tuple[IPv4Address, ...]:
    return tuple(IPv4Address(f"127.0.0.{octet}") for octet in last)


_SBL: Final = {"Spamhaus SBL": _codes(2, 9), "Spamhaus CSS": _codes(3)}
_XBL: Final = {"Spamhaus XBL": _codes(4, 5, 6, 7)}
_PBL: Final = {"Spamhaus PBL": _codes(10, 11)}
_BLACK: Final = {"Abusix black": _codes(2, 3, 200)}
_EXPLOIT: Final = {"Abusix exploit": _codes(4)}
_DYNAMIC: Final = {"Abusix dynamic": _codes(11, 12)}

COMPOSITIONS: Final[Mapping[str, Mapping[str, tuple[IPv4Address, ...]]]] = {
    "zen.spamhaus.org": {**_SBL, **_XBL, **_PBL},
    "sbl-xbl.spamhaus.org": {**_SBL, **_XBL},
    "sbl.spamhaus.org": _SBL,
    "xbl.spamhaus.org": _XBL,
    "pbl.spamhaus.org": _PBL,
    "cbl.abuseat.org": {"Spamhaus XBL": ()},
    "combined.mail.abusix.zone": {**_BLACK, **_EXPLOIT, **_DYNAMIC},
    "black.mail.abusix.zone": _BLACK,
    "exploit.mail.abusix.zone": _EXPLOIT,
    "dynamic.mail.abusix.zone": _DYNAMIC,
    "all.spamrats.com": {"SpamRATS dyna": _codes(36), "SpamRATS noptr": _codes(37), "SpamRATS spam": _codes(38)},
    "dyna.spamrats.com": {"SpamRATS dyna": ()},
    "noptr.spamrats.com": {"SpamRATS noptr": ()},
    "spam.spamrats.com": {"SpamRATS spam": ()},
    "bl.mailspike.net": {"Mailspike Z": _codes(2), "Mailspike reputation": _codes(10, 11, 12)},
    "z.mailspike.net": {"Mailspike Z": ()},
    "rep.mailspike.net": {"Mailspike reputation": _codes(10, 11, 12)},
    "b.barracudacentral.org": {"Barracuda reputation": ()},
    "bb.barracudacentral.org": {"Barracuda reputation": ()},
}
"""Zones, the collections of listings that each is made of, and the answers that tell one; none given: any of it.

Spamhaus: docs.spamhaus.com, "Available Zones". SpamRATS: the codes of its one zone for all. Mailspike: mailspike.org,
"Usage", and SpamAssassin's 20_mailspike.cf. Barracuda: `bb` is the name by which SpamAssassin asks the same list.
"""

_KEYED: Final = re.compile(
    r"((?P<key>[^.]+)\.)?(?P<zone>[a-z-]+)(\.dq\.spamhaus\.net|(?P<abusix>\.mail\.abusix\.zone))"
)
"""Zones that are asked with a customer's key before them: Spamhaus' DQS, and Abusix."""


def plain(zone: str) -> str:
    """The name under which ``zone`` stands in :data:`COMPOSITIONS`: without a customer's key."""
    match = _KEYED.fullmatch(zone)
    if match is None:
        return zone
    return f"{match['zone']}{match['abusix'] or '.spamhaus.org'}"


def findings(subject: Subject) -> Iterator[Finding]:
    """Each pair of lists that hold the same, told at the later one; and each zone that shows a customer's key."""
    yield from _shown(subject)
    for one, other in combinations(subject.scales.lists, 2):
        shared = sorted(_weighed(one) & _weighed(other))
        if shared:
            name, first = other.zone.name, one.zone.name
            message = f"the lists `{first}` and `{name}` both hold {', '.join(shared)}: one listing counts twice"
            hint = "keep the one that holds more, or weigh in only one of them what both hold"
            yield subject.of_value(Kind.OVERLAP, ("dnsbl", name, "zone"), message, hint)


def _shown(subject: Subject) -> Iterator[Finding]:
    for table in subject.scales.lists:
        match = _KEYED.fullmatch(table.zone.zone)
        if match is not None and match["key"]:
            name, rest = table.zone.name, table.zone.zone.partition(".")[2]
            message = f"the zone of the list `{name}` holds your key, which replies, log and journal show with it"
            hint = f'write `zone: "{{key}}.{rest}"`, and `key: {{file: FILE}}` or `key: {{env: NAME}}`'
            yield subject.of_key(Kind.KEY, ("dnsbl", name), message, hint)


def _weighed(table: ListTable) -> set[str]:
    """The collections in a list that weigh against a client."""
    parts = COMPOSITIONS.get(plain(table.zone.zone), {})
    return {name for name, codes in parts.items() if _counts(table, codes)}


def _counts(table: ListTable, codes: tuple[IPv4Address, ...]) -> bool:
    if not codes:
        return table.bounds.high > 0
    return any(listing is not None and listing.weight > 0 for listing in map(table.listing, codes))
