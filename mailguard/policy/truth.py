"""Three values, and quantities in doubt: what a condition comes to when an answer is missing.

A :data:`Truth` is true, false, or None where it cannot be told; ``and``, ``or``, ``not`` follow Kleene's strong
tables. A number that an unknown answer may have moved is a :class:`Range`, a set of texts of that kind
:class:`Members`: a comparison is true only where it holds for every value that they may have. So "unknown" is never
taken for "clean" or for "listed" (architecture.md, "Doubt is for the sender").
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Final, TypeAlias

from mailguard.value import value

Truth: TypeAlias = bool | None


def negation(truth: Truth) -> Truth:
    """``not``."""
    return None if truth is None else not truth


def conjunction(truths: Iterable[Truth]) -> Truth:
    """``and`` of any number: false where one is false, else None where one is in doubt."""
    result: Truth = True
    for truth in truths:
        if truth is False:
            return False
        if truth is None:
            result = None
    return result


def disjunction(truths: Iterable[Truth]) -> Truth:
    """``or`` of any number: true where one is true, else None where one is in doubt."""
    result: Truth = False
    for truth in truths:
        if truth:
            return True
        if truth is None:
            result = None
    return result


@dataclass(frozen=True, slots=True)
class Range:
    """A number between ``low`` and ``high``, both included; ``settled`` is what it is where doubt weighs nothing."""

    low: float
    high: float
    settled: float

    @classmethod
    def exactly(cls, value: float) -> Range:
        """A number without doubt."""
        return cls(value, value, value)

    def less(self, other: Range) -> Truth:
        """Whether this is less than ``other``."""
        if self.high < other.low:
            return True
        return False if self.low >= other.high else None

    def at_least(self, other: Range) -> Truth:
        """Whether this is not less than ``other``."""
        if self.low >= other.high:
            return True
        return False if self.high < other.low else None

    def same(self, other: Range) -> Truth:
        """Whether this equals ``other``."""
        if self.high < other.low or other.high < self.low:
            return False
        return True if self.low == self.high == other.low == other.high else None

    def __add__(self, other: Range) -> Range:
        # Weights are decimal in the policy and binary here: without rounding 0.7 + 0.1 would miss a threshold of 0.8.
        return Range(
            round(self.low + other.low, 6), round(self.high + other.high, 6), round(self.settled + other.settled, 6)
        )

    def __str__(self) -> str:
        return f"{self.settled:g}" if self.low == self.high else f"{self.settled:g} ({self.low:g} to {self.high:g})"


@value(frozen=True, slots=True)
class Members:
    """A set of texts: ``certain`` ones, all ``possible`` ones, those there where doubt weighs nothing (``settled``)."""

    certain: frozenset[str] = frozenset()
    possible: frozenset[str] = frozenset()
    settled: frozenset[str] = frozenset()

    @classmethod
    def exactly(cls, texts: Iterable[str]) -> Members:
        """A set without doubt."""
        members = frozenset(texts)
        return cls(members, members, members)

    @property
    def doubtful(self) -> frozenset[str]:
        """Those that may be in it, or may not."""
        return (self.possible | self.settled) - self.certain

    def holds(self, text: str) -> Truth:
        """Whether ``text`` is in it."""
        if text in self.certain:
            return True
        return None if text in self.possible else False

    def __str__(self) -> str:
        return ",".join(sorted(self.settled))


ZERO: Final = Range.exactly(0.0)
EMPTY: Final = Members()

Value: TypeAlias = bool | str | Range | Members | IPv4Address | IPv6Address
"""What a fact can be in a condition; where there was no answer at all it is None instead."""


def settled(value: Value | None) -> Value | None:
    """``value`` with its doubt taken to weigh nothing."""
    if isinstance(value, Range):
        return Range.exactly(value.settled)
    return Members.exactly(value.settled) if isinstance(value, Members) else value
