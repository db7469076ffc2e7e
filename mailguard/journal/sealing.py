"""Sealing: a segment whose writer is done with it, compressed in blocks, with an index beside it.

Safe at any moment: the sealed file and its index are made under other names, written to the disk, and renamed when they
are whole; the plain file goes last. Whoever finds both, after a crash, takes the sealed one. The plain file's lock is
held meanwhile, so that no two do it at once. Lines that are torn stay as they are: nothing is thrown away. Blocking.
"""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO, Final

from mailguard.journal.folder import Folder
from mailguard.journal.index import BLOCK, IndexBuilder
from mailguard.journal.segment import INDEX, MAKING, PLAIN, SEALED, locked

LEVEL: Final = 6
"""Of gzip: a higher one takes twice the time for a few percent."""


def seal(folder: Folder, stem: str) -> bool:
    """Seal the segment ``stem``; False where its writer lives, or somebody else seals it.

    Raises:
        OSError: it cannot be read, or what it becomes cannot be written; all is as before.
    """
    try:
        descriptor = folder.read(stem + PLAIN)
    except FileNotFoundError:
        return False
    with os.fdopen(descriptor, "rb") as plain:
        if not locked(descriptor) or os.fstat(descriptor).st_nlink == 0:
            return False
        if os.fstat(descriptor).st_size and stem + SEALED not in folder.names():
            _make(folder, stem, plain)
        folder.remove(stem + PLAIN)
        return True


def _make(folder: Folder, stem: str, plain: BinaryIO) -> None:
    written_at = os.fstat(plain.fileno()).st_mtime_ns
    index = IndexBuilder()
    with _making(folder, stem + SEALED) as sealed:
        for lines in blocks(plain):
            packed = gzip.compress(lines, LEVEL, mtime=0)
            index.add(lines, sealed.tell(), len(packed))
            sealed.write(packed)
        sealed.flush()
        os.utime(sealed.fileno(), ns=(written_at, written_at))
    with _making(folder, stem + INDEX) as file:
        file.write(index.octets())
    folder.rename(stem + INDEX + MAKING, stem + INDEX)
    folder.rename(stem + SEALED + MAKING, stem + SEALED)
    folder.sync()


@contextmanager
def _making(folder: Folder, name: str) -> Iterator[BinaryIO]:
    """A new file under the name that ``name`` has while it is not finished; removed again where that fails."""
    folder.remove(name + MAKING)  # of one who crashed: the lock says that he is gone
    try:
        with os.fdopen(folder.create(name + MAKING), "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        with suppress(OSError):
            folder.remove(name + MAKING)
        raise


def blocks(plain: BinaryIO) -> Iterator[bytes]:
    """The lines of ``plain`` in blocks of about :data:`~mailguard.journal.index.BLOCK` octets, at ends of lines."""
    while lines := plain.read(BLOCK):
        yield lines + plain.readline()
