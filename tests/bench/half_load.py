"""What a filter adds to the time of a message that comes at half the rate that the server bears.

The rate is half of what the server reached in the rounds of the same run, by wall time; connections begin evenly, not
when others end, but for the bound of ``Load.at_once``: who falls behind by more has them begin late. From the latency
the backend's own is subtracted: the same load straight to the sink, at the same rate.

The one message in a hundred that takes longest is one that met another's work, and a moment in which something else
has the processor, be it a neighbour of the machine, is told by nothing else so loudly: the p99 of one run of six
seconds came to 12 ms and to 35 for the same server. So there are rounds, the servers in turn, of which the median and
the range are told, the backend's own subtracted as its median: else a bad moment of the sink made a server look good.
The memory of processes is not sampled meanwhile (``rounds.Sampler``): that takes 5 ms of a core, ten times a second.

Units: seconds, and messages a second.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from statistics import median

from tests.bench.loads import Load
from tests.bench.rounds import ROUNDS, Row, RunFailed, percentile, work
from tests.bench.rounds import Figures as Reached
from tests.bench.subjects import Subject
from tests.bench.world import Bench

SECONDS = 2.5
"""Of one server in one round."""
SINK_SECONDS = 1.0
"""Of the backend alone."""
LEAST = 60
"""Messages at the least: fewer have no p99 worth its name."""


@dataclass
class Latency:
    """The latencies of each round, in seconds."""

    p50s: list[float] = field(default_factory=list)
    p99s: list[float] = field(default_factory=list)

    def saw(self, latencies: Sequence[float]) -> None:
        """One more round."""
        self.p50s.append(percentile(latencies, 50))
        self.p99s.append(percentile(latencies, 99))


@dataclass
class Added:
    """What was seen of one server.

    Attributes:
        rate: messages a second.
        through: the server, and the backend behind it.
        straight: the backend alone.
        void: why there are no figures; else empty.
    """

    rate: float
    through: Latency = field(default_factory=Latency)
    straight: Latency = field(default_factory=Latency)
    void: str = ""

    @property
    def p50(self) -> float:
        """What the server adds to the median latency, by the medians of the rounds."""
        return median(self.through.p50s) - median(self.straight.p50s)

    @property
    def p99s(self) -> list[float]:
        """What it adds to the p99 in each round, the least first."""
        return sorted(p99 - self.sink_p99 for p99 in self.through.p99s)

    @property
    def sink_p99(self) -> float:
        """The backend's own p99, the median of its rounds."""
        return median(self.straight.p99s)


def half(load: Load, reached: Reached, seconds: float = SECONDS) -> Load:
    """``load`` for so many ``seconds`` at half the rate that a server ``reached``."""
    rate = reached.wall / load.messages / 2
    return replace(load, name=f"{load.name}, half load", connections=max(LEAST, round(rate * seconds)), rate=rate)


def added(bench: Bench, load: Load, row: Row, rounds: int = ROUNDS) -> dict[str, Added]:
    """Of every server that has figures in ``row``, the rounds of ``load`` at full speed; the servers in turn."""
    subjects = [subject for subject in bench.subjects(alone=False) if not row[subject.name].void]
    found = {subject.name: Added(half(load, row[subject.name]).rate * load.messages) for subject in subjects}
    for number in range(rounds):
        first = number % max(1, len(subjects))
        for subject in subjects[first:] + subjects[:first]:  # none always follows the same other
            if not found[subject.name].void:
                _round(bench, subject, load, row[subject.name], found[subject.name])
    return found


def _round(bench: Bench, subject: Subject, load: Load, reached: Reached, seen: Added) -> None:
    addresses = load.addresses(0)
    try:
        seen.straight.saw(work(bench.sink, bench.sink, half(load, reached, SINK_SECONDS), addresses).latencies)
        seen.through.saw(work(bench.sink, subject, half(load, reached), addresses).latencies)
    except RunFailed as error:
        seen.void = str(error)
