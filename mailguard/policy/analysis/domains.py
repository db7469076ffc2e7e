"""What a fact can be at all: sums of weights within bounds, texts of which there are few, lists that there are."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from operator import add
from typing import Final

from mailguard.facts import FACTS, FactType
from mailguard.policy.analysis.clauses import Demand
from mailguard.policy.analysis.sets import Set, between, values
from mailguard.policy.expression import Condition, InTexts, Literal
from mailguard.policy.reading import Scales
from mailguard.policy.truth import ZERO, Range

SUMS: Final = ("dnsbl.score", "dnsbl.listed_by", "client.score")
"""Facts that the policy's own weights bound."""


def bounds(scales: Scales) -> dict[str, Range]:
    """The least and the greatest that each of :data:`SUMS` comes to."""
    score = reduce(add, (table.bounds for table in scales.lists), ZERO)
    weights = (Range(min(0.0, weight), max(0.0, weight), 0.0) for weight in scales.weights.values())
    listing = sum(table.bounds.high > 0 for table in scales.lists)
    return {
        "dnsbl.score": score,
        "dnsbl.listed_by": Range(0.0, float(listing), 0.0),
        "client.score": reduce(add, weights, score),
    }


def _slack(scales: Scales) -> float:
    """How far a sum may pass its bound: each addition rounds to six digits, and weights may have more."""
    weights = [*(listing.weight for table in scales.lists for listing in table.listings), *scales.weights.values()]
    return 0.0 if all(round(weight, 6) == weight for weight in weights) else 1e-6 * len(weights)


class Domains:
    """What facts can be, by how a policy weighs."""

    def __init__(self, scales: Scales) -> None:
        self._labels = {f"{table.zone.name}/{listing.label}" for table in scales.lists for listing in table.listings}
        self._zones = {table.zone.zone for table in scales.lists}
        slack = _slack(scales)
        self._sets: Mapping[object, Set] = _FEW | {
            name: between(found.low - slack, found.high + slack) for name, found in bounds(scales).items()
        }

    def of(self, demand: Demand) -> Set | None:
        """What the thing that is demanded can be; None where that may be anything."""
        if self._never_listed(demand.leaf):
            return values(False)
        return self._sets.get(demand.key)

    def _never_listed(self, leaf: Condition) -> bool:
        """Whether ``leaf`` asks for an answer or a zone that no list here gives."""
        if not isinstance(leaf, InTexts) or not isinstance(leaf.operand, Literal):
            return False
        known = {"dnsbl.labels": self._labels, "dnsbl.zones": self._zones}.get(leaf.texts.name)
        return known is not None and leaf.operand.constant not in known


_FEW: Final[dict[object, Set]] = {
    name: values(True, False) if spec.type is FactType.BOOLEAN else values(*spec.values)
    for name, spec in FACTS.items()
    if spec.type is FactType.BOOLEAN or spec.values
} | {"message.size": between(0.0, float("inf"))}
