"""What spamd is shown of a message: its whole header section, and the beginning of its body.

The two are bounded apart. Were one bound laid on both, whoever writes Received lines would decide how much of the rest
is seen: half a megabyte of them, and From, Subject and the text lie behind the cut, so that MISSING_SUBJECT and its
like convict by the weight of Received lines alone. The header section is shown whole, for what is *missing* in it gives
points.

* The body is cut at ``limit`` octets, behind a line end where there is one.
* The header section is as long as it is: a message whose own is over ``limits.max_header_size`` was refused before.

So an excerpt has at most these two bounds and the few fields that we put on top. SpamAssassin's own bounds take nothing
from one field for the length of another: 8192 octets of each field's value (Message.pm), and 65536 of all together in
the pseudo-header ALL (Message/Node.pm). What reads ALL, or the flag ``truncated_header`` that both set, is tainted.

Pure; units: octets. SpoolLost goes up to the caller.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from mailguard.spool import Content

_LINE: Final = b"\r\n"
_EMPTY_LINE: Final = b"\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Excerpt:
    """The octets to show, and whether any are missing.

    Attributes:
        octets: whole lines, but for a last line that alone is longer than the bound.
        cut: there is more of the body.
    """

    octets: bytes
    cut: bool = False


def excerpt(content: Content, limit: int) -> Excerpt:
    """What is shown of ``content``, with at most ``limit`` octets of its body.

    Raises:
        SpoolLost: the content cannot be read back.
    """
    head = _head_size(content)
    if content.size <= head + limit:
        return Excerpt(content.prefix(content.size))
    return Excerpt(_whole_lines(content.prefix(head + limit), head), cut=True)


def _head_size(content: Content) -> int:
    """Octets of the header section and the empty line that ends it; of all where there is no empty line."""
    seen = bytearray()
    for chunk in content.chunks():
        start = max(0, len(seen) - len(_EMPTY_LINE) + 1)
        seen += chunk
        if (end := seen.find(_EMPTY_LINE, start)) >= 0:
            return end + len(_EMPTY_LINE)
    return content.size


def _whole_lines(octets: bytes, start: int) -> bytes:
    """``octets`` up to their last line end behind ``start``, or all where there is none."""
    end = octets.rfind(_LINE, start)
    return octets if end < 0 else octets[: end + len(_LINE)]
