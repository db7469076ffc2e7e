"""The short way through the replies of which DNSBL traffic is made; None for all others, which dnspython then reads.

Known are whole replies to one question, NOERROR or NXDOMAIN, whose answer section holds nothing but A records of the
very name asked, where those were asked for; one PTR record likewise, of a plain host name; or nothing, and then at the
most one SOA of a zone that the name is in: lists served by rbldnsd often have none. A resolver writes those owners as
pointers into the question (RFC 1035 4.1.4), or as the root; a name written otherwise, a CNAME, any surprise is not for
here. Tests hold this against dnspython.
"""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import IPv4Address
from struct import Struct
from typing import Final

from mailguard.dns.answers import Absence, Found, NotFound
from mailguard.dns.question import TYPE, TYPE_CODES, Question

_HEADER: Final = Struct("!6H")
_RECORD: Final = Struct("!HHIH")
"""A resource record between its name and its data: TYPE, CLASS, TTL, RDLENGTH (RFC 1035 4.1.3)."""
_ADDRESS: Final = Struct("!6sIH4s")
"""The same with the address of an A record behind it, and with NAME, TYPE and CLASS as they stand there."""
_SOA_NUMBERS: Final = 20
"""Octets at the end of a SOA's data; MINIMUM are the last four (RFC 1035 3.3.13)."""
_A, _PTR, _SOA, _IN = TYPE_CODES["A"], TYPE_CODES["PTR"], TYPE_CODES["SOA"], 1
_BEHIND_LABELS: Final = 5
"""Octets of a question behind the labels of its name: the root, type and class."""
_NAME_ASKED: Final = 0xC000 | _HEADER.size
_POINTER: Final = _NAME_ASKED.to_bytes(2)
_A_OF_NAME_ASKED: Final = b"\xc0\x0c\0\1\0\1"
_HOST: Final = re.compile(rb"(?:[A-Za-z0-9_-]{1,63}\.){0,126}[A-Za-z0-9_-]{1,63}")
"""What a label of a name holds that is shown as it is written, and in what lengths (RFC 1035 2.3.4)."""
_MAX_NAME: Final = 255
_ERROR_OR_CUT: Final = 0x020F
_NXDOMAIN: Final = 3
_MAX_TTL: Final = 0x7FFFFFFF
"""A TTL above is no TTL (RFC 2181 8): for dnspython to judge."""


def read(question: Question, reply: bytes) -> Found[IPv4Address] | Found[str] | NotFound | None:
    """What ``reply``, which echoes ``question``, says, where it is of the known kind."""
    _, flags, questions, answers, authorities, additional = _HEADER.unpack_from(reply)
    if questions != 1 or flags & _ERROR_OR_CUT not in (0, _NXDOMAIN):
        return None
    start = _HEADER.size + len(question)
    if answers:
        if flags & _NXDOMAIN:
            return None
        if question[TYPE] == _A:
            return _addresses(reply[start : start + answers * _ADDRESS.size], answers)
        return _host(reply, start) if question[TYPE] == _PTR and answers == 1 else None
    absence = Absence.NXDOMAIN if flags & _NXDOMAIN else Absence.NODATA
    if not authorities and not additional:
        return NotFound(absence, 0)  # no SOA says for how long (RFC 2308 5)
    return _with_soa(question, reply, start, absence) if authorities == 1 else None


@lru_cache(1024)
def _addresses(records: bytes, count: int) -> Found[IPv4Address] | None:
    """What ``records`` say, ``count`` of them; those of lists are always the same few."""
    if len(records) < count * _ADDRESS.size:
        return None
    addresses: dict[bytes, None] = {}
    lowest = _MAX_TTL
    for whose, ttl, length, octets in _ADDRESS.iter_unpack(records):
        if whose != _A_OF_NAME_ASKED or length != 4 or ttl > _MAX_TTL:
            return None
        lowest = min(ttl, lowest)
        addresses[octets] = None
    return Found(tuple(map(IPv4Address, addresses)), lowest)


def _record(reply: bytes, at: int, wanted: int) -> tuple[int, bytes] | None:
    """TTL and data of the record of the type ``wanted`` whose name ends before ``at``; None where it is none."""
    data = at + _RECORD.size
    if len(reply) < data:
        return None
    rdtype, rdclass, ttl, length = _RECORD.unpack_from(reply, at)
    if (rdtype, rdclass) != (wanted, _IN) or len(reply) < data + length or ttl > _MAX_TTL:
        return None
    return ttl, reply[data : data + length]


def _host(reply: bytes, start: int) -> Found[str] | None:
    record = _record(reply, start + len(_POINTER), _PTR) if reply.startswith(_POINTER, start) else None
    if record is None:
        return None
    ttl, octets = record
    name = _plain_name(octets) if len(octets) <= _MAX_NAME else ""
    return Found((name,), ttl) if name else None


def _plain_name(octets: bytes) -> str:
    """The host name that is written out in ``octets``, all of them; empty where it is no plain one."""
    labels, at = [], 0
    while at < len(octets) and (size := octets[at]):
        labels.append(octets[at + 1 : at + 1 + size])
        at += 1 + size
    name = b".".join(labels)
    whole = at == len(octets) - 1 == len(name) + 1
    return name.decode().lower() if whole and _HOST.fullmatch(name) and name.count(b".") == len(labels) - 1 else ""


def _with_soa(question: Question, reply: bytes, start: int, absence: Absence) -> NotFound | None:
    zone = _zone_octets(question, reply[start : start + 2])
    return _until(reply[start + zone :], absence) if zone else None


@lru_cache(256)
def _until(soa: bytes, absence: Absence) -> NotFound | None:
    """The absence that ``soa``, behind the name of its zone, bounds; the zones of lists are a few."""
    record = _record(soa, 0, _SOA)
    if record is None:
        return None
    ttl, octets = record
    if len(octets) < _SOA_NUMBERS + 2:
        return None
    return NotFound(absence, min(ttl, int.from_bytes(octets[-4:])))


def _zone_octets(question: Question, octets: bytes) -> int:
    """How many of ``octets`` name a zone that its name is in: one is the root, two a pointer; 0 where they do not."""
    if octets[:1] == b"\0":
        return 1
    return 2 if len(octets) == 2 and _starts_label(question, int.from_bytes(octets) - _NAME_ASKED) else 0


def _starts_label(question: Question, place: int) -> bool:
    """Whether a label of the question's name stands at ``place``: from there on it is a suffix of the name."""
    return 0 <= place < len(question) - _BEHIND_LABELS and _are_labels(question[:place])


@lru_cache(256)
def _are_labels(octets: bytes) -> bool:
    """Whether ``octets`` are whole labels and nothing else; those of a client are in what each list is asked."""
    at = 0
    while at < len(octets):
        at += 1 + octets[at]
    return at == len(octets)
