"""What is declared and nothing asks for: lists, profiles and their constants, DNSBLs, weights; and lists of nothing.

A DNSBL is asked for by `dnsbl.score` and `client.score` where one of its answers weighs anything, by `dnsbl.listed_by`
and `dnsbl.help` where one weighs more than 0, and by name: `'NAME/LABEL' in dnsbl.labels`, `'ZONE' in dnsbl.zones`.
"""

from __future__ import annotations

from collections.abc import Iterator

from mailguard.policy.analysis.subject import Subject, mentions
from mailguard.policy.answers import ListTable
from mailguard.policy.expression import Constant, FactRef, InList, InTexts, Literal, ProfileRef
from mailguard.policy.finding import Finding, Kind

_NAMED = ("dnsbl.labels", "dnsbl.zones")
_OF_WEIGHT = ("dnsbl.score", "client.score")
_OF_LISTING = ("dnsbl.listed_by", "dnsbl.zones", "dnsbl.help")


def findings(subject: Subject) -> Iterator[Finding]:
    """Everything that is declared in vain."""
    nodes = list(mentions(subject))
    yield from _lists(subject, nodes)
    yield from _profiles(subject, nodes)
    yield from _dnsbl(subject, nodes)
    yield from _weights(subject, nodes)


def _lists(subject: Subject, nodes: list[object]) -> Iterator[Finding]:
    used = {id(node.entries) for node in nodes if isinstance(node, InList)}
    for name, entries in subject.lists.items():
        if id(entries) not in used:
            message, hint = f"no rule looks into the list `{name}`", f"ask for it: client.ip in lists.{name}"
            yield subject.of_key(Kind.UNUSED, ("lists", name), message, hint)
        elif entries.is_empty:
            message, hint = f"nothing stands in the list `{name}`: whoever looks into it finds nobody", "fill it"
            yield subject.of_key(Kind.UNUSED, ("lists", name), message, hint)


def _profiles(subject: Subject, nodes: list[object]) -> Iterator[Finding]:
    used = {match.profile for match in subject.profiles.recipients}
    for name in subject.schema.profiles:
        if name not in used:
            hint = "give it to some in `recipients`, or remove it"
            yield subject.of_key(Kind.UNUSED, ("profiles", name), f"no recipient has the profile `{name}`", hint)
    asked = {node.name for node in nodes if isinstance(node, ProfileRef)}
    first, constants = next(iter(subject.schema.profiles.items()), ("", {}))
    for name in constants:
        if name not in asked:
            message, hint = f"no rule asks for the constant `{name}`", f"ask for it: profile.{name}"
            yield subject.of_key(Kind.UNUSED, ("profiles", first, name), message, hint)


def _dnsbl(subject: Subject, nodes: list[object]) -> Iterator[Finding]:
    looks = [node for node in nodes if isinstance(node, InTexts) and node.texts.name in _NAMED]
    named = {node.operand.constant for node in looks if isinstance(node.operand, Literal)}
    asked = {node.name for node in nodes if isinstance(node, FactRef)} - set(_NAMED)
    asked |= {node.texts.name for node in looks if not isinstance(node.operand, Literal)}
    for table in subject.scales.lists:
        if not _counts(table, asked) and not _is_named(table, named):
            name = table.zone.name
            message, hint = f"nothing comes of what the list `{name}` answers", "ask for it in a rule, or remove it"
            yield subject.of_key(Kind.UNUSED, ("dnsbl", name), message, hint)


def _counts(table: ListTable, asked: set[str]) -> bool:
    """Whether an answer of the list may change one of the facts ``asked`` for."""
    if "dnsbl.labels" in asked:
        return True
    weighs = table.bounds.low < 0 or table.bounds.high > 0
    return bool((weighs and asked & set(_OF_WEIGHT)) or (table.bounds.high > 0 and asked & set(_OF_LISTING)))


def _is_named(table: ListTable, named: set[Constant]) -> bool:
    labels = {f"{table.zone.name}/{listing.label}" for listing in table.listings}
    return bool(named & labels) or table.zone.zone in named


def _weights(subject: Subject, nodes: list[object]) -> Iterator[Finding]:
    if subject.schema.weights and not any(isinstance(node, FactRef) and node.name == "client.score" for node in nodes):
        message, hint = "no rule asks for `client.score`, where weights are added up", "ask for it, or remove `weights`"
        yield subject.of_key(Kind.UNUSED, ("weights",), message, hint)
