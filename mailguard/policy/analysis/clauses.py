"""A condition as alternatives, each a list of demands on single facts: its disjunctive normal form.

``not`` is moved inwards, ``and`` distributed over ``or``. Kleene's three values keep these laws, so a condition is true
exactly where every demand of one alternative is true, missing answers or not. A demand is true where the fact is known
and in a set, and for a number in doubt where all that it may be is in it.

What is no comparison of a fact with constants (a look into a list, a function, two facts compared) is a demand on
itself: two that read alike are one, and nothing else is known of it.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from functools import reduce
from itertools import product
from typing import Final, TypeAlias

from mailguard.caseless import lowered
from mailguard.facts import FACTS, FactType, Stage
from mailguard.policy.analysis.sets import Numbers, Set, Values, compared, meet, points, values
from mailguard.policy.expression import (
    And,
    Comparison,
    Condition,
    Constant,
    FactRef,
    Holds,
    Literal,
    Not,
    OneOf,
    Or,
    ProfileRef,
    View,
    facts_of,
    tags_of,
)
from mailguard.policy.lists import AddressList
from mailguard.policy.truth import Value

MAX_CLAUSES: Final = 64
"""Alternatives of a condition; one that has more is not analysed."""
DOUBTFUL: Final = frozenset(
    name
    for name, spec in FACTS.items()
    if spec.stage is Stage.ENVELOPE and spec.type in (FactType.NUMBER, FactType.TEXTS)
)
"""Facts that may be known in part: sums over lists, some of which did not answer."""
_MIRRORED: Final = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}


@dataclass(frozen=True, slots=True)
class Demand:
    """That a fact is in a set.

    Attributes:
        key: of what is demanded: a fact, or a comparison that stands for itself.
        allowed: the set.
        leaf: the comparison that demands it.
        wanted: whether the comparison shall be true or false.
    """

    key: Hashable
    allowed: Set
    leaf: Condition
    wanted: bool

    @property
    def doubtful(self) -> bool:
        """Whether it may be known in part, so that doubt counts by the action of the rule."""
        return any(True for _ in tags_of(self.leaf)) or any(f.name in DOUBTFUL for f in facts_of(self.leaf))


Clause: TypeAlias = tuple[Demand, ...]
"""One alternative: all of its demands are true."""


class TooMany(ValueError):
    """A condition has more than :data:`MAX_CLAUSES` alternatives."""


def clauses(condition: Condition, constants: Mapping[str, Constant]) -> list[Clause]:
    """The alternatives by which ``condition`` is true, in a profile that has ``constants``; none where it never is.

    Raises:
        TooMany: they are too many.
    """
    return _clauses(condition, True, constants)


def _clauses(condition: Condition, wanted: bool, constants: Mapping[str, Constant]) -> list[Clause]:
    if isinstance(condition, Not):
        return _clauses(condition.inner, not wanted, constants)
    if isinstance(condition, And | Or):
        parts = [_clauses(part, wanted, constants) for part in condition.inner]
        return reduce(_both if isinstance(condition, And) is wanted else _either, parts)
    demand = _demand(condition, wanted, constants)
    if isinstance(demand, bool):
        return [()] if demand else []
    return [(demand,)]


def _both(one: list[Clause], other: list[Clause]) -> list[Clause]:
    _count(len(one) * len(other))
    return [(*a, *b) for a, b in product(one, other)]


def _either(one: list[Clause], other: list[Clause]) -> list[Clause]:
    _count(len(one) + len(other))
    return one + other


def _count(number: int) -> None:
    if number > MAX_CLAUSES:
        raise TooMany(f"{number} alternatives")


def _demand(leaf: Condition, wanted: bool, constants: Mapping[str, Constant]) -> Demand | bool:
    """What ``leaf`` demands; a truth where it looks at nothing but constants."""
    if not any(True for _ in facts_of(leaf)) and not any(True for _ in tags_of(leaf)):
        return leaf.evaluate(View(_NoFacts(), constants)) is wanted
    key, allowed = _of_fact(leaf, constants) or (_structure(leaf), values(True))
    return Demand(key, allowed if wanted else allowed.others, leaf, wanted)


class _NoFacts:
    """For what asks no facts."""

    def __getitem__(self, name: str, /) -> Value | None:
        """None: there are none."""
        return None


def _of_fact(leaf: Condition, constants: Mapping[str, Constant]) -> tuple[Hashable, Set] | None:
    """The fact that ``leaf`` compares with constants, and where it is true; None where it is something else."""
    if isinstance(leaf, Holds) and isinstance(leaf.operand, FactRef):
        return leaf.operand.name, values(True)
    if isinstance(leaf, OneOf) and isinstance(leaf.operand, FactRef):
        return leaf.operand.name, _one_of([item.constant for item in leaf.items], leaf.fold)
    if isinstance(leaf, Comparison):
        for fact, operator, other in (
            (leaf.left, leaf.operator, leaf.right),
            (leaf.right, _MIRRORED.get(leaf.operator, leaf.operator), leaf.left),
        ):
            if isinstance(fact, FactRef) and isinstance(other, Literal | ProfileRef):
                return fact.name, _compared(operator, _constant(other, constants), leaf.fold)
    return None


def _constant(operand: Literal | ProfileRef, constants: Mapping[str, Constant]) -> Constant:
    return operand.constant if isinstance(operand, Literal) else constants[operand.name]


def _one_of(items: list[Constant], fold: bool) -> Set:
    if all(isinstance(item, int | float) and not isinstance(item, bool) for item in items):
        return points(float(item) for item in items)
    return values(*(_folded(item, fold) for item in items))


def _compared(operator: str, constant: Constant, fold: bool) -> Numbers | Values:
    if isinstance(constant, bool | str):
        same = values(_folded(constant, fold))
        return same if operator == "==" else same.others
    return compared(operator, float(constant))


def _folded(constant: Constant, fold: bool) -> Constant:
    return lowered(constant) if fold and isinstance(constant, str) else constant


def _structure(node: object) -> Hashable:
    """What two nodes that read alike have in common: all of them but where they stand."""
    if isinstance(node, AddressList):
        return id(node)  # hundreds of thousands of entries; every list of the policy is there once
    if isinstance(node, tuple):
        return tuple(_structure(part) for part in node)
    if not is_dataclass(node) or isinstance(node, type):
        return node
    parts = (_structure(getattr(node, f.name)) for f in fields(node) if f.compare and not f.name.endswith("span"))
    return type(node).__name__, *parts


def by_key(clause: Clause) -> Iterator[tuple[Hashable, list[Demand]]]:
    """The demands of a clause, those on one thing together."""
    found: dict[Hashable, list[Demand]] = {}
    for demand in clause:
        found.setdefault(demand.key, []).append(demand)
    return iter(found.items())


def met(demands: list[Demand], domain: Set | None = None) -> Set:
    """What satisfies all of ``demands``, which are on one thing, of what it can be at all."""
    sets = [*([domain] if domain is not None else []), *(demand.allowed for demand in demands)]
    return reduce(meet, sets)
