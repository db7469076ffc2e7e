"""A message's header section, read from exact octets without ever failing: whatever a client sends is parsed somehow.

The header section ends at the first empty line (RFC 5322 2.1). Readers differ over what is no header field at all:
Exim ends the section at the first line without a name and colon, SpamAssassin only at the fourth, others never. So
the section here is the widest of theirs, up to the empty line, with lines that are no field kept in their place as
they are: what is looked for is then found wherever any of those readers would find it.

One case needs more: a message whose *first* line is no field (text at once, a folded line, an mbox `From ` line) has
no header section. With our fields put right in front, its first line would be read as one of them, or, where it
begins with a space, become the end of our own last field. Such a message gets the empty line that it lacks
(``Head.separator``), which is what Exim itself writes on delivery, and all of it is body to everyone.

Lines here end in CR LF: bare CR and LF were normalised or refused before (RFC 5321 2.3.8). A line of blanks alone
continues the field above it (RFC 5322 4.2, obs-FWS) and ends nothing. Units: octets.

Only fields that mailguard asks about are told from others (``sought.py``).

Bound: the caller's, by how many octets it gives. Where they end before the section does, all of them are the section,
so that one over the bound is seen by its size, and never taken for a short one with a body.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final

from mailguard.message.sought import MESSAGE_ID, Field, field_value, fields, is_sought
from mailguard.value import value

MAX_MESSAGE_ID: Final = 998
"""Octets of a Message-ID that are kept: a line's length (RFC 5322 2.1.1)."""

_FIRST_LINE: Final = re.compile(rb"[^\x00-\x20\x7f:]+[ \t]*(?:\r\n[ \t]+)*:")
"""A name and a colon as Exim reads them: 8-bit octets are taken, and blanks, folded too, before the colon
(obs-optional).
"""


@value(frozen=True, slots=True)
class Head:
    """The header section of a message.

    Attributes:
        octets: the fields, lines that are no field included.
        sought: those of the fields that are sought.
        size: octets of the message that the section took when it came, the empty line after it not counted.
        separator: an empty line, to be written behind all fields of a message that has no header section, else
            nothing.
    """

    octets: bytes
    sought: tuple[Field, ...]
    size: int
    separator: bytes = b""

    def named(self, name: bytes) -> list[bytes]:
        """The fields called ``name``, which is in lower case, in their order.

        Raises:
            ValueError: fields of this name are not sought.
        """
        if not is_sought(name):
            raise ValueError(f"{name!r} is not sought in header sections")
        return [octets for each, octets, _ in self.sought if each == name]

    def without(self, unwanted: Collection[Field]) -> Head:
        """This section less the fields ``unwanted``, which are among those sought."""
        if not unwanted:
            return self
        parts, kept, behind, gone = [], [], 0, 0
        for field in self.sought:
            name, octets, start = field
            if field in unwanted:
                parts.append(self.octets[behind:start])
                behind = start + len(octets)
                gone += len(octets)
            else:
                kept.append((name, octets, start - gone))
        parts.append(self.octets[behind:])
        return Head(b"".join(parts), tuple(kept), self.size, self.separator)

    @property
    def message_id(self) -> str:
        """The first Message-ID field's value for the log, made printable ASCII and bounded; empty where there is
        none.
        """
        found = self.named(MESSAGE_ID)
        text = field_value(found[0])[:MAX_MESSAGE_ID].decode("ascii", "replace") if found else ""
        if text.isascii() and text.isprintable():
            return text
        return "".join(c if " " <= c <= "~" else "?" for c in text)


def parse_head(octets: bytes) -> Head:
    """The header section of a message that begins with ``octets``.

    Where they hold no end of it, they are all of it. A bound of N octets is held by giving N + 2, or the whole message,
    and refusing a ``size`` over N: the two are the empty line behind a section of just that length.
    """
    if octets.startswith(b"\r\n"):
        return Head(b"", (), 0)
    if not _FIRST_LINE.match(octets):
        return Head(b"", (), 0, b"\r\n" if octets else b"")
    end = octets.find(b"\r\n\r\n")
    section = octets if end < 0 else octets[: end + 2]
    return Head(section, fields(section), len(section))
