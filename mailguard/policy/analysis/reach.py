"""Thresholds that no sum of weights reaches: a slip of the pen, or a list that was removed since.

Told of each comparison that no profile makes true, also where the rule can match by another alternative.
"""

from __future__ import annotations

from collections.abc import Iterator

from mailguard.policy.analysis.clauses import Demand, met
from mailguard.policy.analysis.domains import SUMS, Domains, bounds
from mailguard.policy.analysis.subject import Subject
from mailguard.policy.finding import Finding, Kind
from mailguard.policy.rules import Rule

_MADE_OF = {
    "dnsbl.score": "all lists together weigh",
    "dnsbl.listed_by": "lists of positive weight:",
    "client.score": "all lists and weights together come to",
}


def findings(subject: Subject) -> Iterator[Finding]:
    """Comparisons with a sum that never hold."""
    domains = Domains(subject.scales)
    for rule in subject.rules:
        found = subject.alternatives(rule) or []
        demands = {(d.leaf.span, d.wanted): d for clauses in found for clause in clauses for d in clause}
        possible = {
            (d.leaf.span, d.wanted)
            for clauses in found
            for clause in clauses
            for d in clause
            if d.key not in SUMS or not met([d], domains.of(d)).empty
        }
        for place, demand in demands.items():
            if place not in possible:
                yield _told(subject, rule, demand)


def _told(subject: Subject, rule: Rule, demand: Demand) -> Finding:
    found = bounds(subject.scales)[str(demand.key)]
    quoted = ("" if demand.wanted else "not ") + subject.quoted(rule, demand.leaf.span)
    least = f"{found.low:g} at the least and " if found.low < 0 else ""
    message = f"{quoted} never holds: {_MADE_OF[str(demand.key)]} {least}{found.high:g} at the most"
    hint = "lower the threshold, or weigh more"
    return subject.of_condition(Kind.OUT_OF_REACH, rule, demand.leaf.span, message, hint)
