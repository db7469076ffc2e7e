"""Rounds of one load, the servers in turn, and what each cost its server.

CPU time is user and system time of the server's process and all its descendants (proc(5), /proc/pid/stat), in steps of
a clock tick (10 ms): rounds are long enough for that to be a hundredth or two. It is read a moment after the work, so
that what is written or reaped behind it counts. A server that did not do a round's work to the last message has no
figure for that load: its row is void.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Self

from mailguard.lab.guardian import session_members
from tests.bench.generator import TIMEOUT, Job, Seen
from tests.bench.loads import Load
from tests.bench.subjects import SinkProcess, Subject
from tests.bench.world import Bench

ROUNDS = 5
WARM_UP = 0.1
"""The share of a load that is done before the rounds that count."""
ROUND_SECONDS = 0.8
"""CPU time of one round, about: so that the slow do not take all the time, and clock ticks do not count."""
SETTLED = 0.2
SAMPLE_INTERVAL = 0.1


class RunFailed(Exception):
    """A server did not do its work."""


@dataclass
class Figures:
    """What one server made of one load.

    Attributes:
        rates: of each round, in the load's unit per second of server CPU time.
        walls: of each round, in the load's unit per second.
        latencies: of every refusal or message, in seconds.
        peak: the most memory that its processes had together in these rounds (PSS, sampled), in octets.
        void: why there are no figures; else empty.
    """

    rates: list[float] = field(default_factory=list)
    walls: list[float] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)
    peak: int = 0
    void: str = ""

    @property
    def best(self) -> float:
        return max(self.rates)

    @property
    def median(self) -> float:
        return statistics.median(self.rates)

    @property
    def wall(self) -> float:
        return statistics.median(self.walls)

    def latency(self, percent: int) -> float:
        """The latency that so many of a hundred stay below, in seconds."""
        return percentile(self.latencies, percent)


def percentile(latencies: Sequence[float], percent: int) -> float:
    """The one of ``latencies`` that so many of a hundred stay below."""
    return sorted(latencies)[min(len(latencies) - 1, len(latencies) * percent // 100)]


Row = dict[str, Figures]
"""The figures of one load, by the server's name."""


def cpu_seconds(session: int) -> float:
    """User and system time of all processes of ``session``, and of those children that they have waited for."""
    ticks = sum(int(ticks) for pid in session_members(session) for ticks in _stat(pid)[11:15])
    return ticks / os.sysconf("SC_CLK_TCK")


def _stat(pid: int) -> list[str]:
    """The fields of /proc/pid/stat behind the name: the first is the third of proc(5)."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def peak_memory(session: int) -> int:
    """The high-water marks of resident memory (VmHWM) of all processes of ``session``, in octets."""
    total = 0
    for pid in session_members(session):
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        total += sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))
    return total


def forget_peak(session: int) -> None:
    """Let :func:`peak_memory` begin anew (proc(5), /proc/pid/clear_refs)."""
    for pid in session_members(session):
        Path(f"/proc/{pid}/clear_refs").write_text("5")


def shared_memory(session: int) -> int:
    """The memory of all processes of ``session``, what several share counted once (PSS), in octets."""
    total = 0
    for pid in session_members(session):
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue  # it ended while we looked
        total += sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
    return total


class Sampler:
    """Takes the memory of a session from time to time, in a thread, within ``with``; ``peak`` is the most of it."""

    def __init__(self, session: int) -> None:
        self.peak = 0
        self._session = session
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _run(self) -> None:
        while True:
            self.peak = max(self.peak, shared_memory(self._session))
            if self._end.wait(SAMPLE_INTERVAL):
                return


def measure(bench: Bench, load: Load, rounds: int = ROUNDS) -> Row:
    """``rounds`` rounds of ``load`` for all servers in turn; for mailguard alone where it is so marked."""
    subjects = bench.subjects(alone=load.alone)
    row = {subject.name: Figures() for subject in subjects}
    turns = count()
    sizes: dict[str, Load] = {}
    for subject in subjects:
        warm_up = Figures()
        _try(bench, subject, load.scaled(WARM_UP), next(turns), warm_up, row[subject.name])
        sizes[subject.name] = load if row[subject.name].void else enough(load, warm_up)
    for subject in subjects:  # a whole round that does not count: V8 takes some hundred messages to become fast
        if not row[subject.name].void:
            _try(bench, subject, sizes[subject.name], next(turns), Figures(), row[subject.name])
    for number in range(rounds):
        first = number % len(subjects)
        for subject in subjects[first:] + subjects[:first]:  # none always follows the same other
            figures = row[subject.name]
            if not figures.void:
                _try(bench, subject, sizes[subject.name], next(turns), figures, figures)
    return row


def enough(load: Load, warm_up: Figures) -> Load:
    """So much of ``load`` as costs a server about :data:`ROUND_SECONDS`, going by its ``warm_up``; at the most all."""
    return load.scaled(min(1.0, ROUND_SECONDS * warm_up.median / load.amount))


def _try(bench: Bench, subject: Subject, load: Load, turn: int, figures: Figures, blamed: Figures) -> None:
    """One round into ``figures``; where it fails ``blamed`` is void."""
    try:
        one_round(bench.sink, subject, load, load.addresses(turn), figures)
    except RunFailed as error:
        blamed.void = str(error)


def one_round(sink: SinkProcess, subject: Subject, load: Load, addresses: list[str], figures: Figures) -> None:
    """Do ``load`` once and add what it took to ``figures``.

    Raises:
        RunFailed: see :func:`work`.
    """
    session = subject.process.pid
    before = cpu_seconds(session)
    with Sampler(session) as memory:
        seen = work(sink, subject, load, addresses)
    time.sleep(SETTLED)
    figures.rates.append(load.amount / max(cpu_seconds(session) - before, 1 / os.sysconf("SC_CLK_TCK")))
    figures.walls.append(load.amount / seen.seconds)
    figures.latencies += seen.latencies
    figures.peak = max(figures.peak, memory.peak)


def work(sink: SinkProcess, subject: Subject, load: Load, addresses: list[str]) -> Seen:
    """Do ``load`` once, and look whether the sink has it.

    Raises:
        RunFailed: a message was not taken, or did not arrive.
    """
    messages, octets = sink.taken()
    job = Job(load, subject.port, addresses, subject.proxied)
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.generator"],
        input=job.to_json(),
        capture_output=True,
        text=True,
        timeout=TIMEOUT + 10,
        check=False,
    )
    if done.returncode:
        raise RunFailed(f"{load.name}, {subject.name}: {done.stderr.strip()}\n{subject.process.log_tail()}")
    messages, octets = sink.taken()[0] - messages, sink.taken()[1] - octets
    wanted = 0 if load.refused else load.work
    if messages != wanted or octets < wanted * load.octets:
        raise RunFailed(f"{load.name}, {subject.name}: {messages} of {wanted} messages, {octets} octets arrived")
    return Seen(**json.loads(done.stdout))
