"""Rounds of one load, the servers in turn, and what each cost its server.

CPU time is user and system time of the server's process and all its descendants (proc(5), /proc/pid/stat), in steps of
a clock tick (10 ms): rounds are long enough for that to be a hundredth or two. A round whose work was not done to the
last message ends the run: there is no figure for a server that failed.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mailguard.lab.guardian import session_members
from tests.bench.generator import TIMEOUT, Job
from tests.bench.loads import Load
from tests.bench.subjects import Bench, SinkProcess, Subject

ROUNDS = 5
WARM_UP = 0.1
"""The share of a load that is done before the rounds that count."""


class RunFailed(Exception):
    """A server did not do its work."""


@dataclass
class Figures:
    """What one server made of one load.

    Attributes:
        rates: of each round, in the load's unit per second of server CPU time.
        peak: the most memory that it was resident in during these rounds, in octets.
    """

    rates: list[float] = field(default_factory=list)
    peak: int = 0

    @property
    def best(self) -> float:
        return max(self.rates)

    @property
    def median(self) -> float:
        return statistics.median(self.rates)


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


def measure(bench: Bench, load: Load, rounds: int = ROUNDS) -> list[Figures]:
    """``rounds`` rounds of ``load`` for mailguard and the peer in turn; for mailguard alone where it is so marked.

    Raises:
        RunFailed: a round was not done as it should.
    """
    subjects: Sequence[Subject] = [bench.names] if load.alone else [bench.mailguard, bench.peer]
    figures = [Figures() for _ in subjects]
    turns = iter(range(1_000_000))
    for subject in subjects:
        warm_up = load.scaled(WARM_UP)
        work(bench.sink, subject, warm_up, load.addresses(next(turns)))
        forget_peak(subject.process.pid)
    for number in range(rounds):
        order = list(zip(subjects, figures, strict=True))
        for subject, figure in order if number % 2 else reversed(order):  # neither always follows the other
            before = cpu_seconds(subject.process.pid)
            work(bench.sink, subject, load, load.addresses(next(turns)))
            figure.rates.append(load.amount / (cpu_seconds(subject.process.pid) - before))
            figure.peak = peak_memory(subject.process.pid)
    return figures


def work(sink: SinkProcess, subject: Subject, load: Load, addresses: list[str]) -> None:
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
