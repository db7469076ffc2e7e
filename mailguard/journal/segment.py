"""A segment: one file of the journal, written by one process and never by another.

Its name says when it was begun, by which worker (slot) and by which process, and it is made with O_EXCL. Its writer
holds a lock on it (``flock``) as long as it lives; whoever gets that lock knows that nothing will be appended. So a
process that comes after one that crashed begins a segment of its own, and never appends to a torn line.

    20261121T100000.000000Z-0-4711.jsonl       lines as they are written
    20261121T100000.000000Z-0-4711.jsonl.gz    the same, sealed (``sealing``): gzip, in blocks
    20261121T100000.000000Z-0-4711.idx         which block holds what (``index``)

Failure: what could not be appended whole is taken back, so that the next line stands on a line of its own.
"""

from __future__ import annotations

import fcntl
import os
import re
from datetime import UTC, datetime
from typing import Final

from mailguard.journal.folder import Folder

PLAIN: Final = ".jsonl"
SEALED: Final = ".jsonl.gz"
INDEX: Final = ".idx"
MAKING: Final = ".tmp"
"""Behind one of the above: a file that is not finished."""

_OURS: Final = re.compile(r"(\d{8}T\d{6}\.\d{6}Z-\d+-\d+)(\.jsonl|\.jsonl\.gz|\.idx)(\.tmp)?")


def stem_of(now: datetime, slot: int, process: int) -> str:
    """What the names of a segment's files begin with; in order of time when sorted."""
    return f"{now.astimezone(UTC):%Y%m%dT%H%M%S.%f}Z-{slot}-{process}"


def parts(name: str) -> tuple[str, str] | None:
    """Stem and ending of a file of ours; None for any other file."""
    found = _OURS.fullmatch(name)
    return (found[1], name.removeprefix(found[1])) if found else None


def locked(descriptor: int) -> bool:
    """Whether the lock of a segment could be had; it is held until the descriptor is closed.

    Raises:
        OSError: the file system has no locks.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


class Segment:
    """The segment that is being written. Blocking.

    Attributes:
        size: octets of whole records.

    Raises:
        OSError: it cannot be made.
    """

    def __init__(self, folder: Folder, stem: str) -> None:
        self._descriptor = folder.create(stem + PLAIN)
        self.size = 0
        try:
            if not locked(self._descriptor):  # somebody who tidies up was quicker
                raise BlockingIOError(f"{stem}{PLAIN} is locked")
        except OSError:
            self.close()
            raise

    @property
    def lost(self) -> bool:
        """Whether somebody removed the file: what is written to it is seen by nobody."""
        return os.fstat(self._descriptor).st_nlink == 0

    def append(self, lines: bytes) -> None:
        """Write whole lines, or none.

        Raises:
            OSError: they could not be written, and are taken back.
            TornSegment: nor could that be done: this segment is to be closed.
        """
        rest = memoryview(lines)
        try:
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        except OSError as error:
            self._take_back(error)
            raise
        self.size += len(lines)

    def _take_back(self, why: OSError) -> None:
        try:
            os.ftruncate(self._descriptor, self.size)
        except OSError:
            raise TornSegment(why.errno, why.strerror) from why

    def sync(self) -> None:
        """Have what was written survive a loss of power.

        Raises:
            TornSegment: nobody knows what is on the disk (fsync(2), "EIO"): this segment is to be closed.
        """
        try:
            os.fdatasync(self._descriptor)
        except OSError as error:
            raise TornSegment(error.errno, error.strerror) from error

    def close(self) -> None:
        """Write no more; the lock goes with it."""
        os.close(self._descriptor)


class TornSegment(OSError):
    """A segment whose end is not known to be that of a record: nothing may be appended to it any more."""
