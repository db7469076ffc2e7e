"""The stub resolver: one question at a time, however many ask it, within the asker's deadline, answered in three ways.

- *Deadline.* Each asker gives an absolute time of the event loop; at it, he has :class:`Failed`, whatever goes on
  below.
- *Coalescing.* Who asks what is already under way joins. A question (:mod:`mailguard.dns.flight`) ends when it is
  answered, when all attempts have failed, or when nobody waits for it any more; that one asker goes (deadline,
  cancellation) does not touch it.
- *Cache.* Answers for their TTL, "none" for its zone's negative TTL (RFC 2308 5), failures for ``failure_ttl`` (RFC
  9520 3.2 wants at least a second), all within ``max_ttl`` and ``cache_size``.
- *Conclusions.* What was found out by several questions (:mod:`mailguard.dns.inquiry`) is kept as long as all their
  answers, ``cache_size`` of them too: about a client that comes again nothing is put together anew.
- *Bounds.* ``max_questions`` are under way at the same time; the others wait for their turn.

On failure: never an exception for anything that the network or a reply can do.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from ipaddress import IPv4Address, IPv6Address
from typing import Any, Literal, TypeVar, overload

from mailguard import config, metrics
from mailguard.dns.answers import (
    AnyAnswer,
    Failed,
    Failure,
    Found,
    MailExchange,
    NotFound,
    StartOfAuthority,
)
from mailguard.dns.cache import TtlCache
from mailguard.dns.flight import Airport, Flight
from mailguard.dns.ids import Ids
from mailguard.dns.inquiry import Asked, Inquiry, Steps, Timed
from mailguard.dns.question import TYPE, TYPE_CODES, Question, RecordType, about
from mailguard.dns.servers import Server, Servers, system_servers
from mailguard.dns.transport import NetworkTransport, Transport
from mailguard.net.deadlines import Deadlines

T = TypeVar("T")
_HIT, _MISS, _JOINED = (metrics.DNS_CACHE.labels(result=result) for result in ("hit", "miss", "joined"))
_SECONDS = {code: metrics.DNS_SECONDS.labels(type=rdtype) for rdtype, code in TYPE_CODES.items()}


def _once(asked: Asked) -> Steps[Sequence[Timed]]:
    """The steps of who wants nothing but answers."""
    return (yield asked)


class Resolver:
    """A caching stub resolver; see the head of the module. It belongs to one event loop.

    Args:
        settings: servers and bounds.
        clock: now in seconds, for TTLs and durations; deadlines are in the event loop's own time.
        transport: the way to the servers; the network where None.

    Raises:
        ValueError: ``settings.servers`` holds no address, or it is empty and resolv.conf names none.
    """

    def __init__(self, settings: config.Dns, clock: Callable[[], float], transport: Transport | None = None) -> None:
        servers = [Server.parse(text) for text in settings.servers] or system_servers()
        self._settings = settings
        self.clock = clock
        self.deadlines = Deadlines()
        self._airport = Airport(
            settings,
            Servers(servers, settings.server_retry, clock),
            transport or NetworkTransport(),
            Ids(),
            self.deadlines,
            self._landed,
            self._crashed,
        )
        self._cache: TtlCache[Question, AnyAnswer] = TtlCache(settings.cache_size, settings.max_ttl, clock)
        self._kept: TtlCache[Hashable, Inquiry[Any]] = TtlCache(settings.cache_size, settings.max_ttl, clock)
        self._under_way: dict[Question, Flight] = {}
        self._waiting: deque[Flight] = deque()
        self._sent = 0

    @overload
    async def resolve(
        self, name: str, rdtype: Literal["A"], deadline: float, *, fresh: bool = ...
    ) -> Found[IPv4Address] | NotFound | Failed: ...
    @overload
    async def resolve(
        self, name: str, rdtype: Literal["AAAA"], deadline: float, *, fresh: bool = ...
    ) -> Found[IPv6Address] | NotFound | Failed: ...
    @overload
    async def resolve(
        self, name: str, rdtype: Literal["PTR"], deadline: float, *, fresh: bool = ...
    ) -> Found[str] | NotFound | Failed: ...
    @overload
    async def resolve(
        self, name: str, rdtype: Literal["MX"], deadline: float, *, fresh: bool = ...
    ) -> Found[MailExchange] | NotFound | Failed: ...
    @overload
    async def resolve(
        self, name: str, rdtype: Literal["TXT"], deadline: float, *, fresh: bool = ...
    ) -> Found[bytes] | NotFound | Failed: ...
    @overload
    async def resolve(
        self, name: str, rdtype: Literal["SOA"], deadline: float, *, fresh: bool = ...
    ) -> Found[StartOfAuthority] | NotFound | Failed: ...
    @overload
    async def resolve(self, name: str, rdtype: RecordType, deadline: float, *, fresh: bool = ...) -> AnyAnswer: ...

    async def resolve(self, name: str, rdtype: RecordType, deadline: float, *, fresh: bool = False) -> AnyAnswer:
        """Ask for the records of one type of one name.

        Args:
            name: absolute, ASCII, with or without the final dot. Strangers' names go through ``names.host_name`` first.
            rdtype: the type.
            deadline: loop time at which to give up.
            fresh: ask the servers anew: neither take from the cache and from a question under way, nor give to them.
        """
        try:
            question = about(name, rdtype)
        except ValueError as error:
            return Failed(Failure.ERROR, str(error))
        [(answer, _)] = await self.resolve_all([question], deadline, fresh=fresh)
        return answer

    def resolve_all(self, asked: Asked, deadline: float, *, fresh: bool = False) -> Inquiry[Sequence[Timed]]:
        """Ask for several records at once, as :meth:`resolve` for one; the answers in the order of ``asked``."""
        return Inquiry(self, None, _once(asked), deadline, fresh).begin()

    def inquire(
        self, key: Hashable, steps: Callable[[], Steps[T]], deadline: float, again: Callable[[T], None] | None = None
    ) -> Inquiry[T]:
        """Find out by ``steps`` what ``key`` names; it begins now, and may be done when it is returned.

        A conclusion is kept as long as all answers are that it rests on, and is then given again without a step.

        Args:
            key: names what is found out, among all that is asked of this resolver.
            steps: made only where it must be found out.
            deadline: loop time at which what is missing is given up.
            again: told of a conclusion that was known.
        """
        known = self._kept.get(key)
        if known is None:
            return Inquiry(self, key, steps(), deadline, fresh=False).begin()
        _HIT.inc(known.questions)
        if again is not None:
            again(known.result())
        return known

    def keep(self, inquiry: Inquiry[Any]) -> None:
        """See :class:`Desk`."""
        self._kept.put(inquiry.key, inquiry, inquiry.expires - self.clock())

    def take(self, inquiry: Inquiry[Any], asked: Asked) -> None:
        """See :class:`Desk`."""
        in_time = inquiry.deadline > asyncio.get_running_loop().time()
        for place, question in enumerate(asked):
            if not inquiry.fresh and (cached := self._cache.entry(question)) is not None:
                _HIT.inc()
                expires, answer = cached
                inquiry.known(place, answer, expires)
            elif in_time:
                inquiry.expect(place, self._flight(question, inquiry.fresh))
        self._start_waiting()  # not before all are expected: a question may fail at once

    def _flight(self, question: Question, fresh: bool) -> Flight:
        """That of ``question``: the one under way, or another."""
        flight = None if fresh else self._under_way.get(question)
        if flight is not None:
            _JOINED.inc()
            return flight
        flight = Flight(question, self._airport, fresh)
        if not fresh:
            _MISS.inc()
            self._under_way[question] = flight
        self._waiting.append(flight)
        return flight

    def _start_waiting(self) -> None:
        """Send those that wait for their turn, as many as may be under way."""
        waiting, now, patience = self._waiting, self.clock(), self._airport.patience()
        while waiting and self._sent < self._settings.max_questions:
            flight = waiting.popleft()
            if flight.askers:
                self._sent += 1
                flight.start(now, patience)

    def _landed(self, flight: Flight, answer: AnyAnswer) -> None:
        """A question ended: keep the answer, tell all who wait for it, and let the next one go."""
        now, expires = self.clock(), 0.0
        _SECONDS[flight.question[TYPE]].observe(now - (flight.started or 0.0))
        if not flight.fresh:
            ttl = self._settings.failure_ttl if isinstance(answer, Failed) else answer.ttl
            expires = self._cache.put(flight.question, answer, ttl)
        for inquiry, place in self._over(flight):
            inquiry.told(place, answer, now, expires)
        if self._waiting:
            self._start_waiting()

    def _crashed(self, flight: Flight, bug: Exception) -> None:
        """A bug ended a question: whoever waits for it is told, and nothing is kept."""
        for inquiry, _ in self._over(flight):
            inquiry.crashed(bug)
        if self._waiting:
            self._start_waiting()

    def abandon(self, flight: Flight) -> None:
        """See :class:`Desk`."""
        if flight.started is not None:
            flight.call_off()
        self._over(flight)
        if self._waiting:
            self._start_waiting()

    def _over(self, flight: Flight) -> Sequence[tuple[Inquiry[Any], int]]:
        """``flight`` is not under way any more; who waited for it, at which place."""
        if flight.started is not None:
            self._sent -= 1
            flight.started = None
        if self._under_way.get(flight.question) is flight:
            del self._under_way[flight.question]
        askers, flight.askers = flight.askers, []
        return askers
