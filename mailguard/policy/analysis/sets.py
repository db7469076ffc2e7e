"""Sets of numbers and of plain values, as comparisons demand them: met, compared, found empty.

A set of numbers is made of intervals. Each ends in a *cut*: ``(5.0, 0)`` is just before 5, ``(5.0, 1)`` just behind it,
so that ``>= 5`` begins at the one, ``> 5`` at the other, and 5 alone lies between them: no end is ever open or closed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, TypeAlias

Cut: TypeAlias = tuple[float, int]
_START: Final[Cut] = (-math.inf, 0)
_END: Final[Cut] = (math.inf, 1)


@dataclass(frozen=True, slots=True)
class Numbers:
    """Numbers in intervals between cuts, which are in order and lie apart."""

    spans: tuple[tuple[Cut, Cut], ...]

    @property
    def empty(self) -> bool:
        """Whether no number is in it."""
        return not self.spans

    def meet(self, other: Numbers) -> Numbers:
        """The numbers that are in both."""
        found = ((max(a, c), min(b, d)) for a, b in self.spans for c, d in other.spans)
        return Numbers(tuple(sorted((low, high) for low, high in found if low < high)))

    @property
    def others(self) -> Numbers:
        """All numbers that are not in it."""
        lows = (_START, *(high for _, high in self.spans))
        highs = (*(low for low, _ in self.spans), _END)
        return Numbers(tuple((low, high) for low, high in zip(lows, highs, strict=True) if low < high))


def between(low: float, high: float) -> Numbers:
    """``low`` to ``high``, both included."""
    return Numbers((((low, 0), (high, 1)),))


def points(numbers: Iterable[float]) -> Numbers:
    """These alone."""
    return Numbers(tuple(((n, 0), (n, 1)) for n in sorted(set(numbers))))


def compared(operator: str, limit: float) -> Numbers:
    """The numbers that stand so to ``limit``, by an operator of the language."""
    if operator in ("<", "<="):
        return Numbers(((_START, (limit, int(operator == "<="))),))
    if operator in (">", ">="):
        return Numbers((((limit, int(operator == ">")), _END),))
    return points([limit]) if operator == "==" else points([limit]).others


@dataclass(frozen=True, slots=True)
class Values:
    """Texts, or true and false: ``members`` alone, or, where ``rest`` is set, all but them."""

    members: frozenset[object]
    rest: bool = False

    @property
    def empty(self) -> bool:
        """Whether no value is in it."""
        return not self.members and not self.rest

    def meet(self, other: Values) -> Values:
        """The values that are in both."""
        if self.rest and other.rest:
            return Values(self.members | other.members, True)
        if self.rest or other.rest:
            some, not_these = (other, self) if self.rest else (self, other)
            return Values(some.members - not_these.members)
        return Values(self.members & other.members)

    @property
    def others(self) -> Values:
        """All values that are not in it."""
        return Values(self.members, not self.rest)


Set: TypeAlias = Numbers | Values


def values(*members: object) -> Values:
    """These alone."""
    return Values(frozenset(members))


def meet(one: Set, other: Set) -> Set:
    """What is in both, which are of one kind."""
    if isinstance(one, Numbers) and isinstance(other, Numbers):
        return one.meet(other)
    if isinstance(one, Values) and isinstance(other, Values):
        return one.meet(other)
    raise TypeError("numbers and values have nothing to do with one another")


def within(one: Set, other: Set) -> bool:
    """Whether all of ``one`` is in ``other``, which is of its kind."""
    return meet(one, other) == one
