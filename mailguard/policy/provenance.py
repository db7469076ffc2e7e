"""Received evidence may acquit, never convict: refuses a policy in which it could get a message refused.

Received headers below our own are the sender's word, and so are the points of rules that look at them (architecture.md,
invariants). No message may be refused or deferred with that evidence that would not be without it. ``policy.direction``
says where the evidence may move a condition; for rules it follows:

* a rule that blocks must not RISE: the evidence may switch it off, never on;
* above a rule that blocks, in its stage, no rule that lets through (accept, file) may FALL: switched off, it would no
  longer keep the message from the rule below (``accept if spam.score < 3`` above ``reject`` lets Received convict);
* a rule above that itself blocks may: where the evidence switches it off, the message was refused without;
* a tag moves as the rules that give it, and carries that into the conditions that ask for it. Which rule above decided
  does not matter to it: who comes to a rule below has passed the same rules with the evidence and without.

Why this is enough: take a message that a rule refuses with the evidence. No rule above it that lets through has fired,
and as none of them falls, none fires without the evidence; so that rule is reached then too, and as it does not rise,
it fires as well. Missing answers, and ``unavailable``, are the engine's part of the same argument (``policy.engine``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from operator import or_
from typing import Final

from mailguard.facts import FACTS, Direction, Stage
from mailguard.policy.direction import Move, moves
from mailguard.policy.expression import FactRef, HasTag, Span
from mailguard.policy.rules import Rule
from mailguard.positions import Document, Problem
from mailguard.verdict import Action

_HINTS: Final = {
    "spam": "use `spam.content_score`, which leaves those points out, or `then: file`",
    "virus": "add `and virus.kind == 'malware'`, or `then: file`",
}
"""What to write instead of a fact that may be moved anywhere, by what stands before its dot."""
_HINTS_FOR_USE: Final = {
    "spam.content_score": "ask for more of it, by `>=` or `>` and without `not`; or `then: file`",
    "virus.kind": "ask for `virus.kind == 'malware'`, which can be hidden but not brought about; or `then: file`",
}
"""What to write instead of a fact that is used the wrong way round."""


@dataclass(frozen=True, slots=True)
class _Mention:
    """A name in the condition of ``rule`` by which Received evidence may move it.

    Attributes:
        direction: where to.
        steps: how the name came to move, for the message.
        wholly: whether the fact that it goes back to may be moved anywhere, and it is so used.
        hint: what to write instead, where it stands in a rule that blocks.
    """

    rule: Rule
    name: str
    span: Span
    direction: Direction
    steps: tuple[str, ...]
    wholly: bool
    hint: str

    @property
    def quoted(self) -> str:
        """The name as it stands in a message."""
        return self.name if self.name.startswith("the tag") else f"`{self.name}`"


def check(document: Document, stages: Mapping[Stage, Sequence[Rule]]) -> tuple[dict[Stage, list[Rule]], list[Problem]]:
    """The rules, each with its direction, and every way by which Received evidence would convict."""
    analysis = _Analysis(document)
    return {stage: analysis.stage(rules) for stage, rules in stages.items()}, analysis.problems


class _Analysis:
    """Follows the movements through the rules in order."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._tags: dict[str, list[_Mention]] = {}
        self._moved: dict[str, Direction] = {}
        self._above: _Mention | None = None
        self.problems: list[Problem] = []

    def stage(self, rules: Sequence[Rule]) -> list[Rule]:
        """Look at the rules of the next stage: whatever let the message through the one before, it is here."""
        self._above = None
        return [self._rule(rule) for rule in rules]

    def _rule(self, rule: Rule) -> Rule:
        mentions = list(self._mentions(rule))
        if rule.action.blocks:
            self.problems += [self._problem(mention) for mention in mentions if mention.direction & Direction.RISES]
            if self._above is not None:
                self.problems.append(self._order_problem(rule, self._above))
        elif rule.action is Action.TAG and rule.symbol is not None:
            self._tags.setdefault(rule.symbol, []).extend(self._given(rule, mention) for mention in mentions)
            self._moved[rule.symbol] = self._moved.get(rule.symbol, Direction.FREE) | _union(mentions)
        elif self._above is None:
            self._above = next((mention for mention in mentions if mention.direction & Direction.FALLS), None)
        return replace(rule, direction=_union(mentions))

    def _mentions(self, rule: Rule) -> Iterator[_Mention]:
        for move in moves(rule.condition, self._moved):
            if isinstance(move.mention, HasTag):
                yield from self._by_tag(rule, move, move.mention)
            else:
                yield self._by_fact(rule, move, move.mention)

    def _by_fact(self, rule: Rule, move: Move, fact: FactRef) -> _Mention:
        spec = FACTS[fact.name]
        wholly = spec.moves is move.direction is Direction.ANY
        hints, key = (_HINTS, fact.name.partition(".")[0]) if wholly else (_HINTS_FOR_USE, fact.name)
        hint = hints.get(key, "use `then: file` or `then: tag`")
        step = f"{self._where(rule, fact.span)}: `{fact.name}` {spec.why}"
        return _Mention(rule, fact.name, fact.span, move.direction, (step,), wholly, hint)

    def _by_tag(self, rule: Rule, move: Move, tag: HasTag) -> Iterator[_Mention]:
        """One mention for each way that the tag may be moved: two rules that give it alike need not both be told."""
        told = Direction.FREE
        for origin in self._tags[tag.symbol]:
            direction = origin.direction.turned if move.turned else origin.direction
            if direction & ~told:
                told |= direction
                name = f"the tag {tag.symbol}"
                yield replace(origin, rule=rule, name=name, span=tag.tags_span, direction=direction)

    def _given(self, rule: Rule, source: _Mention) -> _Mention:
        """The mention of a tag that ``rule`` gives by ``source``."""
        step = f"{self._line(rule)}: rule '{rule.name}' gives the tag {rule.symbol} by {source.quoted}"
        return replace(source, steps=(step, *source.steps))

    def _problem(self, mention: _Mention) -> Problem:
        rule = mention.rule
        why = (
            ": it rests on Received headers, which anybody can forge"
            if mention.wholly
            else " as it is used here: Received headers, which anybody can forge, can make that true"
        )
        message = f"rule '{rule.name}' may not {rule.action} by {mention.quoted}{why}"
        first = f"{self._line(rule)}: rule '{rule.name}' says {rule.action} if {self._condition(rule)}"
        return self._document.span_problem(
            (*rule.path, "if"), mention.span, message, mention.hint, steps=(first, *mention.steps)
        )

    def _order_problem(self, rule: Rule, above: _Mention) -> Problem:
        how = "which rests on Received headers" if above.wholly else "and Received headers can switch that off"
        message = (
            f"rule '{above.rule.name}' decides by {above.quoted}, {how}: no {rule.action} may stand below it, as rule "
            f"'{rule.name}' does"
        )
        steps = (
            f"{self._line(above.rule)}: rule '{above.rule.name}' says {above.rule.action} "
            f"if {self._condition(above.rule)}",
            *above.steps,
            f"{self._line(rule)}: rule '{rule.name}' says {rule.action} where that did not hold",
        )
        hint = f"move rule '{rule.name}' above rule '{above.rule.name}'"
        return self._document.span_problem((*above.rule.path, "if"), above.span, message, hint, steps=steps)

    def _where(self, rule: Rule, span: Span) -> str:
        path = (*rule.path, "if")
        return f"{self._document.told(path)}, column {self._document.column(path, span[0])}"

    def _line(self, rule: Rule) -> str:
        return self._document.told((*rule.path, "if"))

    def _condition(self, rule: Rule) -> str:
        return str(self._document.value((*rule.path, "if")))


def _union(mentions: Iterable[_Mention]) -> Direction:
    return reduce(or_, (mention.direction for mention in mentions), Direction.FREE)
