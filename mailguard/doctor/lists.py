"""Each DNS list of the policy: its test points (RFC 5782 5), as the service itself probes them, and one name more.

That name is made up, so that no list can hold it. A list that answers for it answers for everything below its zone: a
parked domain does, and so does a resolver that lies. A list is called by its public name: a key of ours is in questions
alone.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from ipaddress import IPv4Address
from typing import Final

from mailguard.checks.dnsbl_answers import BLOCKED, Outcome, read
from mailguard.checks.dnsbl_health import Health, probe
from mailguard.checks.dnsbl_names import query_name
from mailguard.dns.answers import Found
from mailguard.dns.resolver import Resolver
from mailguard.doctor.examination import each
from mailguard.doctor.notes import Notes
from mailguard.doctor.patient import Patient
from mailguard.facts import DnsblZone
from mailguard.net.together import both

_BLOCKED: Final[Mapping[IPv4Address, str]] = {
    IPv4Address("127.255.255.252"): "the zone's name in the policy is mistyped: compare it with the list's own pages",
    IPv4Address("127.255.255.254"): "the resolver is a public one, or your provider's: run a resolver of your own",
    IPv4Address("127.255.255.255"): "you ask more than is free of charge: subscribe, or ask less (`dns.cache_size`)",
}
"""What the codes mean that large lists have in common, by Spamhaus's own table."""
_ILL: Final = "mailguard sets it aside by itself; look at the list's own pages, and remove it if it is gone"
_SILENT: Final = "its rules go by unknown meanwhile; if it stays so, ask the list whether it blocks you"


async def examine(patient: Patient, notes: Notes) -> None:
    """All lists at the same time."""
    if patient.policy is None:
        notes.skipped("", "the policy, which names them, cannot be loaded")
        return
    if not patient.policy.lists:
        notes.skipped("", "the policy asks none")
        return
    try:
        resolver = Resolver(patient.settings.dns, patient.monotonic)
    except ValueError as error:
        notes.skipped("", f"there is no resolver: {error}")
        return
    works: dict[str, Callable[[Notes], Awaitable[None]]] = {
        zone.zone: partial(_list, patient, resolver, zone) for zone in patient.policy.lists
    }
    await each(patient, notes, works)


async def _list(patient: Patient, resolver: Resolver, zone: DnsblZone, notes: Notes) -> None:
    deadline = asyncio.get_running_loop().time() + patient.settings.dns.probe_timeout
    finding, everything = await both(
        probe(resolver, zone, deadline),
        resolver.resolve(f"{secrets.token_hex(8)}.{zone.asked}", "A", deadline, fresh=True),
    )
    match finding.health:
        case Health.ILL:
            notes.failed(zone.zone, finding.why, await _remedy(resolver, zone, deadline))
        case Health.UNDECIDED:
            notes.warning(zone.zone, finding.why, _SILENT)
        case Health.HEALTHY if isinstance(everything, Found):
            told = f"answers {everything.records[0]} for a name that it cannot hold"
            notes.failed(zone.zone, told, f"its domain may be parked, or the resolver lies; {_ILL}")
        case Health.HEALTHY:
            notes.ok(zone.zone, "lists its test points, and nothing that it must not list")


async def _remedy(resolver: Resolver, zone: DnsblZone, deadline: float) -> str:
    """What to do about a list that is ill: codes by which it refuses to answer us have their own."""
    answer = await resolver.resolve(query_name(IPv4Address("127.0.0.2"), zone.asked), "A", deadline)
    if not isinstance(answer, Found) or read(answer)[0] is not Outcome.BLOCKED:
        return _ILL
    codes = [record for record in answer.records if record in BLOCKED]
    return next((_BLOCKED[code] for code in codes if code in _BLOCKED), _ILL)
