"""Content made fit for DATA: dot stuffing and the end of data (RFC 5321 4.5.2). Pure.

Content is what ``smtp.dotreader`` let through: unstuffed, its line ends CR LF. A dot is doubled after *any* LF, so
that even octets that broke this rule could not be taken for an end of data by a lenient backend ("SMTP smuggling").
"""

from __future__ import annotations

from typing import Final

END: Final = b".\r\n"
"""The final dot's line."""


class Stuffer:
    """Stuffs one message, piece by piece; a piece may end anywhere. Bulk ``replace``: about 1 ms for 5 MB."""

    def __init__(self) -> None:
        self._tail = b"\r\n"
        """The last two octets so far; a message begins at a line start."""

    def stuffed(self, piece: bytes) -> bytes:
        """The next piece, stuffed."""
        if not piece:
            return b""
        at_line_start = self._tail.endswith(b"\n") and piece.startswith(b".")
        self._tail = (self._tail + piece[-2:])[-2:]
        stuffed = piece.replace(b"\n.", b"\n..")
        return b"." + stuffed if at_line_start else stuffed

    def line_end(self) -> bytes:
        """What must stand between the last piece and :data:`END`: a line end, where the message lacks its last one."""
        return b"" if self._tail == b"\r\n" else b"\r\n"
