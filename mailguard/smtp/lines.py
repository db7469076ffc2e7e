"""Command lines out of octets (RFC 5321 2.3.8, 4.5.3.1.4); pure.

A line ends in CR LF and holds no NUL, no bare CR and no bare LF: tolerance there is how commands are smuggled past a
server that is less tolerant. The first such octet, or a line over the bound, makes the line a :class:`Fault`, told at
once though its end may never come; what follows is dropped up to and including the next CR LF. So memory stays bounded,
and faults come out the same however the input is cut into packets.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import Final

_CRLF: Final = b"\r\n"
_LINE: Final = re.compile(rb"([^\0\r\n]*)\r\n")
_NO_PART_OF_A_LINE: Final = re.compile(rb"[\0\r\n]")


class Fault(Enum):
    """Why a line is none: the value names the reply."""

    BARE = "bare_line_end"
    NUL = "nul"
    TOO_LONG = "line_too_long"


class CommandLines:
    """Splits what it receives into command lines of at most ``max_line`` octets, CR LF included.

    Attributes:
        spent: whether all that came was taken.
        skipped: octets dropped of the present faulty line.
    """

    __slots__ = ("_data", "_max_line", "_position", "_skipping", "skipped", "spent")

    def __init__(self, max_line: int) -> None:
        self._max_line = max_line
        self._data = b""
        self._position = 0
        self._skipping = False
        self.skipped = 0
        self.spent = True

    @property
    def line_waiting(self) -> bool:
        """Whether the end of a line is here that was not taken yet."""
        return self._data.find(_CRLF, self._position) >= 0

    def receive(self, octets: bytes) -> None:
        """More from the client, behind what is here."""
        if not self.spent:
            octets = self._data[self._position :] + octets
        self._data, self._position, self.spent = octets, 0, not octets

    def take(self, at_most: int | None = None) -> bytes:
        """The octets not taken yet, all or ``at_most`` so many, for a reader of content."""
        data, start, size = self._data, self._position, len(self._data)
        end = size if at_most is None else min(start + at_most, size)
        if end == size:
            self._data, self._position, self.spent = b"", 0, True
        else:
            self._position = end
        return data[start:end]

    def next(self) -> bytes | Fault | None:
        """The next line without its CR LF, a fault, or None where more octets are needed."""
        if self._skipping and not self._skip():
            return None
        if self.spent:
            return None
        data, start = self._data, self._position
        if whole := _LINE.match(data, start, start + self._max_line):
            self._position = end = whole.end()
            self.spent = end == len(data)
            return whole[1]
        return self._incomplete()

    def _incomplete(self) -> Fault | None:
        """What is wrong with what is no line; None: nothing so far."""
        window = self._data[self._position : self._position + self._max_line]
        end = window.find(_CRLF)
        line = window if end < 0 else window[:end]
        if fault := _first_fault(line, complete=end >= 0):
            return self._fault(fault)
        return self._fault(Fault.TOO_LONG) if len(window) == self._max_line else None

    def _fault(self, fault: Fault) -> Fault:
        self._skipping, self.skipped = True, 0
        return fault

    def _skip(self) -> bool:
        """Drop up to the next CR LF; whether it is here. A last CR is kept: an LF may follow."""
        end = self._data.find(_CRLF, self._position)
        if end < 0:
            stop = len(self._data) - self._data.endswith(b"\r")
        else:
            stop = end + len(_CRLF)
            self._skipping = False
        self.skipped += max(stop - self._position, 0)
        self._position = max(stop, self._position)
        self.spent = self._position == len(self._data)
        return end >= 0


def _first_fault(line: bytes, *, complete: bool) -> Fault | None:
    """What the first octet is that ``line`` may not hold; a last CR of an incomplete one is not judged yet."""
    found = _NO_PART_OF_A_LINE.search(line if complete or not line.endswith(b"\r") else line[:-1])
    if found is None:
        return None
    return Fault.NUL if found[0] == b"\0" else Fault.BARE
