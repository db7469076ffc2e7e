"""Why a verdict came out as it did: each fact, each weight, each rule tried with the parts of its condition.

It is the engine's own pass that is told of: the engine says which rule it tries and what its condition sees then, and
the parts are evaluated over that view. What is only observed is explained by the same, as though it were in force.
Pure; raises nothing for facts of the declared types.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from itertools import chain

from mailguard.facts import FACTS, NOT_ASKED, Answer, Codes, FactSpec, Known, Source, Stage, Unknown
from mailguard.policy.answers import ListTable, usable
from mailguard.policy.cases import tried as enforced
from mailguard.policy.course import Course, Facts, course_of
from mailguard.policy.engine import CompiledPolicy
from mailguard.policy.expression import Condition, View, facts_of, leaves
from mailguard.policy.reading import Reading
from mailguard.policy.rules import Rule
from mailguard.policy.truth import Members, Range, Truth
from mailguard.verdict import Evidence, Verdict


@dataclass(frozen=True, slots=True)
class Part:
    """A condition within a rule's that holds no other, its truth, and the facts that it names as they were shown."""

    condition: Condition
    truth: Truth
    facts: tuple[Evidence, ...]


@dataclass(frozen=True, slots=True)
class Tried:
    """A rule that was tried.

    Attributes:
        rule: it.
        truth: of its condition, where doubt is kept.
        fired: whether it fired; None where that could not be told. True beside a ``truth`` of None: doubt weighed
            nothing, or for the sender (``policy.engine``).
        parts: of its condition.
    """

    rule: Rule
    truth: Truth
    fired: Truth
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class StageTold:
    """One stage: its verdict, the rules tried in order, and those below the one that decided."""

    stage: Stage
    verdict: Verdict
    tried: tuple[Tried, ...]
    untried: tuple[Rule, ...]


@dataclass(frozen=True, slots=True)
class Shown:
    """A fact as it was seen. ``why``: why there was no answer, or not all of it."""

    evidence: Evidence
    spec: FactSpec
    why: str = ""


@dataclass(frozen=True, slots=True)
class Counted:
    """What a list's answer, or a fact with a weight, counts for.

    Attributes:
        name: of the list or the fact.
        zone: the list's; empty for a fact.
        codes: what the list answered, each with its label, empty where its table does not know the code.
        unknown: why there was no answer, or why the answer is void; empty where there was one.
        weight: what it counts for: where it is unknown its least, its greatest, and what it weighs outside of a
            refusal, which is nothing.
        observed: it counts only in what would have been.
    """

    name: str
    zone: str
    codes: tuple[tuple[IPv4Address, str], ...]
    unknown: str
    weight: Range
    observed: bool = False


@dataclass(frozen=True, slots=True)
class Explanation:
    """One decision about one recipient, whole.

    Attributes:
        facts: what it was decided on.
        profile: of the recipient.
        course: what was decided.
        shown: every fact that the policy's rules rest on, of the stages whose facts there are.
        counted: all lists and weights.
        stages: the rules in force.
        observed: what would have been, were everything in force; None where that is nothing else.
    """

    facts: Facts
    profile: str
    course: Course
    shown: tuple[Shown, ...]
    counted: tuple[Counted, ...]
    stages: tuple[StageTold, ...]
    observed: Explanation | None = field(default=None)


def explain(policy: CompiledPolicy, facts: Facts) -> Explanation:
    """Why ``policy`` decides on ``facts`` as it does."""
    world = policy.trial or policy.force
    reading = Reading(world.scales, facts.client, facts.envelope, facts.message, Members())
    watched = _Watched(reading)
    course = course_of(policy, facts, watched)
    return Explanation(
        facts,
        policy.profile(facts.envelope.recipient),
        course,
        tuple(_shown(policy, reading)),
        tuple(chain(_lists(policy, reading), _weights(reading))),
        tuple(_stages(policy, course, watched.seen)),
        explain(enforced(policy), facts) if course.verdict.observed is not None else None,
    )


class _Watched:
    """What the engine tells of its rules: each with the truth of its condition and of the parts."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self.seen: list[tuple[Rule, Truth, tuple[Part, ...]]] = []

    def __call__(self, rule: Rule, view: View) -> None:
        parts = tuple(self._part(leaf, view) for leaf in leaves(rule.condition))
        self.seen.append((rule, rule.condition.evaluate(view), parts))

    def _part(self, leaf: Condition, view: View) -> Part:
        names = dict.fromkeys(fact.name for fact in facts_of(leaf))
        return Part(leaf, leaf.evaluate(view), tuple(self._reading.evidence(name) for name in names))


def _stages(
    policy: CompiledPolicy, course: Course, seen: Sequence[tuple[Rule, Truth, tuple[Part, ...]]]
) -> Iterator[StageTold]:
    verdicts = {Stage.ENVELOPE: course.envelope, Stage.CONTENT: course.content}
    told = iter(seen)
    for stage, verdict in verdicts.items():
        if verdict is not None:
            outcomes = verdict.trace.rules
            tried = tuple(
                Tried(rule, truth, outcome.fired, parts)
                for outcome, (rule, truth, parts) in zip(outcomes, told, strict=False)
            )
            yield StageTold(stage, verdict, tried, policy.force.stages[stage].rules[len(tried) :])


def _shown(policy: CompiledPolicy, reading: Reading) -> Iterator[Shown]:
    world = policy.trial or policy.force
    stages = [stage for stage in Stage if stage is Stage.ENVELOPE or reading.message is not None]
    used = {name for stage in stages for name in world.stages[stage].facts}
    for name, spec in FACTS.items():
        if name in used:
            evidence = reading.evidence(name)
            yield Shown(evidence, spec, _why(reading, spec.source) if evidence.unknown else "")


def _why(reading: Reading, source: Source | None) -> str:
    """Why ``source`` gave no answer."""
    unknown = reading.unknown(source) if source is not None else None
    return unknown.why if unknown is not None else ""


def _lists(policy: CompiledPolicy, reading: Reading) -> Iterator[Counted]:
    if Source.DNSBL in policy.sources:
        for table in reading.scales.lists:
            yield _list(table, reading.client.dnsbl.get(table.zone.name, NOT_ASKED))


def _list(table: ListTable, answer: Answer[Codes]) -> Counted:
    codes = sorted(answer.value) if isinstance(answer, Known) else []
    used = usable(answer)
    return Counted(
        table.zone.name,
        table.zone.zone,
        tuple((code, entry.label if (entry := table.listing(code)) is not None else "") for code in codes),
        used.why if isinstance(used, Unknown) else "",
        table.tally(answer).score,
        table.observed,
    )


def _weights(reading: Reading) -> Iterator[Counted]:
    for name, weight in reading.scales.weights.items():
        value = reading.value(name)
        doubt = Range(min(0.0, weight), max(0.0, weight), 0.0)
        counts = doubt if value is None else Range.exactly(weight if value is True else 0.0)
        why = _why(reading, FACTS[name].source) or "no answer" if value is None else ""
        yield Counted(name, "", (), why, counts)
