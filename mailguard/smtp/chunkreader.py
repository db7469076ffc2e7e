r"""The content that comes in chunks of a known length (RFC 3030 2, BDAT); pure.

No octet of it ends anything: ``CR LF . CR LF`` is content, and no dot was stuffed, so none is taken away. Line ends are
made alike as for DATA (BINARYMIME is not offered, so content is lines), also where a CR ends one chunk and its LF
begins the next. A last line without CR LF gets one, as DATA would have demanded it.

Octets in, content out, the same however chunks and packets cut them. One octet at the most is held back: a CR whose LF
may follow.
"""

from __future__ import annotations

from mailguard.smtp.content import CRLF, ContentReader


class ChunkReader(ContentReader):
    """Reads the content of one message; where chunks begin and end is all the same to it."""

    __slots__ = ("_held",)

    def __init__(self, max_line: int) -> None:
        super().__init__(max_line)
        self._held = b""

    def feed(self, octets: bytes) -> bytes:
        """The content that ``octets`` add, perhaps none."""
        octets = self._held + octets
        self._held = b"\r" if octets.endswith(b"\r") else b""
        return self._canonical(octets[:-1] if self._held else octets)

    def finish(self) -> bytes:
        """The content that the end of the last chunk adds: what a last line lacks of its CR LF."""
        held, self._held = self._held, b""
        return self._canonical(held or (CRLF if self._line else b""))
