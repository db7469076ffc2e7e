"""What spamd is shown of a message: its whole header section, and the beginning of its body.

The two are bounded apart. Were one bound laid on both, whoever writes Received lines would decide how much of the rest
is seen: half a megabyte of them, and From, Subject and the text lie behind the cut, so that MISSING_SUBJECT and its
like convict by the weight of Received lines alone. The header section is shown whole, for what is *missing* in it gives
points.

* The body is cut at ``limit`` octets, behind a line end where there is one.
* The header section is bounded by ``message.MAX_HEAD``, over which Exim refuses the message anyway. One that is longer
  is shown that far without any body, and ``header_cut`` says that nothing may be concluded from what was not seen.

So an excerpt has at most ``MAX_HEAD + limit`` octets. SpamAssassin's own bounds take nothing from one field for the
length of another: 8192 octets of each field's value (Message.pm), and 65536 of all together in the pseudo-header ALL
(Message/Node.pm). What reads ALL, or the flag ``truncated_header`` that both set, is tainted.

Pure; units: octets. SpoolLost goes up to the caller.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from mailguard.message import MAX_HEAD
from mailguard.spool import Content

_LINE: Final = b"\r\n"
_EMPTY_LINE: Final = b"\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Excerpt:
    """The octets to show, and what is missing from them.

    Attributes:
        octets: whole lines, but for a last line that alone is longer than the bound.
        body_cut: there is more of the body.
        header_cut: there is more of the header section.
    """

    octets: bytes
    body_cut: bool = False
    header_cut: bool = False

    @property
    def cut(self) -> bool:
        """Whether it is not the whole message."""
        return self.body_cut or self.header_cut


def excerpt(content: Content, limit: int) -> Excerpt:
    """What is shown of ``content``, with at most ``limit`` octets of its body.

    Raises:
        SpoolLost: the content cannot be read back.
    """
    head = _head_size(content)
    if not head:
        return Excerpt(_whole_lines(content.prefix(MAX_HEAD), 0), header_cut=True)
    if content.size <= head + limit:
        return Excerpt(content.prefix(content.size))
    return Excerpt(_whole_lines(content.prefix(head + limit), head), body_cut=True)


def _head_size(content: Content) -> int:
    """Octets of the header section and the empty line that ends it; 0 where they are more than ``MAX_HEAD``."""
    end = content.prefix(MAX_HEAD).find(_EMPTY_LINE)
    if end >= 0:
        return end + len(_EMPTY_LINE)
    return content.size if content.size <= MAX_HEAD else 0


def _whole_lines(octets: bytes, start: int) -> bytes:
    """``octets`` up to their last line end behind ``start``, or all where there is none."""
    end = octets.rfind(_LINE, start)
    return octets if end < 0 else octets[: end + len(_LINE)]
