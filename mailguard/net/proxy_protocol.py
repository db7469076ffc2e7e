r"""Reads the PROXY header that a trusted peer sends first ("The PROXY protocol", haproxy.org, versions 1 and 2); pure.

Who may send one, and how long to wait for it, is not judged here. Octets in, :class:`Header` out, the same however the
input is cut into packets. At most :data:`MAX_V1` octets (version 1) or 16 + :data:`MAX_V2` (version 2) are held; the
TLVs of version 2 are skipped, unread. What breaks the protocol raises :class:`ProxyError`, and the connection must end,
for nobody knows whose it is (section 2).
"""

from __future__ import annotations

from functools import lru_cache
from ipaddress import ip_address
from typing import Final

from mailguard.facts import ClientAddress
from mailguard.value import value

MAX_V1: Final = 107
"""Octets of the longest line of version 1, CR LF included (section 2.1)."""
MAX_V2: Final = 4096
"""Octets of addresses and TLVs of version 2 that we read; the protocol allows 65,535, nobody sends a tenth of this."""

_V1: Final = b"PROXY "
_V2: Final = b"\r\n\r\n\x00\r\nQUIT\n"
_V2_FIXED: Final = 16
_LOCAL, _PROXY = 0x20, 0x21
_UNSPEC_FAMILY, _INET, _INET6, _UNIX = 0x0, 0x1, 0x2, 0x3
_STREAM: Final = 0x1


class ProxyError(Exception):
    """What the peer sent first is no valid PROXY header; the text says why, for the log."""


@value(frozen=True, slots=True)
class Endpoints:
    """Both ends of the connection that the peer relays, IPv4-mapped addresses made IPv4."""

    source: ClientAddress
    source_port: int
    destination: ClientAddress
    destination_port: int


@value(frozen=True, slots=True)
class Header:
    """A PROXY header.

    Attributes:
        endpoints: None where the peer speaks for itself (LOCAL, a health check) or names no internet address
            (UNKNOWN, AF_UNSPEC, AF_UNIX): the connection's own addresses hold then (section 2.1, 2.2).
    """

    endpoints: Endpoints | None = None


class HeaderReader:
    """Reads one header from the beginning of a connection."""

    __slots__ = ("_data", "rest")

    def __init__(self) -> None:
        self._data = b""
        self.rest = b""
        """What followed the header, once it is here."""

    def feed(self, octets: bytes) -> Header | None:
        """The header, or None where more octets are needed; not to be called once it is here.

        Raises:
            ProxyError: what came is no header.
        """
        self._data += octets
        if _V1.startswith(self._data[: len(_V1)]):
            return self._version1()
        if _V2.startswith(self._data[: len(_V2)]):
            return self._version2()
        raise ProxyError("no PROXY header")

    def _version1(self) -> Header | None:
        end = self._data.find(b"\r\n", 0, MAX_V1)
        if end < 0:
            if len(self._data) >= MAX_V1:
                raise ProxyError("version 1: no end of line")
            return None
        self.rest = self._data[end + 2 :]
        return _line(self._data[:end])

    def _version2(self) -> Header | None:
        if len(self._data) < _V2_FIXED:
            return None
        command, family = self._data[12], self._data[13]
        length = int.from_bytes(self._data[14:16], "big")
        if command not in (_LOCAL, _PROXY):
            raise ProxyError(f"version 2: command {command:#04x}")
        if length > MAX_V2:
            raise ProxyError(f"version 2: {length} octets of addresses")
        if len(self._data) < _V2_FIXED + length:
            return None
        self.rest = self._data[_V2_FIXED + length :]
        block = self._data[_V2_FIXED : _V2_FIXED + length]
        return Header() if command == _LOCAL else _block(family, block)


def _line(line: bytes) -> Header:
    """The header on a line of version 1: ``PROXY``, family, source, destination, their ports; or ``PROXY UNKNOWN``."""
    words = line.split(b" ")
    if words[1] == b"UNKNOWN":
        return Header()
    if len(words) != 6 or words[1] not in (b"TCP4", b"TCP6"):
        raise ProxyError("version 1: malformed")
    _, family, source, destination, source_port, destination_port = words
    return Header(
        Endpoints(_address(source, family), _port(source_port), _address(destination, family), _port(destination_port))
    )


@lru_cache(maxsize=1024)  # clients come again, and our own end is always the same
def _address(word: bytes, family: bytes) -> ClientAddress:
    if b"%" in word:
        raise ProxyError("version 1: an address with a zone")
    try:
        if (b":" in word) != (family == b"TCP6"):
            raise ValueError("of the other family")
        return ClientAddress.parse(word.decode("ascii"))
    except ValueError as error:
        raise ProxyError(f"version 1: not an address of {family.decode()}") from error


def _port(word: bytes) -> int:
    port = int(word) if word.isdigit() else 65536
    if port > 65535 or b"%d" % port != word:
        raise ProxyError("version 1: not a port")
    return port


def _block(family: int, block: bytes) -> Header:
    """The header of version 2 with the command PROXY; ``block`` is addresses, ports, and TLVs behind them."""
    address_family, transport = family >> 4, family & 0x0F
    if address_family in (_UNSPEC_FAMILY, _UNIX):
        return Header()
    if address_family not in (_INET, _INET6) or transport != _STREAM:
        raise ProxyError(f"version 2: family {family:#04x} is no stream over IPv4 or IPv6")
    size = 4 if address_family == _INET else 16
    if len(block) < 2 * size + 4:
        raise ProxyError("version 2: addresses cut short")
    source, destination = (ClientAddress(ip_address(block[i : i + size])) for i in (0, size))
    ports = block[2 * size : 2 * size + 4]
    return Header(Endpoints(source, int.from_bytes(ports[:2], "big"), destination, int.from_bytes(ports[2:], "big")))
