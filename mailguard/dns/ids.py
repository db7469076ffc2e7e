"""The ids of queries: 16 bits that nobody can guess (RFC 5452 9.2), of the kernel's generator.

They are drawn many at a time, for each drawing is a system call. So an :class:`Ids` belongs to the process that made
it: two that share one by a fork would draw the same.
"""

from __future__ import annotations

import os
from struct import Struct
from typing import Final

_MANY: Final = Struct("2s" * 256)


class Ids:
    """A supply of ids."""

    def __init__(self) -> None:
        self._ready: list[bytes] = []

    def draw(self) -> bytes:
        """One that nobody has seen, two octets."""
        if not self._ready:
            self._ready = list(_MANY.unpack(os.urandom(_MANY.size)))
        return self._ready.pop()
