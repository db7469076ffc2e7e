"""What the cases of a policy exercise: which rules fire in one, and which thresholds they show from both sides.

A rule is exercised by a case in which it fires; where the policy or the rule is only observed, in what would have been.
Mail to postmaster and abuse exercises none but those that let it through: whatever else fires has no effect.

A threshold is a number that a condition compares a fact with by ``<``, ``<=``, ``>``, ``>=``; of a constant of profiles
there is one for each profile that recipients have. A case shows a side of it only where the rule is tried and the
comparison settles what the condition comes to: of ``a >= 6 and b >= 2`` nothing is shown of 6 where ``b`` is 0, for the
outcome would be the same whatever the threshold. The values nearest to it on each side tell how closely it is held.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain, product
from typing import Final, TypeAlias

from mailguard.facts import FactType, Stage
from mailguard.policy.cases import course, facts_of_case, tried
from mailguard.policy.engine import POSTMASTER, CompiledPolicy
from mailguard.policy.expression import (
    And,
    Condition,
    Holds,
    Literal,
    Not,
    Or,
    ProfileRef,
    Span,
    View,
)
from mailguard.policy.reading import Reading
from mailguard.policy.rules import Rule
from mailguard.policy.schema import CaseEntry
from mailguard.policy.suites import Suite
from mailguard.policy.thresholds import Limit, limits
from mailguard.policy.truth import Members, Range
from mailguard.positions import Document
from mailguard.verdict import Verdict

_Key: TypeAlias = tuple[str, Span, str]
"""A threshold: its rule, where its comparison stands in the condition, and whose constant it is."""
_CONSTANTS: Final = tuple(Holds(Literal(truth, FactType.BOOLEAN, (0, 0)), (0, 0)) for truth in (True, False))


@dataclass(slots=True)
class RuleCoverage:
    """A rule, the line where it stands, and the names of the cases in which it fires."""

    rule: str
    file: str
    line: int
    cases: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Threshold:
    """A threshold, and how near to it the cases come.

    Attributes:
        rule, file, line: where it stands.
        comparison: as it is written.
        profile: whose constant it is, or empty.
        limit: the threshold.
        settled: the nearest value for which the comparison is true, and that for which it is false, where it settles
            the condition.
    """

    rule: str
    file: str
    line: int
    comparison: str
    profile: str
    limit: float
    settled: dict[bool, float] = field(default_factory=dict)

    @property
    def held(self) -> bool:
        """Whether cases show both sides."""
        return len(self.settled) == 2

    def nearest(self, truth: bool) -> float | None:
        """The nearest value for which the comparison is ``truth``; None where no case shows that side."""
        return self.settled.get(truth)

    def seen(self, truth: bool, value: float) -> None:
        """Note a case in which the comparison with ``value`` settles the condition."""
        known = self.settled.setdefault(truth, value)
        self.settled[truth] = min(known, value, key=lambda one: abs(one - self.limit))


@dataclass(frozen=True)
class Coverage:
    """What the cases exercise: every rule and every threshold, in the order in which they stand."""

    rules: tuple[RuleCoverage, ...]
    thresholds: tuple[Threshold, ...]

    @cached_property
    def idle(self) -> list[RuleCoverage]:
        """Rules that no case exercises."""
        return [rule for rule in self.rules if not rule.cases]

    @cached_property
    def loose(self) -> list[Threshold]:
        """Thresholds that are not shown from both sides."""
        return [threshold for threshold in self.thresholds if not threshold.held]


def cover(policy: CompiledPolicy, document: Document, suites: Iterable[Suite]) -> Coverage:
    """What the cases in ``suites`` exercise of ``policy``, which stands in ``document``."""
    found = _Cover(policy, document)
    worlds = [policy] if policy.trial is None else [policy, tried(policy)]
    for case, world in product(chain.from_iterable(suite.cases for suite in suites), worlds):
        found.note(world, case)
    return found.coverage


class _Cover:
    """The coverage as it grows."""

    def __init__(self, policy: CompiledPolicy, document: Document) -> None:
        self._document = document
        everything = policy.trial or policy.force
        profiles = policy.profiles
        self._profiles = {match.profile: profiles.constants[match.profile] for match in profiles.recipients}
        self._by_name = {rule.name: rule for stage in Stage for rule in everything.stages[stage].rules}
        self._rules = {name: RuleCoverage(name, *self._place(rule)) for name, rule in self._by_name.items()}
        self._thresholds = dict(chain.from_iterable(self._thresholds_of(rule) for rule in self._by_name.values()))

    @property
    def coverage(self) -> Coverage:
        """What is covered."""
        return Coverage(tuple(self._rules.values()), tuple(self._thresholds.values()))

    def note(self, policy: CompiledPolicy, case: CaseEntry) -> None:
        """Add what ``case`` shows of ``policy``."""
        client, envelope, message = facts_of_case(policy, case.given)
        went = course(policy, case.given)
        reading = Reading(policy.force.scales, client, envelope, None, Members())
        self._note_stage(case.name, went.envelope, reading, policy)
        if went.content is not None:
            tags = Members.exactly(went.envelope.tags)
            reading = Reading(policy.force.scales, client, envelope, message, tags)
            self._note_stage(case.name, went.content, reading, policy)

    def _note_stage(self, case: str, verdict: Verdict, reading: Reading, policy: CompiledPolicy) -> None:
        profile = policy.profile(reading.envelope.recipient)
        for outcome in () if verdict.rule == POSTMASTER else verdict.trace.rules:
            rule = self._by_name[outcome.rule]
            view = View(reading, self._profiles[profile])
            for limit in limits(rule.condition):
                self._note_side(rule, limit, view, profile)
            if outcome.fired:
                self._rules[rule.name].cases.append(case)
            if outcome.fired and rule.symbol is not None:
                reading = reading.with_tags(Members.exactly(reading.tags.settled | {rule.symbol}))

    def _note_side(self, rule: Rule, limit: Limit, view: View, profile: str) -> None:
        truth, value = limit.comparison.evaluate(view), view.facts[limit.fact.name]
        if truth is not None and isinstance(value, Range) and settles(rule.condition, limit.comparison, view):
            of_profile = profile if isinstance(limit.number, ProfileRef) else ""
            self._thresholds[rule.name, limit.comparison.span, of_profile].seen(truth, value.settled)

    def _thresholds_of(self, rule: Rule) -> Iterator[tuple[_Key, Threshold]]:
        condition = str(self._document.value((*rule.path, "if")))
        for limit in limits(rule.condition):
            span = limit.comparison.span
            profiles = self._profiles if isinstance(limit.number, ProfileRef) else {"": {}}
            for profile, constants in profiles.items():
                threshold = Threshold(
                    rule.name, *self._place(rule), condition[slice(*span)], profile, limit.value(constants)
                )
                yield (rule.name, span, profile), threshold

    def _place(self, rule: Rule) -> tuple[str, int]:
        place = self._document.place(rule.path)
        return place.text.file, place.line


def settles(condition: Condition, part: Condition, view: View) -> bool:
    """Whether ``condition`` is true or false as its ``part`` is, all else being as it is."""
    outcomes = {_with(condition, part, constant).evaluate(view) for constant in _CONSTANTS}
    return outcomes == {True, False}


def _with(condition: Condition, part: Condition, constant: Condition) -> Condition:
    """``condition`` with ``constant`` in the place of its ``part``."""
    if condition is part:
        return constant
    if isinstance(condition, Not):
        return replace(condition, inner=_with(condition.inner, part, constant))
    if isinstance(condition, And | Or):
        return replace(condition, inner=tuple(_with(inner, part, constant) for inner in condition.inner))
    return condition
