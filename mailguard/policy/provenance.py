"""Received evidence never blocks: refuses a policy in which a reject or defer may come to depend on it.

Received headers below our own are the sender's word, and so are the points of rules that look at them (architecture.md,
invariants). Three ways lead from such a fact to a refusal, and each is followed:

* the condition of the rule names it, wherever in the condition;
* a rule above in the same stage decides by it: then it chooses who reaches the rule below (``accept if spam.score < 3``
  above ``reject`` would let Received convict);
* a tag was given by it, or below such a rule, and the condition asks for the tag.

``virus.*`` is content where the condition requires, in the same conjunction, that ``virus.kind`` is malware or pua: an
official signature looks at content. All other kinds are guesses or third-party signatures that may look at headers.

The fourth way, ``unavailable`` after a rule that decided by Received evidence, is closed by the engine.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from mailguard.facts import FACTS, Provenance, Stage
from mailguard.policy.expression import (
    And,
    Comparison,
    Condition,
    FactRef,
    Literal,
    Not,
    OneOf,
    Operand,
    Or,
    Span,
    tags_of,
)
from mailguard.policy.rules import Rule
from mailguard.positions import Document, Problem
from mailguard.verdict import Action

_CONTENT_KINDS: Final = frozenset({"malware", "pua"})
_WHY: Final = {
    "spam.score": "holds the points of SpamAssassin rules that look at Received headers",
    "spam.received_score": "is the points of SpamAssassin rules that look at Received headers",
    "spam.rules": "names SpamAssassin rules that look at Received headers too",
    "virus.status": "may speak of a heuristic or unofficial signature, which may look at headers",
    "virus.name": "may name a heuristic or unofficial signature, which may look at headers",
    "virus.kind": "may be heuristic or unofficial: such signatures may look at headers",
}
"""Why a fact is Received evidence."""
_HINTS: Final = {
    "spam": "use `spam.content_score`, which leaves those points out, or `then: file`",
    "virus": "add `and virus.kind == 'malware'`, or `then: file`",
}


@dataclass(frozen=True, slots=True)
class _Mention:
    """A name in the condition of ``rule`` that carries Received evidence, and how it came to."""

    rule: Rule
    name: str
    span: Span
    steps: tuple[str, ...]
    hint: str


def check(document: Document, stages: Mapping[Stage, Sequence[Rule]]) -> tuple[dict[Stage, list[Rule]], list[Problem]]:
    """The rules, marked where they rest on Received evidence, and every way by which it would block."""
    analysis = _Analysis(document)
    return {
        stage: [analysis.rule(r) for r in analysis.begin(rules)] for stage, rules in stages.items()
    }, analysis.problems


class _Analysis:
    """Follows Received evidence through the rules in order."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._tags: dict[str, _Mention] = {}
        self._above: _Mention | None = None
        self.problems: list[Problem] = []

    def begin(self, rules: Sequence[Rule]) -> Sequence[Rule]:
        """A new stage: what decided in the one before let all of these rules be reached."""
        self._above = None
        return rules

    def rule(self, rule: Rule) -> Rule:
        """Look at the next rule; it comes back marked."""
        mentions = list(self._mentions(rule))
        if rule.action.blocks:
            self.problems += [self._problem(mention) for mention in mentions]
            if self._above is not None:
                self.problems.append(self._order_problem(rule, self._above))
        elif rule.action is Action.TAG:
            source = mentions[0] if mentions else self._above
            if source is not None and rule.symbol is not None:
                self._tags.setdefault(rule.symbol, self._given_by(rule, source))
        elif mentions and self._above is None:
            self._above = mentions[0]
        return replace(rule, tainted=bool(mentions))

    def _mentions(self, rule: Rule) -> Iterator[_Mention]:
        for node in received(rule.condition):
            if isinstance(node, FactRef):
                step = f"{self._where(rule, node.span)}: `{node.name}` {_WHY[node.name]}"
                hint = _HINTS.get(node.name.partition(".")[0], "use `then: file` or `then: tag`")
                yield _Mention(rule, node.name, node.span, (step,), hint)
        for tag in tags_of(rule.condition):
            if (origin := self._tags.get(tag.symbol)) is not None:
                yield replace(origin, rule=rule, name=f"the tag {tag.symbol}", span=tag.tags_span)

    def _given_by(self, rule: Rule, source: _Mention) -> _Mention:
        """The mention of a tag that ``rule`` gives by, or below a rule that decides by, Received evidence."""
        how = "by" if source.rule is rule else f"below rule '{source.rule.name}', which decides by"
        line = self._line(rule)
        step = f"line {line}: rule '{rule.name}' gives the tag {rule.symbol} {how} {_quoted(source.name)}"
        return replace(source, steps=(step, *source.steps))

    def _problem(self, mention: _Mention) -> Problem:
        rule = mention.rule
        message = (
            f"rule '{rule.name}' may not {rule.action} by {_quoted(mention.name)}: it rests on Received headers, "
            "which anybody can forge"
        )
        first = f"line {self._line(rule)}: rule '{rule.name}' says {rule.action} if {self._condition(rule)}"
        return self._document.span_problem(
            (*rule.path, "if"), mention.span, message, mention.hint, steps=(first, *mention.steps)
        )

    def _order_problem(self, rule: Rule, above: _Mention) -> Problem:
        message = (
            f"rule '{above.rule.name}' decides by {_quoted(above.name)}, which rests on Received headers: no "
            f"{rule.action} may stand below it, as rule '{rule.name}' does"
        )
        steps = (
            f"line {self._line(above.rule)}: rule '{above.rule.name}' says {above.rule.action} "
            f"if {self._condition(above.rule)}",
            *above.steps,
            f"line {self._line(rule)}: rule '{rule.name}' says {rule.action} where that did not hold",
        )
        hint = f"move rule '{rule.name}' above rule '{above.rule.name}'"
        return self._document.span_problem((*above.rule.path, "if"), above.span, message, hint, steps=steps)

    def _where(self, rule: Rule, span: Span) -> str:
        path = (*rule.path, "if")
        return f"line {self._document.place(path).line}, column {self._document.column(path, span[0])}"

    def _line(self, rule: Rule) -> int:
        return self._document.place((*rule.path, "if")).line

    def _condition(self, rule: Rule) -> str:
        return str(self._document.value((*rule.path, "if")))


def _quoted(name: str) -> str:
    return name if name.startswith("the tag") else f"`{name}`"


def received(condition: Condition, narrowed: bool = False, negated: bool = False) -> Iterator[FactRef]:
    """The facts of Received evidence that ``condition`` rests on.

    ``narrowed``: an enclosing conjunction requires a kind of signature that looks at content alone. ``negated``: under
    a ``not``, where a test of the kind requires nothing.
    """
    if isinstance(condition, And | Or):
        if isinstance(condition, And) and not negated:
            narrowed = narrowed or any(requires_content_kind(part) for part in condition.inner)
        for part in condition.inner:
            yield from received(part, narrowed, negated)
    elif isinstance(condition, Not):
        yield from received(condition.inner, narrowed, True)
    else:
        narrowed = narrowed or (not negated and requires_content_kind(condition))
        yield from (fact for fact in _leaf_facts(condition) if not (narrowed and fact.name.startswith("virus.")))


def requires_content_kind(condition: Condition) -> bool:
    """Whether ``condition`` is true only for a signature of a kind that looks at content alone."""
    if isinstance(condition, And):
        return any(requires_content_kind(part) for part in condition.inner)
    if isinstance(condition, Or):
        return all(requires_content_kind(part) for part in condition.inner)
    if isinstance(condition, OneOf):
        return _is_kind(condition.operand) and all(item.constant in _CONTENT_KINDS for item in condition.items)
    if not isinstance(condition, Comparison) or condition.operator != "==":
        return False
    sides = ((condition.left, condition.right), (condition.right, condition.left))
    return any(
        _is_kind(one) and isinstance(other, Literal) and other.constant in _CONTENT_KINDS for one, other in sides
    )


def _is_kind(operand: Operand) -> bool:
    return isinstance(operand, FactRef) and operand.name == "virus.kind"


def _leaf_facts(condition: Condition) -> Iterator[FactRef]:
    for part in condition.parts():
        if isinstance(part, FactRef) and FACTS[part.name].provenance is Provenance.RECEIVED:
            yield part
