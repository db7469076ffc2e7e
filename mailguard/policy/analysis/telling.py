"""Refusals that do not tell the sender what it needs: which of its addresses, why, and where to ask.

What a rule asks about the client, the postmaster of that client reads in a bounce or in a log, beside hundreds of
others: the text must hold the address. Where lists have a part in it, it must say which, or where to ask.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from mailguard.facts import FACTS, Provenance
from mailguard.policy.analysis.subject import Subject
from mailguard.policy.expression import tags_of
from mailguard.policy.finding import Finding, Kind
from mailguard.policy.rules import Rule, with_parts
from mailguard.verdict import Action

_WHERE: Final = re.compile(r"https?://|[\w.+-]+@[\w-]+\.")
"""A page or a mailbox, where the sender can ask."""


def findings(subject: Subject) -> Iterator[Finding]:
    """Refusals whose text leaves out the client's address or the reason."""
    for rule in subject.rules:
        if rule.action is Action.REJECT:
            yield from _of_rule(subject, rule)


def _of_rule(subject: Subject, rule: Rule) -> Iterator[Finding]:
    path = (*rule.path, "text" if rule.text is not None else "then")
    facts = _asked(subject, rule)
    if rule.text is None:
        hint = "add `text`, with the reason and where to ask"
        yield subject.of_value(Kind.REPLY, path, f"rule '{rule.name}' refuses and tells no reason", hint)
        return
    shown = rule.text.names
    of_client = any(FACTS[name].provenance is Provenance.CONNECTION for name in facts)
    if of_client and "client.ip" not in shown:
        message = f"rule '{rule.name}' refuses a client, and the text does not say which"
        yield subject.of_value(Kind.REPLY, path, message, "add [{client.ip}] to it")
    if any(name.startswith("dnsbl.") for name in facts) and not _says_where(subject, rule, shown):
        message = f"rule '{rule.name}' refuses by lists, and the text does not say by which, nor where to ask"
        yield subject.of_value(Kind.REPLY, path, message, "add {dnsbl.zones} or {dnsbl.help} to it")


def _says_where(subject: Subject, rule: Rule, shown: frozenset[str]) -> bool:
    said = str(subject.document.value((*rule.path, "text")))
    zones = [table.zone.zone for table in subject.scales.lists]
    return bool(shown & {"dnsbl.zones", "dnsbl.help", "dnsbl.labels"} or _WHERE.search(said)) or any(
        zone in said for zone in zones
    )


def _asked(subject: Subject, rule: Rule) -> frozenset[str]:
    """The facts that ``rule`` rests on, those behind its tags included."""
    facts, symbols = set(rule.facts), {tag.symbol for tag in tags_of(rule.condition)}
    for other in reversed(list(subject.rules)):
        if other.symbol in symbols:
            facts |= other.facts
            symbols |= {tag.symbol for tag in tags_of(other.condition)}
    return with_parts(facts, subject.scales)
