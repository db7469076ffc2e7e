"""The short way through the replies of which DNSBL traffic is made; None for all others, which dnspython then reads.

Known are whole replies to one question, NOERROR or NXDOMAIN, whose answer section holds nothing but A records of the
very name asked, where those were asked for; or nothing, and then at the most one SOA of a zone that the name is in:
lists served by rbldnsd often have none. A resolver writes those names as pointers into the question (RFC 1035 4.1.4); a
name written otherwise, a CNAME, any surprise is not for here. Tests hold this against dnspython.
"""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Address
from struct import Struct
from typing import Final

from mailguard.dns.answers import Absence, Found, NotFound, Question

_HEADER: Final = Struct("!6H")
_RECORD: Final = Struct("!HHHIH")
"""A resource record up to its data, the name being a pointer: NAME, TYPE, CLASS, TTL, RDLENGTH (RFC 1035 4.1.3)."""
_ADDRESS: Final = Struct("!6sIH4s")
"""The same with the address of an A record behind it, and with NAME, TYPE and CLASS as they stand there."""
_SOA_NUMBERS: Final = 20
"""Octets at the end of a SOA's data; MINIMUM are the last four (RFC 1035 3.3.13)."""
_SOA, _IN = 6, 1
_NAME_ASKED: Final = 0xC000 | _HEADER.size
_A_OF_NAME_ASKED: Final = b"\xc0\x0c\0\1\0\1"
_BESIDE_NAME: Final = _HEADER.size + 6
"""Octets up to the answers beside those of the name's text: the header, a length, the root, type and class."""
_ERROR_OR_CUT: Final = 0x020F
_NXDOMAIN: Final = 3
_MAX_TTL: Final = 0x7FFFFFFF
"""A TTL above is no TTL (RFC 2181 8): for dnspython to judge."""


def read(question: Question, reply: bytes) -> Found[IPv4Address] | NotFound | None:
    """What ``reply``, which echoes ``question``, says, where it is of the known kind."""
    _, flags, questions, answers, authorities, additional = _HEADER.unpack_from(reply)
    if questions != 1 or flags & _ERROR_OR_CUT not in (0, _NXDOMAIN):
        return None
    start = _BESIDE_NAME + len(question.name)
    if answers:
        return None if flags & _NXDOMAIN or question.type != "A" else _addresses(reply, start, answers)
    absence = Absence.NXDOMAIN if flags & _NXDOMAIN else Absence.NODATA
    if not authorities and not additional:
        return NotFound(absence, 0)  # no SOA says for how long (RFC 2308 5)
    return _with_soa(question, reply, start, absence) if authorities == 1 else None


def _addresses(reply: bytes, start: int, count: int) -> Found[IPv4Address] | None:
    end = start + count * _ADDRESS.size
    if len(reply) < end:
        return None
    addresses: dict[bytes, None] = {}
    lowest = _MAX_TTL
    for whose, ttl, length, octets in _ADDRESS.iter_unpack(reply[start:end]):
        if whose != _A_OF_NAME_ASKED or length != 4 or ttl > _MAX_TTL:
            return None
        if ttl < lowest:
            lowest = ttl
        addresses[octets] = None
    return Found(tuple(map(_address, addresses)), lowest)


_address: Final = lru_cache(1024)(IPv4Address)
"""Of four octets; those that lists answer with are always the same few."""


def _with_soa(question: Question, reply: bytes, start: int, absence: Absence) -> NotFound | None:
    if len(reply) < start + _RECORD.size:
        return None
    name, rdtype, rdclass, ttl, length = _RECORD.unpack_from(reply, start)
    end = start + _RECORD.size + length
    if (rdtype, rdclass) != (_SOA, _IN) or length < _SOA_NUMBERS + 2 or len(reply) < end or ttl > _MAX_TTL:
        return None
    if not _starts_label(question.name, name):
        return None
    minimum = int.from_bytes(reply[end - 4 : end])
    return NotFound(absence, min(ttl, minimum))


def _starts_label(name: str, pointer: int) -> bool:
    """Whether ``pointer`` leads to a label of ``name``, the question's: what stands there is a suffix of it.

    A label's length stands in the reply as far from the start of the name as its first letter does in the text.
    """
    place = pointer - _NAME_ASKED
    return place == 0 or (0 < place < len(name) and name[place - 1] == ".")
