"""Rules that never match, and rules that are never reached, because rules above decide wherever they would.

What is said here is said only where it holds for all facts, missing answers included. So it goes by the engine's own
reading of doubt (``policy.engine``), which depends on the action. Where a rule fires although an answer is missing,
each demand of an alternative is true for what a sum comes to when doubt weighs nothing, or, in an accept above a block,
for some value that it may have, and not for the same one in two demands.

A rule above covers an alternative where each demand of one of its own follows from a demand of it. Then it fires too,
but for:

* a block that covers what does not block: doubt counts against it, so it must cover by facts that doubt never touches;
  nor does it fire where Received evidence spares the message (decision 0028), so all above it must be free of that;
* a rule that is only observed: it covers none in force;
* a rule that Received evidence moves: who is deferred is asked without it, so it covers none that is free of it.

Interval reasoning over one fact at a time: what facts have to do with one another is not seen, nor what two rules above
cover together of one alternative.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from mailguard.policy.analysis.clauses import Clause, Demand, by_key, met
from mailguard.policy.analysis.domains import SUMS, Domains
from mailguard.policy.analysis.effort import Effort
from mailguard.policy.analysis.sets import Set, Values, within
from mailguard.policy.analysis.subject import Subject
from mailguard.policy.finding import Finding, Kind
from mailguard.policy.rules import Rule
from mailguard.verdict import Action

MAX_COMPARED: Final = 100_000
"""Pairs of alternatives, of a rule and of one above it, that are compared."""
Conflict: TypeAlias = tuple[Demand, ...]
"""Demands that cannot all be true; one alone that never is."""


def findings(subject: Subject) -> Iterator[Finding]:
    """Rules that never match, and those that are never reached."""
    domains, effort = Domains(subject.scales), Effort(MAX_COMPARED)
    for rules in subject.stages.values():
        stage = _Stage(rules, domains, subject, effort)
        for position in range(len(rules)):
            yield from stage.of_rule(position)


@dataclass(frozen=True, slots=True)
class _Cover:
    """One alternative of a rule that decides."""

    rule: Rule
    position: int
    clause: Clause


@dataclass(slots=True)
class _Covers:
    """Alternatives of rules above, found by what their first demand asks for.

    A demand follows only from demands on the same key; one for a few values, only where one of these is demanded.
    """

    by_first: dict[Hashable, list[_Cover]] = field(default_factory=dict)

    def add(self, rule: Rule, position: int, alternatives: list[Clause]) -> None:
        """Add the alternatives of a rule."""
        for clause in alternatives:
            for place in _places(clause[0].key, clause[0].allowed) if clause else (None,):
                self.by_first.setdefault(place, []).append(_Cover(rule, position, clause))

    def of(self, demands: Mapping[Hashable, Set]) -> Iterator[_Cover]:
        """Those that may follow from what is demanded, by key."""
        places: list[tuple[Hashable, object]] = [(key, None) for key in demands]
        places += [place for key, allowed in demands.items() for place in _places(key, allowed)[:1]]
        for place in dict.fromkeys((None, *places)):
            yield from self.by_first.get(place, ())


def _places(key: Hashable, allowed: Set) -> list[tuple[Hashable, object]]:
    """Where a demand is found: by each value that satisfies it, or by its key alone where these cannot be told."""
    if isinstance(allowed, Values) and not allowed.rest:
        return [(key, member) for member in allowed.members]
    return [(key, None)]


class _Stage:
    """The rules of one stage, looked at in order."""

    def __init__(self, rules: Sequence[Rule], domains: Domains, subject: Subject, effort: Effort) -> None:
        self._rules = rules
        self._domains = domains
        self._subject = subject
        self._effort = effort
        self._last_block = max((i for i, rule in enumerate(rules) if rule.action.blocks), default=-1)
        moved = (i for i, rule in enumerate(rules) if not rule.free and not rule.action.blocks)
        self._spared_below = next(moved, len(rules))
        self._covers = [_Covers() for _ in subject.constants]

    def of_rule(self, position: int) -> Iterator[Finding]:
        """What there is to say about the rule at ``position``; those above it have been looked at."""
        rule = self._rules[position]
        found = self._subject.alternatives(rule)
        if found is None:
            return
        lenient = rule.action is Action.ACCEPT and position < self._last_block
        conflicts = [[self._conflict(clause, lenient) for clause in alternatives] for alternatives in found]
        if all(conflict is not None for of_profile in conflicts for conflict in of_profile):
            yield from self._never_matches(rule, [c for c in conflicts[0] if c is not None])
        else:
            yield from self._never_reached(rule, lenient, found, conflicts)
        if rule.decides:
            for covers, alternatives in zip(self._covers, found, strict=True):
                covers.add(rule, position, alternatives)

    def _conflict(self, clause: Clause, lenient: bool) -> Conflict | None:
        """Demands of ``clause`` that cannot all be true; ``lenient``: each by another value of what is in doubt."""
        for _, demands in by_key(clause):
            domain = self._domains.of(demands[0])
            alone = next((d for d in demands if met([d], domain).empty), None)
            if alone is not None:
                return (alone,)
            if met(demands, domain).empty and not (lenient and demands[0].doubtful):
                pairs = ((a, b) for i, a in enumerate(demands) for b in demands[:i] if met([a, b], domain).empty)
                return next(((b, a) for a, b in pairs), tuple(demands))
        return None

    def _never_matches(self, rule: Rule, conflicts: list[Conflict]) -> Iterator[Finding]:
        if conflicts and all(len(conflict) == 1 and conflict[0].key in SUMS for conflict in conflicts):
            return  # told of by analysis.reach, with what the sums come to
        said = [self._excluded(rule, conflict) for conflict in conflicts]
        message = f"rule '{rule.name}' can never match: "
        if len(said) > 1:
            message += "none of its alternatives can be true"
        else:
            message += said[0] if said else "its condition is false"
        span = conflicts[0][-1].leaf.span if len(said) == 1 else rule.condition.span
        steps = said if len(said) > 1 else []
        yield self._subject.of_condition(Kind.NEVER_MATCHES, rule, span, message, "mend it, or remove the rule", *steps)

    def _excluded(self, rule: Rule, conflict: Conflict) -> str:
        parts = [("" if d.wanted else "not ") + self._subject.quoted(rule, d.leaf.span) for d in conflict]
        if len(parts) == 1:
            return f"{parts[0]} never holds"
        return f"{', '.join(parts[:-1])} and {parts[-1]} exclude one another"

    def _never_reached(
        self, rule: Rule, lenient: bool, found: list[list[Clause]], conflicts: list[list[Conflict | None]]
    ) -> Iterator[Finding]:
        above: dict[str, Rule] = {}
        for covers, alternatives, of_profile in zip(self._covers, found, conflicts, strict=True):
            for clause, conflict in zip(alternatives, of_profile, strict=True):
                cover = self._cover(rule, lenient, clause, covers) if conflict is None else None
                if cover is not None:
                    above[cover.name] = cover
                elif conflict is None:
                    return
        yield self._told(rule, list(above.values()))

    def _cover(self, rule: Rule, lenient: bool, clause: Clause, covers: _Covers) -> Rule | None:
        """A rule above that decides wherever ``rule`` would by this alternative."""
        given = {key: met(demands, self._domains.of(demands[0])) for key, demands in by_key(clause)}
        for cover in covers.of(given):
            if not self._effort.allows():
                return None
            if self._may_cover(cover, rule):
                certain = lenient or (cover.rule.action.blocks and not rule.action.blocks)
                if all(_follows(demand, given.get(demand.key), certain) for demand in cover.clause):
                    return cover.rule
        return None

    def _may_cover(self, cover: _Cover, rule: Rule) -> bool:
        above = cover.rule
        in_force = above.enforced or not rule.enforced
        unmoved = above.free or not rule.free
        spared = above.action.blocks and not rule.action.blocks and cover.position > self._spared_below
        return in_force and unmoved and not spared

    def _told(self, rule: Rule, above: list[Rule]) -> Finding:
        names = " and ".join(f"rule '{one.name}'" for one in above)
        decide = "decides" if len(above) == 1 else "decide"
        message = f"rule '{rule.name}' is never reached: {names} above {decide} wherever it would match"
        steps = [self._subject.told(one) for one in above]
        hint = "move it above, or remove it"
        span = (0, len(self._subject.condition(rule)))
        return self._subject.of_condition(Kind.NEVER_REACHED, rule, span, message, hint, *steps)


def _follows(demand: Demand, given: Set | None, certain: bool) -> bool:
    """Whether ``demand`` is true wherever its fact is known to be in ``given``.

    Args:
        certain: whether it must be so whatever doubt counts for.
    """
    return given is not None and not (certain and demand.doubtful) and within(given, demand.allowed)
