"""What a part of a soak found, for its report."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.soak.traffic import Attempt, Traffic


@dataclass
class Figures:
    """Lines of two columns."""

    lines: list[tuple[str, str]] = field(default_factory=list)

    def tell(self, what: str, figure: str) -> None:
        """Add a line."""
        self.lines.append((what, figure))

    def tell_rate(self, traffic: Traffic) -> None:
        """Messages a second, from the first to the last that was taken."""
        taken = [attempt.at for attempt in traffic.taken]
        seconds = max(taken) - min(taken)
        self.tell("load", f"{len(taken) / seconds:.0f} messages a second, for {seconds:.0f} s")


def durations(seconds: Sequence[float]) -> str:
    """Median and longest."""
    return f"median {statistics.median(seconds):.2f} s, longest {max(seconds):.2f} s"


def latency(attempts: Sequence[Attempt]) -> str:
    """Of messages, a connection each: from connecting to the last reply."""
    seconds = sorted(attempt.seconds * 1000 for attempt in attempts)
    nearly_all = seconds[int(len(seconds) * 0.95)]
    return f"median {statistics.median(seconds):.0f} ms, 95% within {nearly_all:.0f} ms, longest {seconds[-1]:.0f} ms"
