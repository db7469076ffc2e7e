"""Questions and replies between values and octets (RFC 1035 4); no I/O.

dnspython reads replies. The reply of which nearly all of DNSBL traffic is made, a handful of A records or a SOA, is
read by :mod:`mailguard.dns.quick` first, at a tenth of the cost; whatever that does not know comes here. What is no
sound reply is a :class:`Failed`, never an exception and never "none".
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address
from typing import Any, Final

import dns.exception
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype

from mailguard.dns import quick
from mailguard.dns.answers import (
    Absence,
    AnyAnswer,
    AnyRecord,
    Failed,
    Failure,
    Found,
    MailExchange,
    NotFound,
    StartOfAuthority,
)
from mailguard.dns.question import Question, RecordType, type_of

ID: Final = slice(2)
"""A message's id, its first octets."""
_HEADER_SIZE: Final = 12
_ONE_RECURSIVE: Final = bytes.fromhex("0100 0001 0000 0000 0000")
"""A query's header behind its id: RD, and the numbers of questions and records (RFC 1035 4.1.1)."""
# Of the flags, an octet each (RFC 1035 4.1.1): QR, OPCODE, AA, TC, RD; RA, Z, RCODE.
_FLAGS, _MORE_FLAGS = 2, 3
_RESPONSE_OR_OPCODE, _RESPONSE = 0xF8, 0x80
_TRUNCATED: Final = 0x02
_RCODE: Final = 0x0F
_QUESTIONS: Final = slice(4, 6)
_NO_QUESTION, _ONE_QUESTION = b"\0\0", b"\0\1"
_WITHOUT_QUESTION: Final = frozenset({1, 2, 4, 5})
"""FORMERR, SERVFAIL, NOTIMP, REFUSED: some servers send these without the question."""


def encode(question: Question, query_id: bytes) -> bytes:
    """A query with recursion desired, class IN, without EDNS: what is longer than 512 octets comes by TCP."""
    return query_id + _ONE_RECURSIVE + question


def echoes(query: bytes, reply: bytes) -> bool:
    """Whether ``reply`` is one to ``query``: same id, a response, and the question come back as sent (RFC 5452 9.1)."""
    return reply[ID] == query[ID] and is_about(query[_HEADER_SIZE:], reply)


def is_about(question: Question, reply: bytes) -> bool:
    """The same but for the id, of which the query was found."""
    if len(reply) < _HEADER_SIZE or reply[_FLAGS] & _RESPONSE_OR_OPCODE != _RESPONSE:
        return False
    if reply[_QUESTIONS] == _ONE_QUESTION:
        # The octets of type and class hold no letters, and a label's length is below "A": lower() touches names alone.
        end = _HEADER_SIZE + len(question)
        return reply.startswith(question, _HEADER_SIZE) or reply[_HEADER_SIZE:end].lower() == question
    return reply[_QUESTIONS] == _NO_QUESTION and reply[_MORE_FLAGS] & _RCODE in _WITHOUT_QUESTION


def truncated(reply: bytes) -> bool:
    """Whether the reply was cut to fit a datagram: nothing in it may be used (RFC 2181 9)."""
    return reply[_FLAGS] & _TRUNCATED != 0


def decode(question: Question, reply: bytes) -> AnyAnswer:
    """What ``reply``, which :func:`echoes` the query, says."""
    return quick.read(question, reply) or read(question, reply)


def read(question: Question, reply: bytes) -> AnyAnswer:
    """As :func:`decode`, by dnspython alone."""
    try:
        message = dns.message.from_wire(reply, ignore_trailing=True)
        rcode = message.rcode()
        if rcode not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
            return _refusal(rcode)
        return _answer(question, message)
    except (dns.exception.DNSException, ValueError) as error:
        return Failed(Failure.ERROR, f"the reply cannot be read: {type(error).__name__} {error}".rstrip())


def _refusal(rcode: dns.rcode.Rcode) -> Failed:
    kinds = {dns.rcode.SERVFAIL: Failure.SERVFAIL, dns.rcode.REFUSED: Failure.REFUSED}
    return Failed(kinds.get(rcode, Failure.ERROR), dns.rcode.to_text(rcode))


def _answer(question: Question, message: dns.message.Message) -> AnyAnswer:
    if not isinstance(message, dns.message.QueryMessage):
        return Failed(Failure.ERROR, "the reply is no answer to a query")
    chain = message.resolve_chaining()
    if chain.answer is not None:
        to_record = _RECORDS[type_of(question)]
        return Found(tuple(to_record(rdata) for rdata in chain.answer), chain.minimum_ttl)
    soa_ttl = _negative_ttl(message, chain.canonical_name)
    if message.rcode() == dns.rcode.NXDOMAIN:
        return NotFound(Absence.NXDOMAIN, min(soa_ttl, chain.minimum_ttl))
    if soa_ttl == 0 and _is_referral(message):
        return Failed(Failure.ERROR, "a referral instead of an answer: the server does not recurse")
    return NotFound(Absence.NODATA, min(soa_ttl, chain.minimum_ttl))


def _negative_ttl(message: dns.message.Message, name: dns.name.Name) -> int:
    """Seconds for which "none" may be kept: the lesser of the SOA's TTL and MINIMUM; 0 without a SOA (RFC 2308 5)."""
    for rrset in message.authority:
        if rrset.rdtype == dns.rdatatype.SOA and name.is_subdomain(rrset.name):
            soa: Any = rrset[0]
            return min(rrset.ttl, int(soa.minimum))
    return 0


def _is_referral(message: dns.message.Message) -> bool:
    """NS and no SOA where the answer should be (RFC 2308 2.2: that is no NODATA)."""
    return any(rrset.rdtype == dns.rdatatype.NS for rrset in message.authority)


def _text(name: dns.name.Name) -> str:
    """Lower case, without the final dot; octets of no host name come escaped (RFC 1035 5.1), and so are none here."""
    return name.to_text(omit_final_dot=True).lower()


_RECORDS: Final[dict[RecordType, Callable[[Any], AnyRecord]]] = {
    "A": lambda rdata: IPv4Address(rdata.address),
    "AAAA": lambda rdata: IPv6Address(rdata.address),
    "PTR": lambda rdata: _text(rdata.target),
    "MX": lambda rdata: MailExchange(rdata.preference, _text(rdata.exchange)),
    "TXT": lambda rdata: b"".join(rdata.strings),
    "SOA": lambda rdata: StartOfAuthority(_text(rdata.mname), _text(rdata.rname), rdata.serial, rdata.minimum),
}
