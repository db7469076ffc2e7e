"""Whose turn it is: backends of one priority share the mail by their weights; pure.

Smooth weighted round robin: at each turn everybody who takes part gains its weight, who then has most goes first and
pays what all gained. So weights 3 and 1 give a a b a, and not a a a b; who does not take part for a while (its breaker
is open) owes and gains nothing for that time. Deterministic: no random numbers, and over n turns nobody is more than
one turn away from its share.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby
from typing import Generic, TypeVar

T = TypeVar("T")


class Turns(Generic[T]):
    """``members`` with the priority, lower first, and the weight of each."""

    def __init__(self, members: Iterable[tuple[T, int, int]]) -> None:
        ranked = sorted(members, key=lambda member: member[1])
        groups = [list(group) for _, group in groupby(ranked, key=lambda member: member[1])]
        self._groups = [_Group({member: weight for member, _, weight in group}) for group in groups]
        self._all = [member for group in self._groups for member in group.members]

    def order(self, takes_part: Callable[[T], bool]) -> list[T]:
        """All members in the order in which they are to be asked now; those that take no part come last."""
        if len(self._all) == 1:
            return self._all
        asked = [member for group in self._groups for member in group.order(takes_part)]
        return asked + [member for member in self._all if member not in asked]


class _Group(Generic[T]):
    """Members of one priority."""

    def __init__(self, weights: Mapping[T, int]) -> None:
        self._weights = weights
        self._credit = dict.fromkeys(weights, 0)

    @property
    def members(self) -> Sequence[T]:
        return list(self._weights)

    def order(self, takes_part: Callable[[T], bool]) -> list[T]:
        live = [member for member in self._weights if takes_part(member)]
        if len(live) < 2:
            return live
        for member in live:
            self._credit[member] += self._weights[member]
        live.sort(key=self._credit.__getitem__, reverse=True)
        self._credit[live[0]] -= sum(self._weights[member] for member in live)
        return live
