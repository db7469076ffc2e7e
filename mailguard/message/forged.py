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

from dataclasses import replace
from typing import Final

from mailguard.message.head import Head, field_name, field_value

FORGED_PREFIXES: Final = (b"x-spam-", b"x-mailguard-")
"""Names that begin so are ours, in lower case."""

FORGED_NAMES: Final = frozenset({b"x-virus-scanned", b"x-mailguard"})
"""Names that are ours, in lower case."""

MAX_HOST: Final = 1020
"""Octets of the longest name that could be ours: 255 characters of at most four octets (RFC 5321 4.5.3.1.2)."""

MAX_LOOK: Final = 4096
"""Octets of an Authentication-Results value that are parsed; one whose authserv-id is beyond counts as malformed."""

_TSPECIALS: Final = frozenset(b'()<>@,;:\\"/[]?=')
"""What ends a token (RFC 2045 5.1), besides blanks and control octets."""


def strip_forged(head: Head, hostname: str) -> Head:
    """``head`` without the fields that are ours alone; ``hostname`` is our authserv-id."""
    ours = _host(hostname.encode())
    return replace(head, fields=tuple(field for field in head.fields if not _is_forged(field, ours)))


def _is_forged(field: bytes, ours: bytes) -> bool:
    name = field_name(field)
    if name == b"authentication-results":
        return _bears(field_value(field), ours)
    return name in FORGED_NAMES or name.startswith(FORGED_PREFIXES)


def _bears(value: bytes, ours: bytes) -> bool:
    """Whether ``value`` of an Authentication-Results field claims to be from host ``ours``.

    One that does not follow the grammar so far does where it names us anywhere: some reader may be more lenient.
    """
    identifier = authserv_id(value[:MAX_LOOK])
    if identifier is None:
        return ours in value.replace(b"\\", b"").lower()
    return len(identifier) <= MAX_HOST and _host(identifier) == ours


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


def _host(name: bytes) -> bytes:
    """A host name to compare: lower case, A-labels for U-labels (RFC 8601 2.2, RFC 5890), no dot at the end."""
    text = name.decode("utf-8", "replace").strip().rstrip(".").lower()
    try:
        return text.encode("idna") if not text.isascii() else text.encode()
    except UnicodeError:
        return text.encode()
