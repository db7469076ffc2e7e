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

Bound: a header section longer than :data:`MAX_HEAD` is read that far, to the last whole field; the rest counts as
body. Exim refuses whatever has fields beyond that.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

MAX_HEAD: Final = 1_572_864
"""Octets of a message, at the most, in which its header section is looked for; give :func:`parse_head` this many.

Exim refuses a section of 1 MiB (``header_maxsize``), where it counts a line end as one octet and we count two: no
line but the last is shorter than a blank and its end, so that Exim's 1 MiB is at most half as much again here.
"""

MAX_MESSAGE_ID: Final = 998
"""Octets of a Message-ID that are kept: a line's length (RFC 5322 2.1.1)."""

_FIELD_STARTS: Final = re.compile(rb"(?<=\r\n)(?![ \t])")
_FIRST_LINE: Final = re.compile(rb"[^\x00-\x20\x7f:]++(?:\r\n[ \t]|[ \t])*+:")
"""A name and a colon as Exim reads them: 8-bit octets are taken, and blanks, folded too, before the colon
(obs-optional).
"""

_LOWER: Final = bytes(range(256)).lower()
_NOT_IN_NAMES: Final = bytes(range(0x21)) + b"\x7f"


def field_name(field: bytes) -> bytes:
    """The name of ``field`` in lower case, empty where it has no colon.

    Blanks and control octets in it are dropped, which is more lenient than any reader: RFC 5322 4.5 allows blanks
    before the colon only, but C code may stop at a NUL and other code step over it.
    """
    name, colon, _ = field.partition(b":")
    return name.translate(_LOWER, _NOT_IN_NAMES) if colon else b""


def field_value(field: bytes) -> bytes:
    """What follows the colon, unfolded (RFC 5322 2.2.3), without blanks around it; empty where there is no colon."""
    return field.partition(b":")[2].replace(b"\r\n", b"").strip(b" \t")


@dataclass(frozen=True, slots=True)
class Head:
    """The header section of a message.

    Attributes:
        fields: each with its folded lines and its last CR LF exactly as they came; lines that are no field are among
            them.
        size: octets of the message that the section took when it came, the empty line after it not counted.
        separator: an empty line, to be written behind all fields of a message that has no header section, else
            nothing.
    """

    fields: tuple[bytes, ...]
    size: int
    separator: bytes = b""

    @property
    def octets(self) -> bytes:
        """The fields, joined."""
        return b"".join(self.fields)

    def named(self, name: bytes) -> list[bytes]:
        """The fields called ``name``, which is in lower case, in their order."""
        return [field for field in self.fields if field_name(field) == name]

    @property
    def received_count(self) -> int:
        """How many Received fields there are, for the bound on loops (RFC 5321 6.3)."""
        return len(self.named(b"received"))

    @property
    def message_id(self) -> str:
        """The first Message-ID field's value for the log, made printable ASCII and bounded; empty where there is
        none.
        """
        first = next(iter(self.named(b"message-id")), b"")
        text = field_value(first)[:MAX_MESSAGE_ID].decode("ascii", "replace")
        return "".join(c if " " <= c <= "~" else "?" for c in text)


def parse_head(octets: bytes) -> Head:
    """The header section of a message that begins with ``octets``: all of it, or its first :data:`MAX_HEAD`."""
    if octets.startswith(b"\r\n"):
        return Head((), 0)
    if not _FIRST_LINE.match(octets):
        return Head((), 0, b"\r\n" if octets else b"")
    end = octets.find(b"\r\n\r\n")
    section = octets if end < 0 else octets[: end + 2]
    fields = [field for field in _FIELD_STARTS.split(section) if field]
    if end < 0 and len(octets) >= MAX_HEAD:
        fields.pop()
    return Head(tuple(fields), sum(map(len, fields)))
