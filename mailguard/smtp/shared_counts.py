"""How many connections all workers hold: counts in memory that they share, each written by one of them.

The supervisor makes the memory (:func:`create`, a memfd without a name that its children inherit), each worker writes
cells of its own *slot* and reads those of all: no lock, nothing to wait for, and nobody who dies can leave one taken.
When a worker has ended its cells are cleared (:func:`clear`, and again by whoever takes its slot), so that its
connections do not count for ever. Who takes something counts itself first and looks then: two who take the last place
at the same time are both turned away, but never both let in.

Clients are counted in a count-min sketch (Cormode and Muthukrishnan 2005): a client has one of :data:`BUCKETS` buckets
in each of :data:`ROWS` rows, and its count is the least of them. So memory is the same for any number of clients, and a
count may be too high and never too low. Too high by ``n`` it is where in every row others with ``n`` connections or
more have the same bucket: with 1,000 connections of 20 clients with 50 each that is 6 in 10^10 for a client without
any, with 20,000 connections of 400 such clients 8 in 10^5. Which clients share buckets depends on a key that is drawn
when the memory is made, so nobody can look for addresses that hit another's (BLAKE2b, keyed).

Units: connections. Memory: 64 KiB a slot.
"""

from __future__ import annotations

import fcntl
import mmap
import os
from collections.abc import Iterable
from enum import IntEnum
from functools import lru_cache
from hashlib import blake2b
from struct import unpack
from typing import Final

ROWS: Final = 4
BUCKETS: Final = 4096
_KEY: Final = 16
"""Octets of the key, in front of the cells."""
_CELL: Final = 4
"""Octets of a cell, an unsigned number."""


class Tally(IntEnum):
    """What is counted beside clients."""

    CONNECTIONS = 0
    """Connections that hold a place."""
    STRANGERS = 1
    """Those of them that have no share in the reserve."""
    UNNAMED = 2
    """Connections whose PROXY header is still to come; they hold no place yet."""


_TALLIES: Final = len(Tally)
_CELLS: Final = _TALLIES + ROWS * BUCKETS


def create(slots: int) -> int:
    """Memory for ``slots`` workers, with nothing counted; its descriptor, which children inherit where they are told.

    Its size is sealed (memfd_create(2)): nobody who holds it can cut it under the others.

    Raises:
        OSError: there is none.
        ValueError: ``slots`` is not positive.
    """
    if slots < 1:
        raise ValueError(f"{slots} slots")
    fd = os.memfd_create("mailguard-counts", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.ftruncate(fd, _KEY + slots * _CELLS * _CELL)
        os.pwrite(fd, os.urandom(_KEY), 0)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
    except BaseException:
        os.close(fd)
        raise
    return fd


def clear(fd: int, slot: int) -> None:
    """Nothing of ``slot`` counts any more: its worker has ended.

    By writing, not by a mapping, which takes a descriptor: the supervisor may have none left, and must go on.
    """
    octets = os.pread(fd, os.fstat(fd).st_size - _KEY, _KEY)
    stride = len(octets) // _CELLS
    for cell in range(slot * _CELL, len(octets), stride):
        if any(octets[cell : cell + _CELL]):
            os.pwrite(fd, bytes(_CELL), _KEY + cell)


class SharedCounts:
    """The counts of all workers, and the cells of one.

    Args:
        fd: of :func:`create`; may be closed afterwards.
        slot: whose cells are written, from 0; nobody else alive writes them. They begin at 0.

    Raises:
        ValueError: there is no such slot.
    """

    def __init__(self, fd: int, slot: int) -> None:
        self._memory = mmap.mmap(fd, 0)
        self._slots = (len(self._memory) - _KEY) // (_CELLS * _CELL)
        if not 0 <= slot < self._slots:
            self._memory.close()
            raise ValueError(f"slot {slot} of {self._slots}")
        self._key = self._memory[:_KEY]
        self.of_client: Final = lru_cache(maxsize=1024)(self._hashed)
        """The cells of a client (``ClientAddress.client_key``), one a row, among those of a slot."""
        self._cells = memoryview(self._memory)[_KEY:].cast("I")
        self._cells[slot :: self._slots] = memoryview(bytes(_CELLS * _CELL)).cast("I")
        self._own = self._cells[slot :: self._slots]

    @classmethod
    def alone(cls) -> SharedCounts:
        """Counts that no other process shares."""
        fd = create(1)
        try:
            return cls(fd, 0)
        finally:
            os.close(fd)

    def add(self, cells: Iterable[int], number: int) -> None:
        """Count ``number`` more, or fewer, in each of ``cells`` of this slot: tallies, and those of a client."""
        own = self._own
        for cell in cells:
            own[cell] += number

    def total(self, cell: int) -> int:
        """The count of one cell over all slots, which lie side by side."""
        first = cell * self._slots
        return sum(self._cells[first : first + self._slots])

    def within(self, client: int, bound: int) -> bool:
        """Whether ``client`` has no more than ``bound``, which mostly the first row tells."""
        return self.total(self.of_client(client)[0]) <= bound or self.client(client) <= bound

    def client(self, client: int) -> int:
        """Connections of ``client`` over all slots; perhaps too many, never too few."""
        return min(map(self.total, self.of_client(client)))

    def close(self) -> None:
        """Let the memory go; what stands in it stays."""
        self._own.release()
        self._cells.release()
        self._memory.close()

    def _hashed(self, client: int) -> tuple[int, ...]:
        digest = blake2b(client.to_bytes(9, "big"), digest_size=2 * ROWS, key=self._key).digest()
        hashed = unpack(f"={ROWS}H", digest)
        return tuple([_TALLIES + row * BUCKETS + number % BUCKETS for row, number in enumerate(hashed)])
