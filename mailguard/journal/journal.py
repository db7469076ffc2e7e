"""The journal of one process: what is written to it, from its first record to its last."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Final

from mailguard import config
from mailguard.journal.folder import Folder
from mailguard.journal.form import VERSION, Record, encode, stamp
from mailguard.journal.keeper import Keeper
from mailguard.journal.pseudonyms import MIN_KEY, Pseudonyms
from mailguard.journal.writer import Writer

MAX_KEY: Final = 4096
"""Octets of a key file."""


class BadKey(Exception):
    """The key of the pseudonyms cannot be had; the message says why."""


def read_key(path: Path) -> bytes:
    """The key in the file at ``path``, without blanks at its ends.

    Raises:
        BadKey: it cannot be read, is too short or too long, or is open to others.
    """
    try:
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
            mode, key = os.fstat(file.fileno()).st_mode, file.read(MAX_KEY + 1)
    except (OSError, ValueError) as error:
        raise BadKey(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if not stat.S_ISREG(mode) or len(key) > MAX_KEY:
        raise BadKey(f"{path} is no file of at most {MAX_KEY} octets")
    if mode & stat.S_IRWXO:
        raise BadKey(f"{path} is open to others: chmod o= {path}")
    if len(key.strip()) < MIN_KEY:
        raise BadKey(f"{path} holds fewer than {MIN_KEY} octets: openssl rand -hex 32 makes a key")
    return key.strip()


def pseudonyms_for(settings: config.Journal) -> Pseudonyms | None:
    """The pseudonyms that ``settings`` ask for; None where all is written as it is.

    Raises:
        BadKey: they cannot be had.
    """
    if not settings.pseudonymise or settings.pseudonym_key is None:  # settings do not have the one without the other
        return None
    return Pseudonyms(read_key(settings.pseudonym_key), settings.pseudonymise)


class Journal:
    """The journal as one process writes it; ``start`` and ``stop`` are called once each.

    Args:
        settings: of the journal.
        folder: where it lies.
        slot: which worker this is.
        clock: seconds that only grow.
        now: the wall clock, aware of its zone.

    Raises:
        BadKey: addresses are to be covered, and the key cannot be had.
    """

    def __init__(
        self,
        settings: config.Journal,
        folder: Path,
        slot: int,
        clock: Callable[[], float],
        now: Callable[[], datetime],
    ) -> None:
        self._now = now
        self._pseudonyms = pseudonyms_for(settings)
        self._keeper = Keeper(Folder(folder), settings, clock, now)
        self._writer = Writer(Folder(folder), settings, slot, clock, now, self._keeper.wake)

    def start(self) -> None:
        """Begin to write and to tidy up; a folder that cannot be used is trouble for later, not an error."""
        self._writer.start()
        self._keeper.start()

    def put(self, record: Record) -> None:
        """Write ``record``, without version and time, soon. Waits for nothing and fails never, but by a bug."""
        whole = {"v": VERSION, "time": stamp(self._now()), **record}
        self._writer.put(encode(self._pseudonyms.cover(whole) if self._pseudonyms else whole))

    def stop(self) -> bool:
        """Write what waits; whether that was done within ``journal.close_timeout``."""
        done = self._writer.stop()
        self._keeper.stop()
        return done
