"""XCLIENT commands: they tell a backend who the client is (Postfix XCLIENT_README). Pure.

Values are xtext (RFC 3461 4). Only attributes that the backend lists are sent, ``ADDR`` among them or nothing works.
``NAME`` goes with the address even where there is none, ``[UNAVAILABLE]`` or ``[TEMPUNAVAIL]``: else the backend would
keep the name that it found for us. What does not fit into one line of :data:`MAX_LINE` octets goes into another.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from ipaddress import IPv4Address
from typing import Final

from mailguard.facts import ClientAddress, Known
from mailguard.relay.answers import BackendFailed
from mailguard.relay.identity import Identity

MAX_LINE: Final = 512
"""Octets of a command line, CR LF included (RFC 5321 4.5.3.1.4)."""
_NONE: Final = b"[UNAVAILABLE]"
_NOT_KNOWN: Final = b"[TEMPUNAVAIL]"


def commands(identity: Identity, offered: Collection[str] | None) -> list[bytes]:
    """The command lines, without CR LF, that name ``identity`` to a backend that takes the attributes ``offered``.

    Raises:
        BackendFailed: it does not let us name a client.
    """
    if offered is None or "ADDR" not in offered:
        raise BackendFailed("the backend offers no XCLIENT with ADDR: is this host in smtpd_authorized_xclient_hosts?")
    lines = [b"XCLIENT"]
    for name, value in _attributes(identity):
        if name in offered:
            attribute = b" %b=%b" % (name.encode("ascii"), value)
            if len(lines[-1]) + len(attribute) > MAX_LINE - 2:
                lines.append(b"XCLIENT")
            lines[-1] += attribute
    return lines


def _attributes(identity: Identity) -> Iterator[tuple[str, bytes]]:
    yield "ADDR", _address(identity.address)
    yield "NAME", _name(identity)
    yield "PORT", b"%d" % identity.port
    yield "PROTO", b"ESMTP" if identity.extended else b"SMTP"
    yield "HELO", xtext(identity.helo.encode()) or _NONE
    yield "DESTADDR", _address(identity.local_address)
    yield "DESTPORT", b"%d" % identity.local_port


def _name(identity: Identity) -> bytes:
    match identity.reverse:
        case Known(found) if found.confirmed:
            return xtext(found.name.encode())
        case Known():
            return _NONE
        case _:
            return _NOT_KNOWN


def _address(address: ClientAddress) -> bytes:
    return (str(address) if isinstance(address.ip, IPv4Address) else f"IPV6:{address}").encode("ascii")


def xtext(octets: bytes) -> bytes:
    """``octets`` as xtext (RFC 3461 4): ``+`` and ``=``, and what is not printable ASCII, as ``+`` and two digits."""
    return b"".join(
        b"%c" % octet if 0x21 <= octet <= 0x7E and octet not in b"+=" else b"+%02X" % octet for octet in octets
    )
