"""Header fields that only mailguard may write, removed from what clients send.

Whoever files by our fields, an Exim router, a Sieve script, a mail program, must be able to believe them. So every
incoming ``X-Spam-*``, ``X-Virus-Scanned``, ``X-Mailguard-*`` goes, and every ``Authentication-Results`` that bears
our authserv-id (RFC 8601 5: a border MTA must remove those). Other hosts' Authentication-Results stay, and so do
``ARC-Authentication-Results``, which are sealed (RFC 8617 4.1.1) and ours by no reading. A field goes whole, with its
folded lines; nothing else changes by an octet, and nothing that is signed by custom is touched.

Where a field's name or authserv-id is written oddly, the doubt is for removal: a field that a lenient reader could
take for ours is gone. What no reader takes for ours (another letter that only looks alike) stays.
"""

from __future__ import annotations

from typing import Final

from mailguard.message.head import Head
from mailguard.message.our_name import OurName
from mailguard.message.sought import RESULTS, Field, field_value, is_ours

MAX_LOOK: Final = 4096
"""Octets of an Authentication-Results value that are parsed; one whose authserv-id is beyond counts as malformed."""

_TSPECIALS: Final = frozenset(b'()<>@,;:\\"/[]?=')
"""What ends a token (RFC 2045 5.1), besides blanks and control octets."""


def strip_forged(head: Head, hostname: str) -> Head:
    """``head`` without the fields that are ours alone; ``hostname`` is our authserv-id."""
    ours = OurName.of(hostname)
    return head.without({field for field in head.sought if _is_forged(field, ours)})


def _is_forged(field: Field, ours: OurName) -> bool:
    name, octets, _ = field
    return _bears(field_value(octets), ours) if name == RESULTS else is_ours(name)


def _bears(value: bytes, ours: OurName) -> bool:
    """Whether ``value`` of an Authentication-Results field claims to be from us.

    One that does not follow the grammar so far does where it names us anywhere: some reader may be more lenient.
    """
    identifier = authserv_id(value[:MAX_LOOK])
    if identifier is None:
        return ours.stands_in(value.replace(b"\\", b""))
    return ours.means(identifier)


def authserv_id(value: bytes) -> bytes | None:
    """The authserv-id at the start of an Authentication-Results value: ``[CFWS] value`` (RFC 8601 2.2, RFC 2045 5.1).

    Returns:
        The token, or the content of the quoted string; None where neither stands there.
    """
    start = _skip_cfws(value, 0)
    if value[start : start + 1] == b'"':
        return _quoted(value, start)
    end = start
    while end < len(value) and 0x20 < value[end] != 0x7F and value[end] not in _TSPECIALS:
        end += 1
    return value[start:end] or None


def _skip_cfws(value: bytes, position: int) -> int:
    """The position after blanks and comments, which nest (RFC 5322 3.2.2); the end where a comment is never closed."""
    depth = 0
    while position < len(value):
        octet = value[position]
        if octet == 0x28:
            depth += 1
        elif octet == 0x29 and depth:
            depth -= 1
        elif octet == 0x5C and depth:
            position += 1
        elif not depth and octet > 0x20 and octet != 0x7F:
            return position
        position += 1
    return len(value)


def _quoted(value: bytes, start: int) -> bytes | None:
    """What the quoted string that begins at ``start`` stands for (RFC 5322 3.2.4), None where it is never closed."""
    out, position = bytearray(), start + 1
    while position < len(value):
        octet = value[position]
        if octet == 0x22:
            return bytes(out)
        if octet == 0x5C and position + 1 < len(value):
            position += 1
        out.append(value[position])
        position += 1
    return None
