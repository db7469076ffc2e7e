"""What each rule rests on, and so what it may do: provenance and direction told rule by rule, for people.

A rule rests on the facts of its condition, on what these are made of (`client.score` on the lists and on whatever has a
weight), and on the facts of the rules that give the tags it asks for. A fact that is received by itself counts as
content where Received evidence can only hide it (`virus.kind == 'malware'`). What follows is what ``policy.provenance``
enforces; nothing is decided here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from mailguard.facts import FACTS, Direction, Provenance, Stage
from mailguard.policy.direction import moves
from mailguard.policy.engine import CompiledPolicy
from mailguard.policy.expression import FactRef, tags_of
from mailguard.policy.reading import Scales
from mailguard.policy.rules import Rule, with_parts
from mailguard.verdict import Action

_PASSES: Final = (Action.ACCEPT, Action.FILE)
_BLOCKS: Final = (Action.REJECT, Action.DEFER)


@dataclass(frozen=True, slots=True)
class Basis:
    """A fact that a rule rests on; ``tag``: the symbol by which it does, or empty."""

    fact: str
    provenance: Provenance
    tag: str = ""


@dataclass(frozen=True, slots=True)
class Dependence:
    """What one rule rests on.

    Attributes:
        rule, stage: which.
        bases: the facts, in the order of their declaration, those by tags last.
        may: the actions that it may have where it stands.
        because: why not the others, a sentence each.
    """

    rule: Rule
    stage: Stage
    bases: tuple[Basis, ...]
    may: tuple[Action, ...]
    because: tuple[str, ...]

    @property
    def provenances(self) -> tuple[Provenance, ...]:
        """Where all of it comes from."""
        return tuple(sorted({basis.provenance for basis in self.bases}))


def dependences(policy: CompiledPolicy) -> Iterator[Dependence]:
    """Every rule of ``policy``, in order."""
    world = policy.trial or policy.force
    given: dict[str, list[Basis]] = {}
    for stage in Stage:
        rules = world.stages[stage].rules
        for position, rule in enumerate(rules):
            bases = tuple(_bases(rule, world.scales, given))
            if rule.symbol is not None:
                known = given.setdefault(rule.symbol, [])
                known += [basis for basis in bases if basis not in known]
            yield Dependence(rule, stage, bases, *_may(rules, position))


def _bases(rule: Rule, scales: Scales, given: dict[str, list[Basis]]) -> Iterator[Basis]:
    """What ``rule`` rests on; ``given``: what each tag does that rules above give."""
    names = with_parts(rule.facts, scales)
    yield from (Basis(name, _provenance(rule, name)) for name in FACTS if name in names)
    for symbol in dict.fromkeys(tag.symbol for tag in tags_of(rule.condition)):
        found = {(basis.fact, basis.provenance) for basis in given[symbol]}
        yield from (Basis(fact, where, symbol) for fact, where in sorted(found))


def _provenance(rule: Rule, name: str) -> Provenance:
    """Where the fact comes from, as ``rule`` uses it: all that Received evidence can do to content is to hide it."""
    declared = FACTS[name].provenance
    if declared is not Provenance.RECEIVED:
        return declared
    found = [move.direction for move in moves(rule.condition, {}) if _is_fact(move.mention, name)]
    return Provenance.CONTENT if all(direction is Direction.FALLS for direction in found) else declared


def _is_fact(mention: object, name: str) -> bool:
    return isinstance(mention, FactRef) and mention.name == name


def _may(rules: Sequence[Rule], position: int) -> tuple[tuple[Action, ...], tuple[str, ...]]:
    """What the rule at ``position`` of its stage may do, and why no more."""
    rule = rules[position]
    above = next((other for other in rules[:position] if other.action in _PASSES and _falls(other)), None)
    below = next((other for other in rules[position + 1 :] if other.action.blocks), None)
    may, because = [*_PASSES, Action.TAG, *_BLOCKS], []
    if rule.direction & Direction.RISES:
        because.append("no reject or defer: Received headers can make it true")
    elif above is not None:
        because.append(f"no reject or defer: Received headers decide who gets past rule '{above.name}' above")
    if because:
        may = [action for action in may if action not in _BLOCKS]
    if _falls(rule) and below is not None:
        may = [action for action in may if action not in _PASSES]
        because.append(f"no accept or file: Received headers would decide who gets to rule '{below.name}' below")
    return tuple(may), tuple(because)


def _falls(rule: Rule) -> bool:
    return bool(rule.direction & Direction.FALLS)
