"""XCLIENT: what a trusted peer tells of the client that it relays for (Postfix's XCLIENT_README); pure.

    XCLIENT NAME=mail.example.org ADDR=198.18.1.10 PORT=40000 PROTO=ESMTP HELO=mail.example.org

Who may send it is not judged here. Values are xtext (RFC 3461 4); ``[UNAVAILABLE]`` and ``[TEMPUNAVAIL]`` say that the
peer does not know either. What is outside the grammar is refused as a whole, and nothing of it is taken. LOGIN is read
and not used: an MX knows no logins.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import Enum, auto
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Any, Final

from mailguard.facts import Answer, ClientAddress, Known, ReverseDns, Unknown
from mailguard.replies import reply
from mailguard.smtp import grammar

MAX_VALUE: Final = 255
"""Octets of one value, decoded."""

_UNAVAILABLE, _TEMPORARILY = "[UNAVAILABLE]", "[TEMPUNAVAIL]"
_XTEXT: Final = re.compile(rb"(?:[!-*,-<>-~]|\+[0-9A-F]{2})+")
_NAME: Final = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9_])?\.?")
_IPV6: Final = "IPV6:"


class Absent(Enum):
    """An attribute that was not given: what was known before holds."""

    ABSENT = auto()


ABSENT: Final = Absent.ABSENT


@dataclass(frozen=True, slots=True)
class Xclient:
    """The attributes of one command; None where the peer said ``[UNAVAILABLE]``.

    Attributes:
        address, port: of the client.
        reverse: the client's name as the peer found it, confirmed; or that there is none, or that it is unknown.
        helo: what the client called itself; ``extended``: whether it said so with EHLO.
        local_address, local_port: where the client connected to.
    """

    address: ClientAddress | Absent | None = ABSENT
    port: int | Absent | None = ABSENT
    reverse: Answer[ReverseDns] | Absent = ABSENT
    helo: str | Absent | None = ABSENT
    extended: bool | Absent | None = ABSENT
    local_address: ClientAddress | Absent | None = ABSENT
    local_port: int | Absent | None = ABSENT


def read_xclient(argument: bytes) -> Xclient:
    """The attributes in the ``argument`` of an XCLIENT command: at least one, each once.

    Raises:
        grammar.Refused: 501 5.5.4.
    """
    changes: dict[str, Any] = {}
    names: set[str] = set()
    for word in argument.split():
        name, value = _pair(word)
        if name in names or name not in _ATTRIBUTES:
            raise _refused(f"{name} {'twice' if name in names else 'is no attribute'}")
        names.add(name)
        field, read = _ATTRIBUTES[name]
        try:
            changes[field] = read(value)
        except ValueError:
            raise _refused(f"{name} cannot be read") from None
    if not names:
        raise _refused("XCLIENT attribute=value ...")
    changes.pop(_IGNORED, None)
    return replace(Xclient(), **changes)


def _refused(what: str) -> grammar.Refused:
    return grammar.Refused(reply("syntax", expected=what))


def _pair(word: bytes) -> tuple[str, str]:
    name, equals, value = word.partition(b"=")
    if not (equals and name.isalpha() and _XTEXT.fullmatch(value)):
        raise _refused("XCLIENT attribute=value ..., values in xtext")
    octets = re.sub(rb"\+(..)", lambda found: bytes.fromhex(found[1].decode()), value)
    if len(octets) > MAX_VALUE:
        raise _refused(f"a value of at most {MAX_VALUE} octets")
    return name.decode("ascii").upper(), octets.decode("ascii", "replace")


def _known(value: str) -> str | None:
    """``value``; None where the peer does not know it."""
    return None if value.upper() in (_UNAVAILABLE, _TEMPORARILY) else value


def _address(value: str) -> ClientAddress | None:
    """IPv4, or IPv6 behind ``IPV6:``; a zone names nothing here.

    Raises:
        ValueError: it is neither.
    """
    if _known(value) is None:
        return None
    if "%" in value:
        raise AddressValueError(value)
    six = value[: len(_IPV6)].upper() == _IPV6
    return ClientAddress(IPv6Address(value[len(_IPV6) :]) if six else IPv4Address(value))


def _port(value: str) -> int | None:
    if _known(value) is None:
        return None
    if not re.fullmatch(r"[0-9]{1,5}", value) or int(value) > 65535:
        raise ValueError(value)
    return int(value)


def _reverse(value: str) -> Answer[ReverseDns]:
    if value.upper() == _TEMPORARILY:
        return Unknown("XCLIENT: the client's name is not known for now")
    name = _known(value)
    if name is not None and not _NAME.fullmatch(name):
        raise ValueError(value)
    return Known(ReverseDns(name or "", confirmed=name is not None))


def _helo(value: str) -> str | None:
    try:
        return None if _known(value) is None else grammar.helo_name(value.encode("ascii"), "HELO")
    except (grammar.Refused, UnicodeEncodeError) as error:
        raise ValueError(value) from error


def _extended(value: str) -> bool | None:
    if _known(value) is None:
        return None
    if value.upper() not in ("SMTP", "ESMTP"):
        raise ValueError(value)
    return value.upper() == "ESMTP"


_IGNORED: Final = "login"
_ATTRIBUTES: Final[Mapping[str, tuple[str, Callable[[str], object]]]] = {
    "ADDR": ("address", _address),
    "PORT": ("port", _port),
    "NAME": ("reverse", _reverse),
    "HELO": ("helo", _helo),
    "PROTO": ("extended", _extended),
    "LOGIN": (_IGNORED, _known),
    "DESTADDR": ("local_address", _address),
    "DESTPORT": ("local_port", _port),
}
"""The field of each attribute, and what reads its value or raises ValueError."""
NAMES: Final = tuple(_ATTRIBUTES)
"""The attributes, as EHLO names them to those who may send them."""
