"""Rules by which one list alone gets a client refused: its mistake is then a mistake of ours.

Asked of each list in turn: with one of its answers, no other list listing the client, and nothing else against client
or content, can a rule refuse that could not without that answer? Sender, recipient and size may be anything. What asks
for more about the client (its name, its place in a list of addresses) is evidence of its own: such a rule does not rest
on the DNSBL alone. Rules above are not looked at: that they let some through changes nothing for the rest.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from ipaddress import IPv4Address
from itertools import combinations
from typing import Final

from mailguard.facts import FACTS, FactSpec, FactType, Known, Source
from mailguard.policy.analysis.clauses import Clause, Demand, by_key, met
from mailguard.policy.analysis.domains import Domains
from mailguard.policy.analysis.effort import Effort
from mailguard.policy.analysis.sets import Values
from mailguard.policy.analysis.subject import Subject
from mailguard.policy.answers import CodePattern, ListTable, Tally
from mailguard.policy.expression import Constant, HasTag, View, facts_of
from mailguard.policy.finding import Finding, Kind
from mailguard.policy.rules import Rule
from mailguard.policy.truth import Members, Range, Value
from mailguard.verdict import Action

MAX_PAIRED: Final = 16
"""Answers of a list that are also tried two at a time; of one that has more, each is tried alone."""
MAX_TRIED: Final = 50_000
"""Alternatives that are tried with an answer."""
_CLIENT: Final = ("client.", "reverse_dns.", "helo.")
_SCANNERS: Final = (Source.CLAMAV, Source.SPAMASSASSIN)


@dataclass(frozen=True, slots=True)
class _Listed:
    """A client and content of which nothing is known but what one list answers: facts that follow, tags to be had."""

    facts: Mapping[str, Value]
    symbols: frozenset[str] = frozenset()

    def __getitem__(self, name: str, /) -> Value | None:
        """What is known; None of what is not."""
        return self.facts.get(name)


@dataclass(frozen=True, slots=True)
class _Answer:
    """An answer of a list, as its table writes it, and what follows from it."""

    list_name: str
    written: str
    listed: _Listed


def findings(subject: Subject) -> Iterator[Finding]:
    """Each rule that refuses by one list alone, with the lists that can."""
    search = _Search(subject)
    answers = [list(_answers(table)) for table in subject.scales.lists]
    for rule in subject.rules:
        if rule.action is Action.REJECT:
            found = [first for of_list in answers if (first := search.first(rule, of_list)) is not None]
            if found:
                yield _told(subject, rule, found)


def _told(subject: Subject, rule: Rule, found: list[_Answer]) -> Finding:
    lists = ", ".join(f"`{answer.list_name}` by {answer.written}" for answer in found)
    message = f"rule '{rule.name}' refuses where one list alone says so: {lists}"
    hint = "ask for a second one: `and dnsbl.listed_by >= 2`"
    return subject.of_condition(Kind.ONE_LIST, rule, (0, len(subject.condition(rule))), message, hint)


def _answers(table: ListTable) -> Iterator[_Answer]:
    """The answers that one list may give, of which some count: each entry of its table, and two at once."""
    codes = {entry.key: code for entry in table.listings if (code := _code(table, entry.pattern)) is not None}
    chosen = [(key,) for key in codes]
    if len(codes) <= MAX_PAIRED:
        chosen += list(combinations(codes, 2))  # type: ignore[arg-type]
    for keys in chosen:
        answer = Known(frozenset(codes[key] for key in keys))
        yield _Answer(table.zone.name, " and ".join(keys), _listed(table.tally(answer)))


def _code(table: ListTable, pattern: CodePattern) -> IPv4Address | None:
    """A code that falls under ``pattern`` and under no entry of higher rank; None where none is found."""
    low = [first for first, _ in pattern.octets]
    for last in range(pattern.octets[3][0], pattern.octets[3][1] + 1):
        for third in {pattern.octets[2][0], pattern.octets[2][1]}:
            code = IPv4Address(bytes([low[0], low[1], third, last]))
            entry = table.listing(code)
            if entry is not None and entry.pattern == pattern:
                return code
    return None


def _listed(found: Tally) -> _Listed:
    """What is known of a client that the lists say ``found`` of, and no more."""
    facts: dict[str, Value] = {
        spec.name: _nothing(spec) for spec in FACTS.values() if spec.weighable or spec.source in _SCANNERS
    }
    return _Listed(
        facts
        | {
            "dnsbl.score": found.score,
            "dnsbl.listed_by": found.listed_by,
            "dnsbl.zones": found.zones,
            "dnsbl.labels": found.labels,
            "client.score": found.score,
        }
    )


def _nothing(spec: FactSpec) -> Value:
    """A fact of a client or a content without any fault."""
    if spec.type is FactType.NUMBER:
        return Range.exactly(float(str(spec.benign)))
    return Members() if spec.type is FactType.TEXTS else spec.benign  # type: ignore[return-value]


class _Search:
    """Looks for alternatives that are true by an answer, and not without it."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self._domains = Domains(subject.scales)
        self._effort = Effort(MAX_TRIED)
        self._unlisted = self._tagged(_listed(Tally()))

    def first(self, rule: Rule, answers: list[_Answer]) -> _Answer | None:
        """The first of ``answers`` by which ``rule`` refuses."""
        return next((answer for answer in answers if self._refuses(rule, self._tagged(answer.listed))), None)

    def _refuses(self, rule: Rule, listed: _Listed) -> bool:
        return any(
            self._possible(clause, constants, listed) and not self._possible(clause, constants, self._unlisted)
            for clause, constants in self._alternatives(rule)
        )

    def _tagged(self, listed: _Listed) -> _Listed:
        """``listed`` with the tags that rules may give it."""
        for rule in self._subject.rules:
            if rule.symbol is not None and any(self._possible(*found, listed) for found in self._alternatives(rule)):
                listed = replace(listed, symbols=listed.symbols | {rule.symbol})
        return listed

    def _alternatives(self, rule: Rule) -> Iterator[tuple[Clause, Mapping[str, Constant]]]:
        found = self._subject.alternatives(rule) or [[] for _ in self._subject.constants]
        for constants, clauses in zip(self._subject.constants, found, strict=True):
            for clause in clauses:
                if not self._effort.allows():
                    return
                yield clause, constants

    def _possible(self, clause: Clause, constants: Mapping[str, Constant], listed: _Listed) -> bool:
        """Whether a client and a content like that may make all demands of ``clause`` true."""
        if not all(_holds(demand, constants, listed) for demand in clause):
            return False
        open_ = tuple(demand for demand in clause if not _settled(demand, listed))
        return not any(met(demands, self._domains.of(demands[0])).empty for _, demands in by_key(open_))


def _settled(demand: Demand, listed: _Listed) -> bool:
    """Whether all facts that ``demand`` looks at are known."""
    return all(fact.name in listed.facts for fact in facts_of(demand.leaf))


def _holds(demand: Demand, constants: Mapping[str, Constant], listed: _Listed) -> bool:
    """Whether ``demand`` may be true: of what is known it is; it asks for no more about the client."""
    if isinstance(demand.leaf, HasTag):
        return not demand.wanted or demand.leaf.symbol in listed.symbols
    if _settled(demand, listed):
        return demand.leaf.evaluate(View(listed, constants)) is demand.wanted
    of_client = any(fact.name.startswith(_CLIENT) for fact in facts_of(demand.leaf))
    return not of_client or not isinstance(demand.allowed, Values) or demand.allowed.rest
