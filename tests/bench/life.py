"""What mailguard takes beside mail: to start, when idle, an idle connection, and what a second worker brings."""

from __future__ import annotations

import compileall
import time
from dataclasses import dataclass
from pathlib import Path

import mailguard as package
from tests.bench.idle import COUNT, of_one_connection
from tests.bench.loads import CLEAN, LOADS, Load
from tests.bench.rounds import Figures, cpu_seconds, one_round, shared_memory
from tests.bench.subjects import ONE_POOLED, ONE_WORKER, POOLED, Mailguard
from tests.bench.world import Bench

STARTS = 5
IDLE_SECONDS = 20.0
PAIRS = 3
SETTLED = 2.0


@dataclass(frozen=True)
class Life:
    """Attributes:
    start: from the command to the first greeting, of each start, in seconds of time.
    start_cpu: CPU time that all processes have used by then, of each start, in seconds.
    idle_cpu: CPU seconds a second of a mailguard without clients.
    memory: of all its processes, idle, what they share counted once, in octets.
    connection: of an idle one, in octets.
    second_worker: work by two workers to work by one, of each pair of rounds: a second of time, a second of CPU.
    """

    start: list[float]
    start_cpu: list[float]
    idle_cpu: float
    memory: int
    connection: float
    second_worker: list[tuple[float, float]]


def life(bench: Bench) -> Life:
    """Measure all of it.

    Raises:
        RunFailed: messages were not taken.
    """
    _compile()
    mailguard = bench.mailguard(POOLED)
    starts = [_start(mailguard) for _ in range(STARTS)]
    time.sleep(SETTLED)
    before = cpu_seconds(mailguard.process.pid)
    time.sleep(IDLE_SECONDS)
    idle = (cpu_seconds(mailguard.process.pid) - before) / IDLE_SECONDS
    memory = shared_memory(mailguard.process.pid)
    clients = [str(CLEAN[256 + number]) for number in range(COUNT)]
    connection = of_one_connection(bench.mailguard(ONE_WORKER), clients)
    return Life([s for s, _ in starts], [cpu for _, cpu in starts], idle, memory, connection, _second_worker(bench))


def _compile() -> None:
    """Compile the package, as who installs it does: else each process of each start does, of what was just changed."""
    compileall.compile_dir(Path(package.__file__).parent, quiet=1)


def _start(mailguard: Mailguard) -> tuple[float, float]:
    """Stop and start it; the lab asks every 20 ms whether it answers."""
    mailguard.stop()
    began = time.perf_counter()
    mailguard.start()
    return time.perf_counter() - began, cpu_seconds(mailguard.process.pid)


def _second_worker(bench: Bench) -> list[tuple[float, float]]:
    load = next(load for load in LOADS if load.messages > 1)
    one, two = bench.mailguard(ONE_POOLED), bench.mailguard(POOLED)
    return [_pair(bench, load.scaled(0.15), one, two) for _ in range(PAIRS)]


def _pair(bench: Bench, load: Load, one: Mailguard, two: Mailguard) -> tuple[float, float]:
    figures = Figures()
    for mailguard in (one, two):
        one_round(bench.sink, mailguard, load, load.addresses(0), figures)
    return figures.walls[1] / figures.walls[0], figures.rates[1] / figures.rates[0]
