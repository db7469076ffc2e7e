"""Who is let in: the bounds on connections, and the reserve; who a peer is before and after its PROXY header or
XCLIENT; no I/O.

A connection may pass a proxy and then a relay: its PROXY header says first who the peer is, and what it says decides
whether XCLIENT is taken. After XCLIENT the client named by it is the peer, and is trusted no more than any other
(decision 0087).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from enum import StrEnum
from functools import lru_cache
from typing import Any, Final, NamedTuple

from mailguard import metrics
from mailguard.config import Limits, Network
from mailguard.facts import ClientAddress
from mailguard.net.proxy_protocol import Header
from mailguard.replies import Reply, reply
from mailguard.smtp.shared_counts import SharedCounts, Tally
from mailguard.smtp.story import Peer
from mailguard.smtp.xclient import Absent, Xclient

Endpoint = tuple[ClientAddress, int]
"""Address and port."""


class Why(StrEnum):
    """Why a connection is turned away."""

    SLOTS = "slots"
    CLIENT = "client"
    LAG = "lag"
    PROXY = "proxy"


class TurnedAway(Exception):
    """A connection is refused before there is a story of it; ``reply`` is a 421."""

    def __init__(self, why: Why, refusal: Reply) -> None:
        super().__init__(str(refusal))
        self.why: Final = why
        self.reply: Final = refusal


class Held:
    """What one connection is counted as, from now on until it gives that back. A context manager, too."""

    __slots__ = ("_cells", "_counts")

    def __init__(self, counts: SharedCounts, cells: tuple[int, ...]) -> None:
        self._counts = counts
        self._cells = cells
        counts.add(cells, 1)

    def give_back(self) -> None:
        """Count no more; more than once does no harm."""
        self._counts.add(self._cells, -1)
        self._cells = ()

    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        self.give_back()


class _Place(NamedTuple):
    """What of a client is always the same: whether it is a stranger, its number, and the cells that it counts in."""

    stranger: bool
    client: int
    cells: tuple[int, ...]


_CONNECTIONS, _STRANGERS, _UNNAMED = Tally.CONNECTIONS, Tally.STRANGERS, Tally.UNNAMED
_OF_UNNAMED: Final = (_UNNAMED,)
_OF_OURS: Final = (_CONNECTIONS,)
_OF_STRANGERS: Final = (_CONNECTIONS, _STRANGERS)


class Slots:
    """Who may be connected, over all listeners and all workers that share ``counts``.

    ``max_connections`` hold a slot at the most. Of these, strangers hold ``max_connections`` less the reserve: what is
    reserved is for ``own_relays`` and for this machine itself, so that mail of our own and whoever looks after us come
    through while strangers take all that they can have. Who is a stranger is known from the first octet on, but of a
    peer that sends a PROXY header behind it only: until then it holds no slot, and there may be as many of such as
    slots are free, and once more the reserve.

    Args:
        limits: ``max_connections``, its reserve, and ``max_connections_per_client`` (IPv4 address, IPv6 /64).
        own_relays: who is no stranger.
        counts: shared by workers; without them those of this process alone.
        overloaded: whether strangers are turned away because we are busy with those that we have.
    """

    def __init__(
        self,
        limits: Limits,
        own_relays: Sequence[Network] = (),
        counts: SharedCounts | None = None,
        overloaded: Callable[[], bool] = lambda: False,
    ) -> None:
        self._total = limits.max_connections
        self._reserve = limits.reserve
        self._per_client = limits.max_connections_per_client
        self._own_relays = tuple(own_relays)
        self._counts = counts or SharedCounts.alone()
        self._overloaded = overloaded
        self._place: Final = lru_cache(maxsize=1024)(self._placed)
        metrics.CONNECTION_SLOTS.labels("own").set(self._total)
        metrics.CONNECTION_SLOTS.labels("anybody").set(self._total - self._reserve)

    def unnamed(self) -> Held:
        """Wait for the PROXY header of a connection.

        Raises:
            TurnedAway: 421 4.3.2, too many are waited for.
        """
        return _looked_at(Held(self._counts, _OF_UNNAMED), self._refusal_of_unnamed())

    def client(self, address: ClientAddress) -> Held:
        """A slot for the client at ``address``.

        Raises:
            TurnedAway: 421 4.3.2, none is free for it or the worker is overloaded; 421 4.7.0, it has all of its own.
        """
        stranger, client, cells = self._place(address.text)
        if stranger and self._overloaded():
            raise _overloaded(Why.LAG, "the event loop lags")
        return _looked_at(Held(self._counts, cells), self._refusal(client, stranger))

    def _placed(self, text: str) -> _Place:
        address = ClientAddress.parse(text)
        stranger, client = not (address.ip.is_loopback or is_trusted(address, self._own_relays)), address.client_key
        cells = (_OF_STRANGERS if stranger else _OF_OURS) + self._counts.of_client(client)
        return _Place(stranger, client, cells)

    def _refusal_of_unnamed(self) -> TurnedAway | None:
        waiting = self._counts.total(_UNNAMED) + self._counts.total(_CONNECTIONS)
        if waiting > self._total + self._reserve:
            return _overloaded(Why.SLOTS, f"{waiting - 1} connections, with those that have sent no PROXY header")
        return None

    def _refusal(self, client: int, stranger: bool) -> TurnedAway | None:
        if (taken := self._counts.total(_CONNECTIONS)) > self._total:
            return _overloaded(Why.SLOTS, f"{taken - 1} connections")
        if stranger and (strangers := self._counts.total(_STRANGERS)) > self._total - self._reserve:
            return _overloaded(Why.SLOTS, f"{strangers - 1} connections of strangers")
        if not self._counts.within(client, self._per_client):
            cause = f"{self._counts.client(client) - 1} connections"
            return TurnedAway(Why.CLIENT, reply("too_many_connections").because(cause))
        return None


def _looked_at(held: Held, refusal: TurnedAway | None) -> Held:
    """Counted first, looked at then: of two workers at the last slot none has it rather than both."""
    if refusal is not None:
        held.give_back()
        raise refusal
    return held


def _overloaded(why: Why, cause: str) -> TurnedAway:
    return TurnedAway(why, reply("overloaded").because(cause))


def endpoint(name: Sequence[Any]) -> Endpoint:
    """A socket name of asyncio, ``(host, port, ...)``; an IPv4-mapped address made IPv4.

    Raises:
        ValueError: not an internet address.
    """
    return ClientAddress.parse(name[0]), name[1]


def is_trusted(peer: ClientAddress, trusted: Sequence[Network]) -> bool:
    """Whether ``peer`` is one of those that must begin with a PROXY header, may send XCLIENT, or are ours."""
    ip = peer.ip
    for network in trusted:  # noqa: SIM110  any() takes a generator, and this is asked three times a connection
        if ip in network:
            return True
    return False


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
