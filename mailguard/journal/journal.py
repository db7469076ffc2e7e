"""The journal of one process: what is written to it, from its first record to its last."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from mailguard import config
from mailguard.journal.folder import Folder
from mailguard.journal.form import Record, encode
from mailguard.journal.keeper import Keeper
from mailguard.journal.key import pseudonyms_for
from mailguard.journal.writer import Writer
from mailguard.rfc3339 import stamp


class Journal:
    """The journal as one process writes it; ``start`` and ``stop`` are called once each.

    Args:
        settings: of the journal.
        folder: where it lies.
        slot: which worker this is.
        clock: seconds that only grow.
        wall: nanoseconds since 1970.

    Raises:
        BadKey: addresses are to be covered, and the key cannot be had.
    """

    def __init__(
        self,
        settings: config.Journal,
        folder: Path,
        slot: int,
        clock: Callable[[], float],
        wall: Callable[[], int],
    ) -> None:
        self._wall = wall
        self._pseudonyms = pseudonyms_for(settings)

        def now() -> datetime:
            return datetime.fromtimestamp(wall() / 1e9, UTC)

        self._keeper = Keeper(Folder(folder), settings, clock, now)
        self._writer = Writer(Folder(folder), settings, slot, clock, now, self._keeper.wake)

    def start(self) -> None:
        """Begin to write and to tidy up; a folder that cannot be used is trouble for later, not an error."""
        self._writer.start()
        self._keeper.start()

    def put(self, record: Record) -> None:
        """Write ``record``, which is given away, soon. Waits for nothing and fails never, but by a bug."""
        record["time"] = stamp(self._wall() // 1000)
        self._writer.put(encode(self._pseudonyms.cover(record) if self._pseudonyms else record))

    def stop(self) -> bool:
        """Write what waits; whether that was done within ``journal.close_timeout``."""
        done = self._writer.stop()
        self._keeper.stop()
        return done
