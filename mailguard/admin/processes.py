"""Memory and processor time of each process of the service, read from /proc while somebody asks (proc(5)). Linux.

Who hangs cannot tell how it is, so it is read from outside, and there is nothing to take back of a process that is
gone. Which processes there are is what the supervisor last said: one that has ended since is left out, and so is a
stranger who got its number, for it has another parent.

Units: octets, seconds. What cannot be read is left out. Processes are told apart by role and slot, never by number: a
worker that takes the slot of a dead one goes on with its series, whose counter begins anew.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from typing_extensions import override

from mailguard.metrics import PROCESS_MEMORY, PROCESS_SECONDS

_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_TICK: Final = os.sysconf("SC_CLK_TCK")
_STATE, _PARENT, _USER, _SYSTEM, _RESIDENT = 0, 1, 11, 12, 21
"""Where a field of /proc/PID/stat stands behind the name, which is in brackets and may hold anything."""

Which: TypeAlias = tuple[str, str]
"""Role, and the slot of a worker."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What one process takes: processor time since it began, and resident memory, with what it shares with others."""

    parent: int
    seconds: float
    memory: int

    def __add__(self, other: Usage) -> Usage:
        """Of both."""
        return Usage(self.parent, self.seconds + other.seconds, self.memory + other.memory)


def usage(pid: int, proc: Path = Path("/proc")) -> Usage | None:
    """What the process ``pid`` takes; None where there is none, or no more than its exit status."""
    try:
        fields = (proc / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    if fields[_STATE] in "ZX":
        return None
    seconds = (int(fields[_USER]) + int(fields[_SYSTEM])) / _TICK
    return Usage(int(fields[_PARENT]), seconds, int(fields[_RESIDENT]) * _PAGE)


def usages(status: Mapping[str, Any], of: Callable[[int], Usage | None] = usage) -> dict[Which, Usage]:
    """What each process of ``status`` (``Supervisor.status``) takes, the supervisor's own included."""
    supervisor = status.get("pid")
    found: dict[Which, Usage] = {}
    if supervisor is not None and (own := of(supervisor)) is not None:
        found["supervisor", ""] = own
    for which, taken in _children(status.get("processes", ()), of):
        if taken.parent == supervisor:
            found[which] = found[which] + taken if which in found else taken
    return found


def _children(
    processes: Iterable[Mapping[str, Any]], of: Callable[[int], Usage | None]
) -> Iterator[tuple[Which, Usage]]:
    for each in processes:
        if (taken := of(each["pid"])) is not None:
            yield (str(each["role"]), "" if each["slot"] is None else str(each["slot"])), taken


class Processes(Collector):
    """The metrics of all processes in ``status()``."""

    def __init__(self, status: Callable[[], Mapping[str, Any]]) -> None:
        self._status = status

    @override
    def collect(self) -> Iterable[Metric]:
        memory = GaugeMetricFamily(PROCESS_MEMORY.name, PROCESS_MEMORY.help, labels=list(PROCESS_MEMORY.labels))
        seconds = CounterMetricFamily(PROCESS_SECONDS.name, PROCESS_SECONDS.help, labels=list(PROCESS_SECONDS.labels))
        for which, taken in usages(self._status()).items():
            memory.add_metric(which, taken.memory)
            seconds.add_metric(which, taken.seconds)
        return memory, seconds

    def describe(self) -> Iterable[Metric]:
        """Nothing: asking for names need not read anything."""
        return ()
