"""prometheus_client's counters, gauges and histograms, for what is counted dozens of times a message.

They are the same but for how much they call: a child that was bound before is one look into a dictionary, to count is
to add to a number without a call, and the bucket of what was observed is found by bisection. prometheus_client's own
are the oracle of their tests.

Threads count too, and need no lock for it: CPython changes from one to another where something is called or a loop goes
back, and to add to a number does neither. A test has threads count the same.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import Any, Final, Self, TypeAlias

import prometheus_client
from prometheus_client import values

Cells: TypeAlias = "list[float] | memoryview[float]"
"""A number, and when it was set where that matters: of this process alone, or in memory that others read."""


class Value:
    """What prometheus_client has behind each series: see ``prometheus_client.values``.

    Attributes:
        cells: the number itself, for who counts.
    """

    __slots__ = ("cells",)

    def __init__(self, cells: Cells) -> None:
        self.cells: Final = cells

    def inc(self, amount: float) -> None:
        """Add ``amount``."""
        self.cells[0] += amount

    def set(self, value: float, timestamp: float | None = None) -> None:
        """``timestamp``: when, for gauges of which the latest counts."""
        self.cells[0] = value
        self.cells[1] = timestamp or 0.0

    def get(self) -> float:
        """The number."""
        return self.cells[0]

    def get_exemplar(self) -> None:
        """None: they are not kept."""


def _of_this_process(*_: object, **__: object) -> Value:
    return Value([0.0, 0.0])


values.ValueClass = _of_this_process  # until mailguard.metric_store puts its own there


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
    """A counter.

    Attributes:
        cells: its number, for who counts one more of it often.
    """

    cells: Cells

    def _metric_init(self) -> None:
        super()._metric_init()
        self.cells = self._value.cells

    def inc(self, amount: float = 1, exemplar: dict[str, str] | None = None) -> None:
        """Count ``amount`` more.

        Raises:
            ValueError: it is negative.
        """
        if amount < 0:
            raise ValueError("a counter only grows")
        self.cells[0] += amount


class Gauge(prometheus_client.Gauge):
    """A gauge."""

    def _metric_init(self) -> None:
        super()._metric_init()
        self._cells: Cells = self._value.cells

    def inc(self, amount: float = 1) -> None:
        """``amount`` more."""
        self._cells[0] += amount

    def dec(self, amount: float = 1) -> None:
        """``amount`` less."""
        self._cells[0] -= amount


class Histogram(_Bound, prometheus_client.Histogram):
    """A histogram."""

    _cells: Cells
    _cells_of_buckets: list[Cells]

    def _metric_init(self) -> None:
        super()._metric_init()
        self._cells = self._sum.cells
        self._cells_of_buckets = [value.cells for value in self._buckets]

    def observe(self, amount: float, exemplar: dict[str, str] | None = None) -> None:
        """Count ``amount`` in its bucket, and add it to the sum."""
        self._cells[0] += amount
        self._cells_of_buckets[bisect_left(self._upper_bounds, amount)][0] += 1

    def bucket(self, amount: float) -> Cells:
        """The number that :meth:`observe` adds one to; where ``amount`` is 0 it does nothing else."""
        return self._cells_of_buckets[bisect_left(self._upper_bounds, amount)]
