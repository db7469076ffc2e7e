"""The header fields that mailguard looks for, and one pass over a header section that finds them.

A client writes as many fields as it likes, a quarter of a million in 1 MiB, and mailguard asks about a few
names only. So one regular expression goes over the section and stops at what may be one of those; what stands between
is never looked at, however many fields it is (decision 0066). What the expression finds is a little more than what is
sought: :func:`field_name` has the last word.

Names here are in lower case. Units: octets.
"""

from __future__ import annotations

import re
from typing import Final, TypeAlias

RECEIVED: Final = b"received"
MESSAGE_ID: Final = b"message-id"
RESULTS: Final = b"authentication-results"

ENVELOPE: Final = frozenset({b"return-path", b"x-envelope-from", b"envelope-sender"})
"""Fields that SpamAssassin takes for the envelope sender."""

OURS: Final = frozenset({b"x-virus-scanned", b"x-mailguard"})
"""Names that are ours alone."""

OURS_PREFIXES: Final = (b"x-spam-", b"x-mailguard-")
"""Names that begin so are ours alone."""

_NAMES: Final = frozenset({RECEIVED, MESSAGE_ID, RESULTS}) | ENVELOPE | OURS
_LOWER: Final = bytes(range(256)).lower()
_NOT_IN_NAMES: Final = bytes(range(0x21)) + b"\x7f"

# No possessive quantifiers: around a group, Python 3.11.2 counts octets in that the group did not match.
_CR: Final = rb"\r(?!\n(?![ \t]))"
"""A carriage return that does not end the field."""
_IDLE: Final = rb"[\x00-\x0c\x0e-\x20\x7f]*(?:%b[\x00-\x0c\x0e-\x20\x7f]*)*" % _CR
"""Octets that a name is read without, folded lines among them."""
_REST: Final = rb"[^\r]*(?:%b[^\r]*)*" % _CR
"""A field up to the line end that no blank follows."""


def _spelt(name: bytes) -> bytes:
    return _IDLE.join(re.escape(name[i : i + 1]) for i in range(len(name)))


_SPELT: Final = sorted((*_NAMES, *OURS_PREFIXES))
_FIRST: Final = rb"[\x00-\x1f\x7f%b]" % b"".join(sorted({name[:1] for name in _SPELT}))
"""What such a field begins with: most others are seen by that not to be one."""

_MAY_BE_SOUGHT: Final = re.compile(
    rb"\r\n(?=%b)(?![ \t])(?=%b(?:%b))%b" % (_FIRST, _IDLE, b"|".join(map(_spelt, _SPELT)), _REST),
    re.IGNORECASE,
)
"""A line end and the field behind it, without its own last line end, if its name begins as one that is sought."""


Field: TypeAlias = tuple[bytes, bytes, int]
"""A field that is sought: its name in lower case, its octets exactly as they came, with folded lines and the last CR
LF, and where in its section they begin.
"""


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


def is_ours(name: bytes) -> bool:
    """Whether only mailguard may write a field called ``name``."""
    return name in OURS or name.startswith(OURS_PREFIXES)


def is_sought(name: bytes) -> bool:
    """Whether :func:`fields` finds those called ``name``."""
    return name in _NAMES or name.startswith(OURS_PREFIXES)


def fields(section: bytes) -> tuple[Field, ...]:
    """Those of ``section``, whole fields without the empty line, that are sought, in their order."""
    out: list[Field] = []
    for found in _MAY_BE_SOUGHT.finditer(b"\r\n" + section):
        start, end = found.span()  # as positions in the section: what is found lies two octets before the field
        field = section[start:end]
        if is_sought(name := field_name(field)):
            out.append((name, field, start))
    return tuple(out)
