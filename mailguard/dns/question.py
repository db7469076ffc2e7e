"""A question to the DNS as it stands in query and reply: name, type, and class IN (RFC 1035 4.1.2).

Names in them are in lower case, so that two questions are the same where their octets are. What is asked below a zone
begins with labels of its own and goes on as the question about the zone: so a client is asked about in many lists, and
its name is asked for, by one concatenation each.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from typing import Final, Literal, TypeAlias

from mailguard.dns import names

RecordType: TypeAlias = Literal["A", "AAAA", "PTR", "MX", "TXT", "SOA"]
Question: TypeAlias = bytes

TYPE_CODES: Final[dict[RecordType, int]] = {"A": 1, "SOA": 6, "PTR": 12, "MX": 15, "TXT": 16, "AAAA": 28}
"""The types that can be asked for, and their numbers (RFC 1035 3.2.2, RFC 3596 2.1)."""
_TYPES: Final = {code: rdtype for rdtype, code in TYPE_CODES.items()}
TYPE: Final = -3
"""Where in a question the lower octet of its type is; the higher is 0."""
_IN: Final = b"\0\1"
_NUMBERS: Final = [names.encode(str(number))[:-1] for number in range(256)]
_NIBBLES: Final = {nibble: names.encode(nibble)[:-1] for nibble in "0123456789abcdef"}


def about(name: str, rdtype: RecordType) -> Question:
    """The question for the records of ``rdtype`` of ``name``, which is absolute, with or without the final dot.

    Raises:
        ValueError: ``name`` cannot stand in a question (RFC 1035 2.3.4), or ``rdtype`` is none of ``TYPE_CODES``.
    """
    if rdtype not in TYPE_CODES:
        raise ValueError(f"{rdtype!r} is no record type that is asked for")
    return names.encode(names.canonical(name)) + TYPE_CODES[rdtype].to_bytes(2) + _IN


def backwards(ip: IPv4Address | IPv6Address) -> bytes:
    """The labels for ``ip`` below a zone of addresses: its octets or, for IPv6, its nibbles in reverse.

    So are in-addr.arpa and ip6.arpa (RFC 1035 3.5, RFC 3596 2.5), and every DNS list (RFC 5782 2.1, 2.4).
    """
    octets = ip.packed
    if len(octets) > 4:
        return b"".join(map(_NIBBLES.__getitem__, reversed(octets.hex())))
    return b"".join(map(_NUMBERS.__getitem__, reversed(octets)))


def type_of(question: Question) -> RecordType:
    """The type of the records that are asked for."""
    return _TYPES[question[TYPE]]
