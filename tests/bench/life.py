"""What mailguard takes beside mail: to start, to reload, idle, an idle connection, and what a second worker brings."""

from __future__ import annotations

import compileall
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import mailguard as package
from mailguard.lab.guardian import session_members
from tests.bench.idle import COUNT, of_one_connection
from tests.bench.loads import CLEAN, LOADS, Load
from tests.bench.quota import NoQuota, limited
from tests.bench.rounds import Figures, RunFailed, cpu_seconds, one_round, shared_memory
from tests.bench.subjects import ONE_POOLED, ONE_WORKER, POOLED, Mailguard
from tests.bench.world import Bench
from tests.support.control import asked

STARTS = 5
RELOADS = 5
RELOAD_TIMEOUT = 60.0
IDLE_SECONDS = 20.0
PAIRS = 3
SETTLED = 2.0
SHARE = 0.2
"""Of a core, for a worker; what both take then is less than half of what two cores have."""
_ONE, _TWENTY = (next(load for load in LOADS if not load.refused and load.messages == many) for many in (1, 20))


@dataclass(frozen=True)
class Life:
    """Attributes:
    start: from the command to the first greeting, of each start, in seconds of time.
    start_cpu: CPU time that all processes have used by then, of each start, in seconds.
    idle_cpu: CPU seconds a second of a mailguard without clients.
    memory: of all its processes, idle, what they share counted once, in octets.
    connection: of an idle one, in octets.
    second_worker: work by two workers to work by one, of each pair of rounds: a second of time, a second of CPU.
    apart: the same a second of time where each worker has :data:`SHARE` of a core at the most; empty where that
        cannot be had.
    reload: of settings and policy, until they are in force: seconds of time, and of CPU of all processes.
    renewal: the same of one that makes new workers.
    """

    start: list[float]
    start_cpu: list[float]
    idle_cpu: float
    memory: int
    connection: float
    second_worker: list[tuple[float, float]]
    apart: list[float]
    reload: list[tuple[float, float]]
    renewal: list[tuple[float, float]]


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
    by_time, by_cpu = [s for s, _ in starts], [cpu for _, cpu in starts]
    reloads, renewals = ([_reload(mailguard, everything=all_) for _ in range(RELOADS)] for all_ in (False, True))
    second, apart = _second_worker(bench), _apart(bench)
    return Life(by_time, by_cpu, idle, memory, connection, second, apart, reloads, renewals)


def _compile() -> None:
    """Compile the package, as who installs it does: else each process of each start does, of what was just changed."""
    compileall.compile_dir(Path(package.__file__).parent, quiet=1)


def _start(mailguard: Mailguard) -> tuple[float, float]:
    """Stop and start it; the lab asks every 20 ms whether it answers."""
    mailguard.stop()
    began = time.perf_counter()
    mailguard.start()
    return time.perf_counter() - began, cpu_seconds(mailguard.process.pid)


def _reload(mailguard: Mailguard, *, everything: bool) -> tuple[float, float]:
    """Reload; of the CPU time, what is used until a little after it was told to be done."""
    began, before = time.perf_counter(), cpu_seconds(mailguard.process.pid)
    answer = asked(mailguard.run_dir, RELOAD_TIMEOUT, command="reload", all=everything)
    took = time.perf_counter() - began
    if answer["status"]:
        raise RunFailed(f"a reload was refused: {answer}")
    time.sleep(SETTLED)
    return took, cpu_seconds(mailguard.process.pid) - before


def _second_worker(bench: Bench) -> list[tuple[float, float]]:
    return _pairs(bench, _TWENTY.scaled(0.15))


def _apart(bench: Bench) -> list[float]:
    """Two workers by one, each with so little of a core that nothing else is short of time."""
    load = _ONE.scaled(0.4)  # many connections, of which the kernel gives each worker about the half
    workers = [pid for shape in (ONE_POOLED, POOLED) for pid in _workers(bench.mailguard(shape))]
    try:
        with limited(workers, SHARE):
            return [by_time for by_time, _ in _pairs(bench, load)]
    except NoQuota as error:
        print(f"bench: workers are not limited: {error}", file=sys.stderr)
        return []


def _workers(mailguard: Mailguard) -> list[int]:
    pids = session_members(mailguard.process.pid)
    return [pid for pid in pids if b"\0worker\0" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def _pairs(bench: Bench, load: Load) -> list[tuple[float, float]]:
    """What two workers do of ``load`` by what one does, of each pair of rounds: a second of time, a second of CPU."""
    one, two = bench.mailguard(ONE_POOLED), bench.mailguard(POOLED)
    return [_pair(bench, load, one, two) for _ in range(PAIRS)]


def _pair(bench: Bench, load: Load, one: Mailguard, two: Mailguard) -> tuple[float, float]:
    figures = Figures()
    for mailguard in (one, two):
        one_round(bench.sink, mailguard, load, load.addresses(0), figures)
    return figures.walls[1] / figures.walls[0], figures.rates[1] / figures.rates[0]
