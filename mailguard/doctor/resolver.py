"""The resolvers: do they answer, do they tell the truth about names that do not exist, do lists talk to them?

Each is asked by itself. Two names that cannot exist are made up afresh: one in ``invalid`` (RFC 6761 6.4), and one
that begins with ``www`` in ``com``, for providers that sell advertisements in the place of NXDOMAIN rewrite those
alone. With such a resolver every sender's domain exists, and so does every entry of some lists. DNSSEC is not looked
at.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from functools import partial
from ipaddress import IPv4Address
from typing import Final

from mailguard.checks.dnsbl_names import query_name
from mailguard.dns.answers import Failed, Found, NotFound
from mailguard.dns.resolver import Resolver
from mailguard.dns.servers import Server
from mailguard.doctor.examination import each
from mailguard.doctor.notes import Measure, Notes
from mailguard.doctor.patient import Patient
from mailguard.doctor.public_resolvers import operator_of
from mailguard.net.together import together

OWN: Final = "run a resolver of your own on this machine (unbound, knot-resolver) and name it in `dns.servers`"
_TELLS_PUBLIC: Final = "spamhaus.org"
"""Whose lists answer public resolvers with 127.255.255.254."""
_LISTED: Final = IPv4Address("127.0.0.2")
_PUBLIC: Final = IPv4Address("127.255.255.254")


async def examine(patient: Patient, notes: Notes) -> None:
    """Each resolver by itself."""
    try:
        servers = patient.resolvers
    except ValueError as error:
        notes.failed("", f"there is none: {error}", OWN, configuration=True)
        return
    works: dict[str, Callable[[Notes], Awaitable[None]]] = {
        str(server): partial(_server, patient, server) for server in servers
    }
    await each(patient, notes, works)


def made_up() -> tuple[str, str]:
    """Two names that do not exist, never asked before by anybody."""
    token = secrets.token_hex(16)
    return f"{token}.invalid", f"www.{token}.com"


async def _server(patient: Patient, server: Server, notes: Notes) -> None:
    settings = patient.settings.dns.model_copy(update={"servers": [str(server)]})
    resolver = Resolver(settings, patient.monotonic)
    began = patient.monotonic()
    names = made_up()
    # Never before it gives up by itself, for then it says why.
    deadline = asyncio.get_running_loop().time() + patient.settings.doctor.timeout
    answers = await together(resolver.resolve(name, "A", deadline, fresh=True) for name in names)
    seconds = patient.monotonic() - began
    operator = operator_of(server.address[0])
    public = f"of {operator}" if operator else await _told_public(patient, resolver, deadline)
    _judge(str(server), dict(zip(names, answers, strict=True)), public, seconds, notes)


async def _told_public(patient: Patient, resolver: Resolver, deadline: float) -> str:
    """Who says that the resolver is a public one: the first of the policy's lists that does; empty where none does."""
    lists = patient.policy.lists if patient.policy is not None else ()
    for zone in lists:
        if not f".{zone.zone}".endswith(f".{_TELLS_PUBLIC}"):
            continue
        answer = await resolver.resolve(query_name(_LISTED, zone.asked), "A", deadline, fresh=True)
        if isinstance(answer, Found) and _PUBLIC in answer.records:
            return f"so says {zone.zone}, which answers it {_PUBLIC}"
    return ""


def _judge(
    server: str, answers: dict[str, Found[IPv4Address] | NotFound | Failed], public: str, seconds: float, notes: Notes
) -> None:
    failures = [answer.why for answer in answers.values() if isinstance(answer, Failed)]
    lies = {name: answer.records[0] for name, answer in answers.items() if isinstance(answer, Found)}
    if failures:
        remedy = "is it running, and does it answer this host? " + OWN
        notes.failed(server, f"does not answer: {failures[0]}", remedy)
    for name, record in lies.items():
        told = f"lies: {name}, which cannot exist, has the address {record}"
        notes.failed(server, told, f"with it, every sender's domain exists; {OWN}")
    if public:
        notes.failed(server, f"is a public resolver: {public}", f"lists do not answer it; {OWN}", configuration=True)
    if not (failures or lies or public):
        told = f"answers in {seconds * 1000:.0f} ms, tells the truth about names that do not exist"
        notes.ok(server, told, [Measure("resolver_seconds", round(seconds, 4), "s")])
