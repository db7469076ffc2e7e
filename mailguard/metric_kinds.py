"""prometheus_client's counters and histograms, for what is counted dozens of times a message.

They are the same but for how much they call: a child that was bound before is one look into a dictionary, to count is
one call of the value behind it, and the bucket of what was observed is found by bisection. prometheus_client's own are
the oracle of their tests.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import Any, Self

import prometheus_client


class _Bound:
    """A metric that finds the child of labels it has seen without making texts of them."""

    _metrics: dict[Any, Any]

    def labels(self, *values: object, **named: object) -> Self:
        """The child of these labels; always the same one, which may be kept.

        Raises:
            ValueError: they are not this metric's.
        """
        try:
            child: Self = self._metrics[values]
        except (AttributeError, KeyError):  # the former: a metric without labels
            child = super().labels(*values, **named)  # type: ignore[misc]
        return child


class Counter(_Bound, prometheus_client.Counter):
    """A counter."""

    def inc(self, amount: float = 1, exemplar: dict[str, str] | None = None) -> None:
        """Count ``amount`` more.

        Raises:
            ValueError: it is negative.
        """
        if amount < 0:
            raise ValueError("a counter only grows")
        self._value.inc(amount)


class Histogram(_Bound, prometheus_client.Histogram):
    """A histogram."""

    def observe(self, amount: float, exemplar: dict[str, str] | None = None) -> None:
        """Count ``amount`` in its bucket, and add it to the sum."""
        self._sum.inc(amount)
        self._buckets[bisect_left(self._upper_bounds, amount)].inc(1)
