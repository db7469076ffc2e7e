"""Keeps the journal's folder tidy, in a thread of its own: seals segments that are done with, removes old ones.

Every process does this for all segments, of whatever process: what a crash left is sealed by whoever comes next, for
the lock of a segment says whether its writer lives. What is done twice at once does no harm. Only files of our own
names are ever touched. A segment is removed when its last record is older than ``journal.max_age``, and the oldest ones
while all of them take more than ``journal.max_size``; one whose writer lives never.

Failure: counted, logged once in a while, and tried again at the next round. Units: seconds and octets.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Final

from mailguard import config, metrics
from mailguard.journal.folder import Folder
from mailguard.journal.sealing import seal
from mailguard.journal.segment import PLAIN, SEALED, locked, parts
from mailguard.journal.trouble import Trouble
from mailguard.log import logger

INTERVAL: Final = 300.0
"""Seconds between two rounds, where nothing calls for one."""
_DAY: Final = 86_400


@dataclass(frozen=True, slots=True)
class _Kept:
    """One segment: its files, their octets, and when it was last written to, in seconds from 1970; 0: only remains."""

    stem: str
    names: tuple[str, ...]
    size: int
    written: float


def _each(calls: Iterable[Callable[[], None]]) -> None:
    """Do all of ``calls``.

    Raises:
        OSError: of the last one that failed; the others are done all the same.
    """
    failed: OSError | None = None
    for call in calls:
        try:
            call()
        except OSError as error:
            failed = error
    if failed is not None:
        raise failed


class Keeper:
    """Tidies one folder. ``start`` and ``stop`` are called once each.

    Args:
        folder: the journal's.
        settings: of the journal.
        clock: seconds that only grow.
        now: the wall clock, aware of its zone.
    """

    def __init__(
        self,
        folder: Folder,
        settings: config.Journal,
        clock: Callable[[], float],
        now: Callable[[], datetime],
    ) -> None:
        self._folder = folder
        self._settings = settings
        self._now = now
        self._wanted = threading.Event()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="journal-keeper", daemon=True)
        self._total = 0
        self._sealing = Trouble("seal", str(folder.path), clock)
        self._expiring = Trouble("expire", str(folder.path), clock)

    def start(self) -> None:
        """Begin, with a round at once."""
        self._wanted.set()
        self._thread.start()

    def wake(self) -> None:
        """A round is wanted now."""
        self._wanted.set()

    def stop(self) -> None:
        """End when the segment that is being sealed is done, or go on without waiting after a while."""
        self._ending.set()
        self._wanted.set()
        self._thread.join(self._settings.close_timeout)

    def _run(self) -> None:
        while not self._ending.is_set():
            self._wanted.wait(INTERVAL)
            self._wanted.clear()
            try:
                self.round()
            except Exception:  # noqa: BLE001  a bug here must not end the keeping
                metrics.ERRORS.inc()
                logger.exception("internal error")

    def round(self) -> None:
        """Remove what is to go, then seal what can be."""
        with self._told_of(self._expiring):
            if self._folder.path.exists():
                self._expire()
            else:
                metrics.JOURNAL_SIZE.set(0)
        with self._told_of(self._sealing):
            if self._folder.path.exists():
                self._seal()

    @contextmanager
    def _told_of(self, trouble: Trouble) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            trouble.happened(str(error))
        else:
            trouble.over()

    def _seal(self) -> None:
        found = filter(None, map(parts, self._folder.names()))
        _each([partial(self._sealed, stem) for stem, ending in found if ending == PLAIN])

    def _sealed(self, stem: str) -> None:
        if not self._ending.is_set():
            seal(self._folder, stem)

    def _expire(self) -> None:
        kept = list(self._kept())
        self._total = sum(segment.size for segment in kept)
        oldest = self._now().timestamp() - self._settings.max_age * _DAY
        try:
            _each([partial(self._consider, segment, oldest) for segment in kept])
        finally:
            metrics.JOURNAL_SIZE.set(self._total)

    def _consider(self, segment: _Kept, oldest: float) -> None:
        if segment.written < oldest or self._total > self._settings.max_size:
            self._total -= segment.size if self._removed(segment) else 0

    def _removed(self, segment: _Kept) -> bool:
        """Remove ``segment``; False where its writer lives."""
        if not self._is_done(segment):
            return False
        for name in segment.names:
            self._folder.remove(name)
        return True

    def _kept(self) -> Iterator[_Kept]:
        """All segments, the oldest first."""
        files: dict[str, list[str]] = {}
        for name in self._folder.names():
            if found := parts(name):
                files.setdefault(found[0], []).append(name)
        for stem, names in files.items():
            states: dict[str, os.stat_result] = {}
            for name in names:
                with suppress(FileNotFoundError):  # somebody else was quicker
                    states[name] = self._folder.status(name)
            size = sum(state.st_size for state in states.values())
            ends = (states[name].st_mtime for name in (stem + PLAIN, stem + SEALED) if name in states)
            yield _Kept(stem, tuple(states), size, min(ends, default=0.0))

    def _is_done(self, segment: _Kept) -> bool:
        """Whether nobody writes to it."""
        try:
            descriptor = self._folder.read(segment.stem + PLAIN)
        except FileNotFoundError:
            return True
        try:
            return locked(descriptor)
        finally:
            os.close(descriptor)
