"""Who is let in: the bounds on connections; who a peer is before and after its PROXY header or XCLIENT; no I/O.

A connection may pass a proxy and then a relay: its PROXY header says first who the peer is, and what it says decides
whether XCLIENT is taken. After XCLIENT the client named by it is the peer, and is trusted no more than any other
(decision 0087).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Final

from mailguard.config import Limits, Network
from mailguard.facts import ClientAddress
from mailguard.net.proxy_protocol import Header
from mailguard.replies import Reply, reply
from mailguard.smtp.story import Peer
from mailguard.smtp.xclient import Absent, Xclient

Endpoint = tuple[ClientAddress, int]
"""Address and port."""


class TurnedAway(Exception):
    """A connection is refused before there is a story of it; ``reply`` is a 421."""

    def __init__(self, refusal: Reply) -> None:
        super().__init__(str(refusal))
        self.reply: Final = refusal


class Slots:
    """Counts connections, of all listeners that share it: in all, and by client (IPv4 address, IPv6 /64)."""

    def __init__(self, limits: Limits) -> None:
        self._total = limits.max_connections
        self._per_client = limits.max_connections_per_client
        self._taken = 0
        self._clients: Counter[int] = Counter()

    @contextmanager
    def connection(self) -> Iterator[None]:
        """Hold a slot.

        Raises:
            TurnedAway: 421 4.3.2, none is free.
        """
        if self._taken >= self._total:
            raise TurnedAway(reply("overloaded").because(f"{self._taken} connections"))
        self._taken += 1
        try:
            yield
        finally:
            self._taken -= 1

    @contextmanager
    def client(self, address: ClientAddress) -> Iterator[None]:
        """Hold one of the slots of the client at ``address``.

        Raises:
            TurnedAway: 421 4.7.0, it has all of them.
        """
        key = address.client_key
        if self._clients[key] >= self._per_client:
            raise TurnedAway(reply("too_many_connections").because(f"{self._clients[key]} connections"))
        self._clients[key] += 1
        try:
            yield
        finally:
            self._clients[key] -= 1
            if not self._clients[key]:
                del self._clients[key]


def endpoint(name: Sequence[object]) -> Endpoint:
    """A socket name of asyncio, ``(host, port, ...)``; an IPv4-mapped address made IPv4.

    Raises:
        ValueError: not an internet address.
    """
    return ClientAddress.parse(str(name[0])), int(str(name[1]))


def is_trusted(peer: ClientAddress, trusted: Sequence[Network]) -> bool:
    """Whether ``peer`` is one of those that must begin with a PROXY header, or may send XCLIENT."""
    return any(peer.ip in network for network in trusted)


def behind(header: Header, peer: Endpoint, local: Endpoint) -> tuple[Endpoint, Endpoint]:
    """Client and our own end as ``header`` names them, or the connection's own."""
    ends = header.endpoints
    if ends is None:
        return peer, local
    return (ends.source, ends.source_port), (ends.destination, ends.destination_port)


def renamed(peer: Peer, said: Xclient, own: Peer) -> Peer:
    """The client that ``peer`` names by XCLIENT: what is not given holds, what is not known is the connection's own.

    A new address has no name and no port but those given with it. HELO and PROTO may come in a command before it.
    """
    if not isinstance(said.address, Absent):
        told = replace(peer.told, reverse=None)
        peer = replace(peer, address=said.address or own.address, port=0, told=told)
    told = peer.told
    if not isinstance(said.reverse, Absent):
        told = replace(told, reverse=said.reverse)
    if not isinstance(said.helo, Absent):
        told = replace(told, helo=said.helo or "")
    if not isinstance(said.extended, Absent):
        told = replace(told, extended=said.extended)
    if not isinstance(said.port, Absent):
        peer = replace(peer, port=said.port or 0)
    return replace(peer, told=told, local=_local(peer, said, own))


def _local(peer: Peer, said: Xclient, own: Peer) -> Endpoint:
    address, port = peer.local
    if not isinstance(said.local_address, Absent):
        address = said.local_address or own.local[0]
    if not isinstance(said.local_port, Absent):
        port = own.local[1] if said.local_port is None else said.local_port
    return address, port
