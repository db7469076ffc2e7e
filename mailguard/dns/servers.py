"""The resolvers to ask: their addresses, and in which order to try them just now.

The order is the administrator's. One that is out of reach, or was silent several times in a row, is tried last for a
while, so that a dead first resolver does not cost every question its timeout. A single silence proves nothing: a
resolver is silent too where the zone's own servers are.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

SILENCES_UNTIL_LAST: Final = 3
"""Timeouts in a row, whoever asked, after which a resolver is tried last."""


class Server(NamedTuple):
    """One resolver: ``family`` and ``address`` as the socket module takes them."""

    family: int
    address: tuple[Any, ...]

    @classmethod
    def parse(cls, text: str) -> Server:
        """``198.18.0.53:53`` or ``[2001:2::53]:53``.

        Raises:
            ValueError: not an IP address and a port; a name would need a resolver to be found.
        """
        host, _, port = text.rpartition(":")
        try:
            if not 0 < int(port) < 65536:
                raise ValueError(port)
            found = socket.getaddrinfo(
                host.removeprefix("[").removesuffix("]"),
                int(port),
                type=socket.SOCK_DGRAM,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
        except (OSError, ValueError):
            raise ValueError(f"{text!r} is no resolver: an IP address and a port, as in 127.0.0.1:53") from None
        family, _, _, _, address = found[0]
        return cls(family, address)

    def __str__(self) -> str:
        host, port = self.address[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def system_servers(path: str = "/etc/resolv.conf") -> list[Server]:
    """The resolvers of resolv.conf(5), in its order.

    Raises:
        ValueError: the file cannot be read or names none.
    """
    import dns.exception  # here: settings that name their servers do without
    import dns.resolver

    try:
        found = dns.resolver.Resolver(filename=path).nameservers
    except (dns.exception.DNSException, OSError, ValueError) as error:
        raise ValueError(f"no resolver in {path}: {error}; set dns.servers") from None
    return [Server.parse(f"[{host}]:53") for host in map(str, found)]


@dataclass(slots=True)
class _Standing:
    silences: int = 0
    last_until: float = float("-inf")


class Servers:
    """Resolvers in the order in which to try them.

    Args:
        servers: in the administrator's order, at least one.
        retry: seconds for which one that does not answer is tried last.
        clock: now, in seconds of any origin.
    """

    def __init__(self, servers: Sequence[Server], retry: float, clock: Callable[[], float]) -> None:
        if not servers:
            raise ValueError("no resolver to ask")
        self._servers = list(dict.fromkeys(servers))
        self._troubled: dict[Server, _Standing] = {}
        """Those of which the last that was heard is no answer: mostly none."""
        self._retry = retry
        self._clock = clock

    def in_order(self) -> list[Server]:
        """All of them, those that do not answer at the end."""
        if not self._troubled:
            return self._servers
        now = self._clock()
        last = {server for server, standing in self._troubled.items() if standing.last_until > now}
        return sorted(self._servers, key=lambda server: server in last)

    def answered(self, server: Server) -> None:
        """``server`` replied, whatever it said."""
        if self._troubled:
            self._troubled.pop(server, None)

    def silent(self, server: Server) -> None:
        """``server`` did not reply in time."""
        standing = self._troubled.setdefault(server, _Standing())
        standing.silences += 1
        if standing.silences >= SILENCES_UNTIL_LAST:
            self.unreachable(server)

    def unreachable(self, server: Server) -> None:
        """The network says that nobody is there."""
        self._troubled.setdefault(server, _Standing()).last_until = self._clock() + self._retry
