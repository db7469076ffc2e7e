"""The metrics of several processes as one: a few files a process that others read, and one exposition of them all.

Each process that counts has a *slot*, a number that no other living process has. Its values lie in files of that number
which it maps into memory, in the format of prometheus_client's multiprocess mode: to count is to add to a number there,
without a system call, and what was counted outlives the process. Whoever takes the slot next counts on from there, so
counters and histograms never go back, and there are never more files than slots, however many processes came and went.
Gauges tell of a living process alone: all have one of the ``live`` modes (:mod:`mailguard.metrics`), and their files go
when it ends (:func:`slot_ended`).

Failure: a process that is killed leaves what it last wrote. A new entry counts once it is whole, so that nothing is
torn but a file that was just being made, which is empty. A file that cannot be read for whatever reason is left out of
the exposition and told of in the log; whoever takes its slot begins it afresh. Room is taken from the file system when
a slot is opened, and not when its pages are first written: where that has none, the process does not start, rather than
being killed by SIGBUS in the middle of a message.
"""

from __future__ import annotations

import json
import os
import struct
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry, values
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.mmap_dict import MmapedDict, mmap_key
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

from mailguard.log import logger
from mailguard.metric_kinds import Value

ROOM: Final = {
    "counter": 1 << 18,
    "histogram": 1 << 19,
    "gauge_livesum": 1 << 16,
    "gauge_livemin": 1 << 16,
    "gauge_livemax": 1 << 16,
    "gauge_livemostrecent": 1 << 16,
}
"""Octets taken for the file of each kind at first; a label set of a histogram takes some 3 KB."""
_key: Final[Callable[..., str]] = mmap_key
_gauges_gone: Final[Callable[[int, str], None]] = mark_process_dead
_merge: Final[Callable[[list[str]], Iterable[Metric]]] = MultiProcessCollector.merge
_entries: Final[Callable[[str], Iterable[tuple[str, float, float, int]]]] = MmapedDict.read_all_values_from_file
_CELLS: Final = 16
"""Octets of a number and its time."""
_LOCK: Final = threading.Lock()
"""Of the files: threads make series, too."""
_UNREADABLE: Final = (OSError, RuntimeError, ValueError, TypeError, struct.error)
"""What prometheus_client raises of a file that is gone, cut, or holds something else."""


def prepare(directory: Path) -> None:
    """Make ``directory`` ready for processes that come: there, closed to others, and without values.

    Raises:
        OSError: it cannot be made, or is not ours.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    directory.chmod(0o700)
    for file in directory.glob("*.db"):
        file.unlink()


def open_slot(directory: Path, slot: int) -> None:
    """Keep the metrics of this process in the files of ``slot``; to be called before mailguard.metrics is imported.

    Raises:
        OSError: there is no room for them, or no such folder.
        RuntimeError: it is too late: the metrics are there already.
    """
    if "mailguard.metrics" in sys.modules:
        raise RuntimeError("a slot is opened before mailguard.metrics is imported")
    for file in directory.glob(f"*_{slot}.db"):
        if not _readable(file):
            logger.warning("metrics lost", path=str(file), error="the file cannot be read")
            file.unlink()
    for kind, room in ROOM.items():
        _take_room(directory / f"{kind}_{slot}.db", room)
    values.ValueClass = _Files(directory, slot).value


class _Files:
    """The files of one slot. A process that has them forks no other that counts: both would count in the same place."""

    def __init__(self, directory: Path, slot: int) -> None:
        self._directory = directory
        self._slot = slot
        self._files: dict[str, _File] = {}

    def value(
        self,
        kind: str,
        metric: str,
        series: str,
        names: Sequence[str],
        labels: Sequence[str],
        help_: str,
        multiprocess_mode: str = "",
    ) -> Value:
        """The value of one series: what prometheus_client makes of its ``ValueClass`` for each."""
        file = f"{kind}_{multiprocess_mode}" if multiprocess_mode else kind
        with _LOCK:
            if file not in self._files:
                self._files[file] = _File(self._directory / f"{file}_{self._slot}.db")
            return Value(self._files[file].cells(_key(metric, series, names, labels, help_)))


class _File(MmapedDict):
    """One file, mapped."""

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))  # type: ignore[no-untyped-call]

    def cells(self, key: str) -> memoryview[float]:
        """The number of ``key`` and its time, of doubles; the entry is made where it is missing.

        Other processes read them at any time: a double is written whole, as it is aligned.
        A file that outgrows its room is mapped anew; what was given before stays as good, for it is the same pages.
        """
        self.read_value(key)  # type: ignore[no-untyped-call]
        position = self._positions[key]
        return memoryview(self._m)[position : position + _CELLS].cast("d")


def _take_room(file: Path, room: int) -> None:
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.posix_fallocate(descriptor, 0, room)
    finally:
        os.close(descriptor)


def slot_ended(directory: Path, slot: int) -> None:
    """The process of ``slot`` has ended: its gauges are gone from now on, what it counted stays."""
    _gauges_gone(slot, str(directory))


def exposition(directory: Path | None, *more: Collector) -> bytes:
    """All metrics in Prometheus' text format: of all slots of ``directory``, and ``more``; or those of this process."""
    if directory is None:
        from mailguard.metrics import REGISTRY

        return generate_latest(REGISTRY)
    registry = CollectorRegistry()
    for collector in (_Slots(directory), *more):
        registry.register(collector)
    return generate_latest(registry)


class _Slots(Collector):
    """The metrics of all slots, in the order of their names."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def collect(self) -> Iterable[Metric]:
        files = sorted(map(str, self._directory.glob("*.db")))
        try:
            merged = _merge(files)
        except _UNREADABLE:
            merged = _merge([file for file in files if _told_if_not(file)])
        return sorted(merged, key=lambda metric: metric.name)

    def describe(self) -> Iterable[Metric]:
        """Nothing: which names there are changes with the processes."""
        return ()


def _told_if_not(file: str) -> bool:
    """Whether ``file`` can be read; the log tells if not."""
    readable = _readable(Path(file))
    if not readable and Path(file).exists():
        logger.warning("metrics unreadable", path=file)
    return readable


def _readable(file: Path) -> bool:
    try:
        for key, _, _, _ in _entries(str(file)):
            _check(key)
    except _UNREADABLE:
        return False
    return True


def _check(key: str) -> None:
    """Raises ValueError or TypeError where ``key`` is not as prometheus_client writes it."""
    _, _, labels, _ = json.loads(key)
    if not isinstance(labels, dict):
        raise TypeError(key)
