r"""What the readers of content have in common: line ends made alike, the size, the longest line; pure.

**Every bare CR and bare LF is made CR LF before anybody sees it** (RFC 5321 2.3.8), so that no server behind us can
take octets of a message for an end of data, however lenient it is. Only bulk primitives of bytes touch the content, no
loop over its lines and no regular expression.

Nothing raises: a broken bound is a flag, for a refusal at the end of the content, so that the dialogue stays in step.
"""

from __future__ import annotations

from typing import Final

CRLF: Final = b"\r\n"
_CR, _LF = CRLF
"""As numbers: octets within octets are looked for by way of an exception that CPython makes and drops."""


class ContentReader:
    """The content of one message so far.

    Attributes:
        size: octets of it, without stuffing, line ends as handed out.
        bare_line_ends: a bare CR or LF was met, and made CR LF.
        line_too_long: a line, CR LF included, was longer than the bound.
    """

    __slots__ = ("_line", "_max_line", "bare_line_ends", "line_too_long", "size")

    def __init__(self, max_line: int) -> None:
        self._max_line = max_line
        self._line = 0
        self.size = 0
        self.bare_line_ends = False
        self.line_too_long = False

    def _canonical(self, content: bytes) -> bytes:
        """``content``, which neither begins nor ends within a CR LF, with every line end made CR LF."""
        # What is left without the pairs is found by memchr(3); counting single octets would take four times as long.
        # Two blanks are what a pair takes: where the size changes, all pairs are counted before the first is replaced.
        others = content.replace(CRLF, b"  ")
        if _LF in others or _CR in others:
            self.bare_line_ends = True
            content = content.replace(CRLF, b"\n").replace(b"\r", b"\n").replace(b"\n", CRLF)
        self.size += len(content)
        self._measure(content)
        return content

    def _measure(self, content: bytes) -> None:
        """Set ``line_too_long``, by leaps of the longest line that is allowed."""
        size, rfind, most = len(content), content.rfind, self._max_line
        start, limit = 0, most - self._line
        while limit < size:
            start = rfind(b"\n", start, limit) + 1
            if not start:
                self.line_too_long = True
                break
            limit = start + most
        last = rfind(b"\n")
        self._line = size - last - 1 if last >= 0 else self._line + size
