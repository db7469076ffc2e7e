"""Thresholds: where a condition compares a fact with a number of the policy's, by ``<``, ``<=``, ``>``, ``>=``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from mailguard.policy.expression import Comparison, Condition, Constant, FactRef, Literal, ProfileRef, nodes

_ORDERED: Final = ("<", "<=", ">", ">=")


@dataclass(frozen=True, slots=True)
class Limit:
    """A comparison of a fact with a number that the policy gives."""

    comparison: Comparison
    fact: FactRef
    number: Literal | ProfileRef

    def value(self, constants: Mapping[str, Constant]) -> float:
        """The number, in a profile that has ``constants``."""
        return float(constants[self.number.name] if isinstance(self.number, ProfileRef) else self.number.constant)


def limits(condition: Condition) -> Iterator[Limit]:
    """Every threshold in ``condition``, in order."""
    for node in nodes(condition):
        if isinstance(node, Comparison) and node.operator in _ORDERED:
            for fact, number in ((node.left, node.right), (node.right, node.left)):
                if isinstance(fact, FactRef) and isinstance(number, Literal | ProfileRef):
                    yield Limit(node, fact, number)
