"""Writes lines to segments, in a thread of its own, so that neither mail nor the event loop ever waits for a disk.

:meth:`Writer.put` takes a line into memory and returns; the thread takes all that has come within :data:`GATHER` and
writes it at once. As long as lines keep coming it looks for them by itself: to wake it costs who does so more than the
line, so that only the first line after a pause does. What waits is bounded in octets (``journal.queue_size``): what
comes on top is lost, and counted.

    ================================  ==============================================================================
    what happens                      what follows
    ================================  ==============================================================================
    a write fails (disk full)         it is taken back, its records are lost, ``journal.retry`` s later it is tried
                                      again, and what comes meanwhile is lost
    it can't be taken back, or a      the segment is left as it is, torn line and all; the next is begun
    sync fails
    a write hangs                     the queue fills up, then new records are lost; the end waits no longer than
                                      ``journal.close_timeout``
    the segment was removed           another is begun
    the process is killed             what waited is lost: :data:`GATHER` s of records, as a rule
    ================================  ==============================================================================

Mail goes on in all of them: what is lost is told by ``mailguard_journal_records_total`` (decision 0100). Units: seconds
and octets.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from typing import Final

from mailguard import config, metrics
from mailguard.journal.folder import Folder
from mailguard.journal.segment import Segment, TornSegment, stem_of
from mailguard.journal.trouble import Trouble
from mailguard.log import logger

GATHER: Final = 0.05
"""Seconds that lines are gathered before they are written."""
_TRIES: Final = 5
"""To make a segment that nobody else takes for an abandoned one."""


class Writer:
    """Writes one process's part of the journal. ``start`` and ``stop`` are called once each.

    Args:
        folder: where segments lie; it exists by the time of ``start``, or is missed then as after any failure.
        settings: of the journal.
        slot: which worker this is, for the names of segments.
        clock: seconds that only grow.
        now: the wall clock, aware of its zone.
        rotated: called in the writer's thread when a segment is done with.
    """

    def __init__(
        self,
        folder: Folder,
        settings: config.Journal,
        slot: int,
        clock: Callable[[], float],
        now: Callable[[], datetime],
        rotated: Callable[[], None] = lambda: None,
    ) -> None:
        self._folder = folder
        self._settings = settings
        self._slot = slot
        self._clock = clock
        self._now = now
        self._rotated = rotated
        self._lock = threading.Lock()
        self._wanted = threading.Event()
        self._asleep = False
        self._lines: list[bytes] = []
        self._waiting = 0
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
        self._segment: Segment | None = None
        self._begun = 0.0
        self._synced = 0.0
        self._unsynced = False
        self._paused_until = float("-inf")
        self._why = ""
        self._failing = Trouble("write", str(folder.path), clock)
        self._overflow = Trouble("overflow", str(folder.path), clock)

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def put(self, line: bytes) -> None:
        """Take ``line``, its end included, to be written soon. Never waits, never fails."""
        with self._lock:
            wake, self._asleep = self._asleep, False
            fits = self._waiting + len(line) <= self._settings.queue_size and not self._ending.is_set()
            if fits:
                self._lines.append(line)
                self._waiting += len(line)
        if not fits:
            metrics.JOURNAL_RECORDS.labels("overflow").inc()
            self._overflow.happened(f"`journal.queue_size`, {self._settings.queue_size} octets, wait already", lost=1)
        if wake:
            self._wanted.set()

    def stop(self) -> bool:
        """Write what waits and end; whether that was done within ``journal.close_timeout``."""
        self._ending.set()
        self._wanted.set()
        self._thread.join(self._settings.close_timeout)
        return not self._thread.is_alive()

    # --- in the thread ------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._ending.is_set():
            self._guarded()
        self._guarded()  # what came before the end
        with suppress(OSError):
            self._sync()
        self._close()

    def _guarded(self) -> None:
        lines = self._next()
        try:
            self._write(lines)
            self._do_what_is_due()
        except Exception:  # noqa: BLE001  a bug here must not end the journal
            metrics.ERRORS.inc()
            logger.exception("internal error")
        finally:
            with self._lock:
                self._waiting -= sum(map(len, lines))

    def _next(self) -> list[bytes]:
        """The lines that have come; none where none came before something else is due."""
        self._wanted.clear()  # before the end is asked for, which sets it
        with self._lock:
            self._asleep = not self._lines and not self._ending.is_set()
        if self._asleep:
            self._wanted.wait(self._due())
        self._ending.wait(GATHER)
        with self._lock:
            lines, self._lines = self._lines, []
        return lines

    def _due(self) -> float:
        """Seconds until a sync or the segment's end is due."""
        if self._segment is None or not self._segment.size:
            return self._settings.segment_age
        due = self._begun + self._settings.segment_age
        if self._unsynced:
            due = min(due, self._synced + self._settings.sync_interval)
        return max(0.0, due - self._clock())

    def _write(self, lines: list[bytes]) -> None:
        """Write ``lines``, or lose them."""
        if not lines:
            return
        if self._clock() < self._paused_until:
            self._lost(self._why, len(lines))
            return
        try:
            self._append(lines)
        except OSError as error:
            self._failed(error, len(lines))

    def _append(self, lines: list[bytes]) -> None:
        octets = b"".join(lines)
        self._open().append(octets)
        self._unsynced = self._settings.sync != "never"
        metrics.JOURNAL_RECORDS.labels("written").inc(len(lines))
        metrics.JOURNAL_OCTETS.inc(len(octets))
        self._failing.over()
        self._overflow.over()

    def _open(self) -> Segment:
        if self._segment is not None and self._segment.lost:
            self._close()
        if self._segment is None:
            self._folder.make()
            self._segment = self._new_segment()
            self._begun = self._synced = self._clock()
            if self._settings.sync != "never":
                self._folder.sync()
        return self._segment

    def _new_segment(self) -> Segment:
        for _ in range(_TRIES):
            with suppress(BlockingIOError):  # somebody who tidies up had its lock before us, and removes it
                return Segment(self._folder, stem_of(self._now(), self._slot, os.getpid()))
        raise BlockingIOError("each new segment is locked by somebody else")

    def _do_what_is_due(self) -> None:
        try:
            if self._sync_is_due():
                self._sync()
            if self._segment is not None and self._is_full(self._segment):
                self._sync()
                self._close()
        except OSError as error:
            self._failed(error, 0)

    def _sync_is_due(self) -> bool:
        return self._settings.sync == "always" or self._clock() - self._synced >= self._settings.sync_interval

    def _is_full(self, segment: Segment) -> bool:
        old = self._clock() - self._begun >= self._settings.segment_age
        return segment.size >= self._settings.segment_size or (old and segment.size > 0)

    def _sync(self) -> None:
        if self._unsynced and self._segment is not None:
            self._unsynced, self._synced = False, self._clock()
            self._segment.sync()

    def _failed(self, error: OSError, lost: int) -> None:
        self._why = str(error.strerror or error)
        self._paused_until = self._clock() + self._settings.retry
        if isinstance(error, TornSegment):
            self._close()
        self._lost(self._why, lost)

    def _lost(self, why: str, lost: int) -> None:
        metrics.JOURNAL_RECORDS.labels("failed").inc(lost)
        self._failing.happened(why, lost)

    def _close(self) -> None:
        segment, self._segment, self._unsynced = self._segment, None, False
        if segment is not None:
            with suppress(OSError):
                segment.close()
            self._rotated()
