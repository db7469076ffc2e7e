"""Addresses of this machine: sockets bound to configured ones, whether two of them meet, why one cannot be had.

Blocking: a host that is a name is looked up by the system. Failure: OSError, also for what is no name at all;
whoever listens makes it a :class:`CannotListen`, which says what to do.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any, Final

from mailguard.config import split_address

BACKLOG: Final = 1024
"""Connections that the kernel holds for us; asyncio's 100 overflows in a burst."""
_PRIVILEGED: Final = 1024
"""Ports below it take a privilege (ip(7), ip_unprivileged_port_start)."""

_REMEDIES: Final[Mapping[int, str]] = {
    errno.EADDRINUSE: "something listens there already: `ss -ltnp` tells what",
    errno.EADDRNOTAVAIL: "no interface of this machine has this address: `ip address` shows those that it has",
    errno.EAFNOSUPPORT: "this machine has no addresses of this family",
}


class CannotListen(Exception):
    """An address cannot be listened on; the text names it, the setting that wants it, and what to do.

    Args:
        setting: the setting, in words.
        address: as configured.
        error: what the system says.
    """

    def __init__(self, setting: str, address: str, error: OSError) -> None:
        number = error.errno or 0
        reason = os.strerror(number) if number > 0 else error.strerror or str(error)  # getaddrinfo(3)'s are negative
        remedy = _remedy(number, address)
        super().__init__(f"cannot listen on {address} ({setting}): {reason}" + (f"; {remedy}" if remedy else ""))


def _remedy(number: int, address: str) -> str:
    if number in (errno.EACCES, errno.EPERM):
        if split_address(address)[1] < _PRIVILEGED:
            return "a port under 1024 takes CAP_NET_BIND_SERVICE (systemd: AmbientCapabilities=CAP_NET_BIND_SERVICE)"
        return "a security module of this machine (SELinux, AppArmor) forbids it"
    return _REMEDIES.get(number, "")


@dataclass(frozen=True, slots=True)
class Bindable:
    """An address to listen on, looked up: ``family`` and ``name`` as ``socket.bind`` takes them."""

    family: socket.AddressFamily
    name: tuple[Any, ...]

    @property
    def address(self) -> IPv4Address | IPv6Address:
        """The IP address; unspecified for every address of the machine."""
        return ip_address(self.name[0])

    @property
    def port(self) -> int:
        """The port; 0 for a free one."""
        return int(self.name[1])

    def meets(self, other: Bindable) -> bool:
        """Whether only one of both can be listened on: sockets here take one family each."""
        if self.family != other.family or self.port != other.port or not self.port:
            return False
        return self.address == other.address or self.address.is_unspecified or other.address.is_unspecified

    def answers(self, other: Bindable) -> bool:
        """Whether a connection to ``other`` would come out here."""
        if self.address.is_unspecified and not is_own(other):
            return False
        return self.meets(other)


def look_up(address: str) -> Bindable:
    """``address`` (a ``config.TcpAddress``) as something to bind, the first where a name has several.

    Raises:
        OSError: there is no such host.
    """
    host, port = split_address(address)
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except UnicodeError as error:  # by Python's IDNA, for a label that is empty or too long
        raise socket.gaierror(socket.EAI_NONAME, "no name of a host") from error
    family, _, _, _, name = found[0]
    return Bindable(socket.AddressFamily(family), name)


def bind(address: str) -> socket.socket:
    """A TCP socket bound to ``address``.

    It names its protocol, or asyncio sets no TCP_NODELAY on what it accepts, which costs 40 ms a dialogue. An IPv6
    socket takes IPv6 alone, so that ``0.0.0.0:25`` and ``[::]:25`` can stand side by side.

    Raises:
        OSError: the address cannot be had.
    """
    wanted = look_up(address)
    made = socket.socket(wanted.family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if wanted.family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind(wanted.name)
    except OSError:
        made.close()
        raise
    return made


def is_own(there: Bindable) -> bool:
    """Whether the address is one of this machine's: it can be bound to, on a port that nobody minds."""
    with socket.socket(there.family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((there.name[0], 0, *there.name[2:]))
        except OSError:
            return False
    return True
