"""Goes through all of the journal, or all of a time, segment by segment, in several processes.

Each process reads one segment after another, a block at a time, and makes of its records what ``fold`` makes; only that
comes back, in the order of the segments. So memory is bounded by the number of processes and by what ``fold`` keeps,
however long the journal is. The processes are forked, so that ``fold`` may hold what no pickle can, a compiled policy
for one; they give way to everything else on the machine (:data:`NICE`), for mail goes first, and end with the process
that started them.

Failure: OSError where the folder may not be read; :class:`BrokenProcessPool` where a process was killed.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing.connection import wait
from typing import Any, Final, Generic, TypeVar

from mailguard.journal.folder import Folder
from mailguard.journal.form import Record
from mailguard.journal.reader import Progress, Query, Reader

T = TypeVar("T")

NICE: Final = 10
"""How far the processes step back (nice(2))."""
_AHEAD: Final = 2
"""Segments for each process that are handed out at once: what is folded and not fetched yet is kept in memory."""


@dataclass(frozen=True, slots=True)
class Swept(Generic[T]):
    """What came of one segment: what was made of its records, how many lines and blocks were not whole, and why it was
    left out, if it was.
    """

    folded: T
    torn: int
    left_out: dict[str, str]


@dataclass(frozen=True, slots=True)
class _Task(Generic[T]):
    """What to do with each segment."""

    folder: Folder
    query: Query
    fold: Callable[[Iterator[Record]], T]

    def do(self, stem: str, sealed: bool) -> Swept[T]:
        reader = Reader(self.folder)
        folded = self.fold(reader.of_segment(stem, sealed, self.query))
        return Swept(folded, reader.torn, reader.left_out)


def sweep(
    folder: Folder,
    query: Query,
    fold: Callable[[Iterator[Record]], T],
    processes: int,
    progress: Progress = lambda _done, _all: None,
) -> Iterator[Swept[T]]:
    """What ``fold`` makes of the records of each segment that answer ``query``, the oldest segment first.

    Args:
        folder: the journal's.
        query: which records; one without terms.
        fold: given the records of one segment; what it returns is pickled.
        processes: how many; with one, or but one segment, it is done in this process.
        progress: told how many segments of how many are done.

    Raises:
        OSError: the folder may not be read.
        BrokenProcessPool: a process was killed.
    """
    task = _Task(folder, query, fold)
    segments = Reader(folder).segments()
    results = _in_turn(task, segments) if min(processes, len(segments)) < 2 else _forked(task, segments, processes)
    progress(0, len(segments))
    for done, swept in enumerate(results, 1):
        yield swept
        progress(done, len(segments))


def _in_turn(task: _Task[T], segments: dict[str, bool]) -> Iterator[Swept[T]]:
    return (task.do(stem, sealed) for stem, sealed in segments.items())


def _forked(task: _Task[T], segments: dict[str, bool], processes: int) -> Iterator[Swept[T]]:
    pool = ProcessPoolExecutor(processes, multiprocessing.get_context("fork"), _begin, (task,))
    try:
        waiting: deque[Future[Swept[T]]] = deque()
        for stem, sealed in segments.items():
            waiting.append(pool.submit(_do, stem, sealed))
            if len(waiting) >= processes * _AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


# --- in a process of the pool -----------------------------------------------------------------------------------------

_TASK: list[_Task[Any]] = []
"""The one task of this process: set once, when it begins."""


def _begin(task: _Task[Any]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal's ^C goes to all: whoever started this one ends it
    os.nice(NICE)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _TASK[:] = [task]


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(os.EX_TEMPFAIL)


def _do(stem: str, sealed: bool) -> Swept[Any]:
    return _TASK[0].do(stem, sealed)
