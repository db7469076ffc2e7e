"""The header of the PROXY protocol, version 2, that we send: it names our client to the server behind us.

Source: "The PROXY protocol", haproxy.org, section 2.2. ``net.proxy_protocol`` reads what others send to us.
"""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, ip_address
from typing import Final

from mailguard.facts import ClientAddress

_SIGNATURE: Final = b"\r\n\r\n\x00\r\nQUIT\n"
_LOCAL, _PROXY = 0x20, 0x21
_TCP4, _TCP6 = 0x11, 0x21

LOCAL: Final = _SIGNATURE + struct.pack("!BBH", _LOCAL, 0, 0)
"""The header of a connection of our own (a probe): the server takes our own address as the client's."""


def proxy_header(source: ClientAddress, source_port: int, target: ClientAddress, target_port: int) -> bytes:
    """The header for a client ``source`` that connected to ``target``.

    Both addresses must be of one family; where they are not, the client's counts and the target is sent as all zeros.
    """
    ip = source.ip
    four = isinstance(ip, IPv4Address)
    to = target.ip if target.ip.version == ip.version else ip_address("0.0.0.0" if four else "::")  # noqa: S104
    body = ip.packed + to.packed + struct.pack("!HH", source_port, target_port)
    return _SIGNATURE + struct.pack("!BBH", _PROXY, _TCP4 if four else _TCP6, len(body)) + body
