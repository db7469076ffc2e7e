"""What would flip a verdict: the same engine asked again with one piece of evidence other than it is.

One change at a time (:class:`Change`): a listing that is there taken away, one that is not added, an answer that is
missing given, a fact that is true or false turned, a number moved to just beyond a threshold of a rule that was tried.
Whatever then becomes something else is a :class:`Flip`. Changes are said in the vocabulary of cases, and made by
``cases.overlaid``: nothing of the policy is guessed here. A score is no evidence of its own; it is moved by a list that
weighs as much.

Smallest first: by weights and points, then what has neither. Of several changes of one piece of evidence that come to
the same, the smallest is told. What two changes together would flip is not looked for. Bounded: :data:`MAX_CHANGES`
evaluations. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address
from itertools import chain, islice
from math import inf
from typing import Final, TypeAlias

from mailguard.facts import FACTS, NOT_ASKED, DnsblZone, FactType, Known, SpamResult, Stage, Unknown
from mailguard.policy.answers import CodePattern, Listing, ListTable, usable
from mailguard.policy.cases import overlaid
from mailguard.policy.course import Course, Facts, course_of
from mailguard.policy.engine import CompiledPolicy
from mailguard.policy.expression import OPERATORS, FactRef, View, facts_of
from mailguard.policy.reading import Reading
from mailguard.policy.rules import Rule, World
from mailguard.policy.schema import Given
from mailguard.policy.thresholds import Limit, limits
from mailguard.policy.truth import Members, Range
from mailguard.verdict import Action, Verdict

MAX_CHANGES: Final = 1000
"""Evaluations at the most: of a policy with hundreds of lists the last are not tried."""
_STEP: Final = 0.1
"""How far beyond a threshold a number is moved, in weights and points: SpamAssassin tells tenths."""
_CODE: Final = IPv4Address("127.0.0.2")
_SCORES: Final = ("client.score", "dnsbl.score")
_POINTS: Final = "points"
"""The unit of what SpamAssassin counts."""


@dataclass(frozen=True, slots=True)
class Change:
    """One piece of evidence, other than it is.

    Attributes:
        what: in words, to follow "mail is taken": ``without zen/XBL``.
        about: the piece of evidence.
        size: how much is changed, in weights or points; infinite where that cannot be said.
        given: the facts that are other, as a case gives them.
        weight: of a list that is added; nothing is, where it is 0.
    """

    what: str
    about: str
    size: float
    given: Mapping[str, Given] = field(default_factory=dict)
    weight: float = 0.0


@dataclass(frozen=True, slots=True)
class Flip:
    """A change, and how it goes with it."""

    change: Change
    course: Course


Place: TypeAlias = tuple[Action, int | str | None]
"""What a sender or a recipient notices: an action with its reply code or folder."""


def place(verdict: Verdict) -> Place:
    """What is noticed of ``verdict``."""
    return verdict.action, verdict.reply.code if verdict.reply is not None else verdict.folder


def places(course: Course) -> tuple[Place, Place | None]:
    """What is noticed, and what would be but for observe mode."""
    observed = course.verdict.observed
    return place(course.verdict), place(observed) if observed is not None else None


def flips(policy: CompiledPolicy, facts: Facts) -> list[Flip]:
    """Every change that makes ``policy`` decide otherwise, smallest first; one for each evidence and outcome."""
    now = places(course_of(policy, facts))
    found: dict[tuple[str, object], Flip] = {}
    for change in islice(_Changes(policy, facts).all(), MAX_CHANGES):
        course = after(policy, facts, change)
        key = (change.about, places(course))
        if places(course) != now and (key not in found or change.size < found[key].change.size):
            found[key] = Flip(change, course)
    return sorted(found.values(), key=lambda flip: flip.change.size)


def after(policy: CompiledPolicy, facts: Facts, change: Change) -> Course:
    """How it goes with ``change``."""
    if change.weight:
        policy, facts = _with_list(policy, facts, change.weight)
    return course_of(policy, overlaid(facts, change.given) if change.given else facts)


def _with_list(policy: CompiledPolicy, facts: Facts, weight: float) -> tuple[CompiledPolicy, Facts]:
    """``policy`` with one more list, that lists the client and weighs ``weight``; no list of a policy has no name."""
    table = ListTable(DnsblZone("", ""), (Listing(CodePattern.parse(str(_CODE)), weight, ""),))
    client = replace(facts.client, dnsbl={**facts.client.dnsbl, "": Known(frozenset({_CODE}))})

    def added(world: World) -> World:
        return replace(world, scales=replace(world.scales, lists=(*world.scales.lists, table)))

    trial = added(policy.trial) if policy.trial is not None else None
    return replace(policy, force=added(policy.force), trial=trial), replace(facts, client=client)


class _Changes:
    """The changes that are tried."""

    def __init__(self, policy: CompiledPolicy, facts: Facts) -> None:
        self._policy = policy
        self._facts = facts
        self._world = policy.trial or policy.force
        self._profile = policy.profiles.of(facts.envelope.recipient)
        self._reading = Reading(self._world.scales, facts.client, facts.envelope, facts.message, Members())
        self._rules = list(self._tried())

    def all(self) -> Iterator[Change]:
        """Every change that is tried."""
        return chain(self._lists(), self._missing(), self._infected(), self._turned(), self._crossed())

    def _tried(self) -> Iterator[Rule]:
        """The rules tried, in force and in what would be."""
        worlds = [self._policy, replace(self._policy, force=self._world, trial=None)]
        seen: set[str] = set()
        for policy in worlds:
            rules: dict[str, Rule] = {}

            def watch(rule: Rule, _view: View, rules: dict[str, Rule] = rules) -> None:
                rules[rule.name] = rule

            course_of(policy, self._facts, watch)
            yield from (rule for name, rule in rules.items() if name not in seen)
            seen |= rules.keys()

    # --- lists --------------------------------------------------------------------------------------------------------

    def _lists(self) -> Iterator[Change]:
        asked = {zone.name for zone in self._policy.lists}
        for table in self._world.scales.lists:
            if table.zone.name in asked:
                yield from self._of_list(table)

    def _of_list(self, table: ListTable) -> Iterator[Change]:
        name = table.zone.name
        answer = usable(self._facts.client.dnsbl.get(name, NOT_ASKED))
        counted = table.tally(answer)
        gone: dict[str, Given] = {f"dnsbl.{name}": []}
        if isinstance(answer, Unknown):
            yield Change(f"had {name} answered that it does not list the client", f"dnsbl.{name}", 0.0, gone)
        elif counted.labels.settled:
            listed = ", ".join(sorted(counted.labels.settled))
            yield Change(f"without {listed}", f"dnsbl.{name}", abs(counted.score.settled), gone)
            return
        for listing in table.listings:
            code = example(table, listing)
            if code is not None:
                verb = f"had {name} answered" if isinstance(answer, Unknown) else "listed as"
                what = f"{verb} {name}/{listing.label}"
                yield Change(what, f"dnsbl.{name}", abs(listing.weight), {f"dnsbl.{name}": str(code)})

    # --- answers and facts --------------------------------------------------------------------------------------------

    def _missing(self) -> Iterator[Change]:
        """Answers that nobody gave, given as they are where all is well."""
        for name, (told, given) in _WELL.items():
            exists = FACTS[name].stage is Stage.ENVELOPE or self._facts.message is not None
            if exists and self._reading.value(name) is None:
                yield Change(f"had {told}", name, 0.0, given)

    def _infected(self) -> Iterator[Change]:
        """What clamd found, taken away."""
        virus = self._reading.virus
        if isinstance(virus, Known) and virus.value.infected:
            yield Change(f"without {virus.value.name}", "virus.name", inf, {"virus.status": "clean"})

    def _turned(self) -> Iterator[Change]:
        """True-or-false facts that weigh something or that rules tried name, turned."""
        weights = self._world.scales.weights
        for name in dict.fromkeys([*weights, *self._named(FactType.BOOLEAN)]):
            value = self._reading.value(name)
            if isinstance(value, bool):
                told = f"{name} {str(not value).lower()} instead of {str(value).lower()}"
                size = abs(weights[name]) if name in weights else inf
                yield Change(f"with {told}", name, size, {name: not value})

    def _named(self, type_: FactType) -> Iterable[str]:
        refs = chain.from_iterable(facts_of(rule.condition) for rule in self._rules)
        return (ref.name for ref in refs if ref.type is type_)

    # --- thresholds ---------------------------------------------------------------------------------------------------

    def _crossed(self) -> Iterator[Change]:
        """Numbers moved to just beyond a threshold."""
        view = View(self._reading, self._profile)
        for limit in chain.from_iterable(limits(rule.condition) for rule in self._rules):
            value = view.facts[limit.fact.name]
            if isinstance(value, Range) and value.low == value.high:
                beyond = _beyond(limit, value.settled, limit.value(self._profile))
                if beyond is not None:
                    yield from self._moved(limit.fact, value.settled, beyond)

    def _moved(self, fact: FactRef, value: float, to: float) -> Iterator[Change]:
        """The number made another one; that of lists is moved by their listings alone (:meth:`_of_list`)."""
        told = f"{fact.name} {to:g} instead of {value:g}"
        by = round(to - value, 6)
        if fact.name in _SCORES:
            which = "more against the client" if by > 0 else "that speaks for the client"
            yield Change(f"with one list {which}, of {by:+g}: {told}", fact.name, abs(by), weight=by)
        elif fact.name == "message.size":
            yield Change(f"with {told}", fact.name, inf, {"message.size": to})
        elif FACTS[fact.name].unit == _POINTS and self._facts.message and isinstance(self._facts.message.spam, Known):
            yield Change(f"with {told}", fact.name, abs(by), _points(fact.name, to, by, self._facts.message.spam.value))


def _points(name: str, to: float, by: float, spam: SpamResult) -> dict[str, Given]:
    """What is given, so that the fact ``name`` of ``spam`` becomes ``to``, ``by`` more than it is."""
    given: dict[str, Given] = {"spam.score": round(spam.score + by, 3)}
    return {**given, "spam.received_score": to} if name == "spam.received_score" else given


def _beyond(limit: Limit, value: float, threshold: float) -> float | None:
    """The number nearest to ``value`` for which the comparison of ``limit`` is the opposite."""
    step = 1.0 if FACTS[limit.fact.name].unit == "octets" else _STEP
    turned = limit.comparison.left is not limit.fact

    def holds(number: float) -> bool:
        left, right = Range.exactly(number), Range.exactly(threshold)
        compared = (right, left) if turned else (left, right)
        return OPERATORS[limit.comparison.operator](*compared) is True

    around = (round(threshold + offset, 6) for offset in (-step, 0.0, step))
    other = [number for number in around if (step < 1 or number >= 0) and holds(number) is not holds(value)]
    return min(other, key=lambda number: abs(number - value), default=None)


def example(table: ListTable, listing: Listing) -> IPv4Address | None:
    """A code that falls under ``listing`` and no better one of ``table``; None where there is none."""
    octets = listing.pattern.octets
    first = [low for low, _ in octets[:3]]
    for last in range(octets[3][0], octets[3][1] + 1):
        code = IPv4Address(bytes([*first, last]))
        if table.listing(code) is listing and not isinstance(usable(Known(frozenset({code}))), Unknown):
            return code
    return None


_WELL: Final[Mapping[str, tuple[str, Mapping[str, Given]]]] = {
    "early_talker": ("the client waited for the greeting", {"early_talker": False}),
    "reverse_dns.missing": (
        "reverse_dns answered with a name that leads back",
        {"reverse_dns.missing": False, "reverse_dns.unconfirmed": False},
    ),
    "helo.unresolvable": ("helo answered that the EHLO name resolves", {"helo.unresolvable": False}),
    "sender.unresolvable": ("sender answered that its domain takes mail", {"sender.unresolvable": False}),
    "virus.status": ("clamav found nothing", {"virus.status": "clean"}),
    "spam.score": ("spamassassin given 0 points", {"spam.score": 0.0, "spam.received_score": 0.0}),
}
"""By a fact whose answer may be missing: what it would be where all is well, in words and as a case gives it."""
