"""What a filter adds to the time of a message that comes at half the rate that the server bears.

The rate is half of what the server reached in the rounds of the same run, by wall time; connections begin evenly, not
when others end, so a server that falls behind is seen to. From the latency the backend's own is subtracted: the same
load straight to the sink, at the same rate.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from tests.bench.loads import Load
from tests.bench.rounds import Figures, Row, RunFailed, one_round
from tests.bench.subjects import Subject
from tests.bench.world import Bench

SECONDS = 6.0
"""Of one server."""
LEAST = 60
"""Messages of one server: fewer have no p99 worth its name."""


@dataclass(frozen=True)
class Added:
    """In seconds; ``rate``: messages a second."""

    rate: float
    p50: float
    p99: float
    sink_p99: float
    void: str = ""


def half(load: Load, figures: Figures) -> Load:
    """``load`` for :data:`SECONDS` at half the rate of ``figures``."""
    rate = figures.wall / load.messages / 2
    return replace(load, name=f"{load.name}, half load", connections=max(LEAST, round(rate * SECONDS)), rate=rate)


def added(bench: Bench, load: Load, row: Row) -> dict[str, Added]:
    """Of every server that has figures in ``row``, the rounds of ``load`` at full speed."""
    found = {}
    for subject in bench.subjects(alone=False):
        figures = row[subject.name]
        if not figures.void:
            found[subject.name] = _added(bench, subject, half(load, figures))
    return found


def _added(bench: Bench, subject: Subject, load: Load) -> Added:
    through, straight = Figures(), Figures()
    addresses = load.addresses(0)
    sink = bench.sink
    try:
        one_round(sink, sink, load, addresses, straight)
        one_round(sink, subject, load, addresses, through)
    except RunFailed as error:
        return Added(load.rate, 0.0, 0.0, 0.0, void=str(error))
    p50, p99 = (through.latency(percent) - straight.latency(percent) for percent in (50, 99))
    return Added(load.rate * load.messages, p50, p99, straight.latency(99))
