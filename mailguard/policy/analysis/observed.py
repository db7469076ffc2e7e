"""Rules that are in force, and refuse by lists that are not: until those are, they refuse nobody.

Told of an alternative that some client can make true where every list counts, and none where only those in force do.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from mailguard.policy.analysis.clauses import Clause, by_key, met
from mailguard.policy.analysis.domains import Domains
from mailguard.policy.analysis.subject import Subject
from mailguard.policy.finding import Finding, Kind
from mailguard.policy.rules import Rule
from mailguard.verdict import Action


def findings(subject: Subject) -> Iterator[Finding]:
    """Refusals in force by lists that are only observed."""
    observed = [table.zone.name for table in subject.scales.lists if table.observed]
    if not observed:
        return
    in_force = replace(subject.scales, lists=tuple(table for table in subject.scales.lists if not table.observed))
    everything, force = Domains(subject.scales), Domains(in_force)
    for rule in subject.rules:
        if rule.action is Action.REJECT and rule.enforced:
            alternatives = [clause for clauses in subject.alternatives(rule) or [] for clause in clauses]
            if any(_possible(clause, everything) and not _possible(clause, force) for clause in alternatives):
                yield _told(subject, rule, observed)


def _possible(clause: Clause, domains: Domains) -> bool:
    return not any(met(demands, domains.of(demands[0])).empty for _, demands in by_key(clause))


def _told(subject: Subject, rule: Rule, observed: list[str]) -> Finding:
    names = ", ".join(f"`{name}`" for name in observed)
    what = "a list that is only observed" if len(observed) == 1 else "lists that are only observed"
    message = f"rule '{rule.name}' is in force and refuses by {what}: {names}"
    hint = "give the rule `mode: observe` too, or take it from the list"
    return subject.of_condition(Kind.OBSERVED, rule, (0, len(subject.condition(rule))), message, hint)
