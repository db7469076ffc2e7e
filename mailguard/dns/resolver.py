"""The stub resolver: one question at a time, however many ask it, within the asker's deadline, answered in three ways.

- *Deadline.* Each asker gives an absolute time of the event loop; at it, he has :class:`Failed`, whatever goes on
  below.
- *Coalescing.* Who asks what is already under way joins. A question (:mod:`mailguard.dns.flight`) ends when it is
  answered, when all attempts have failed, or when nobody waits for it any more; that one asker goes (deadline,
  cancellation) does not touch it.
- *Cache.* Answers for their TTL, "none" for its zone's negative TTL (RFC 2308 5), failures for ``failure_ttl`` (RFC
  9520 3.2 wants at least a second), all within ``max_ttl`` and ``cache_size``.
- *Bounds.* ``max_questions`` are under way at the same time; the others wait for their turn.

On failure: never an exception for anything that the network or a reply can do.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, IPv6Address
from typing import Literal, NamedTuple, cast, overload

from mailguard import config, metrics
from mailguard.dns.answers import (
    TYPE_CODES,
    AnyAnswer,
    Failed,
    Failure,
    Found,
    MailExchange,
    NotFound,
    Question,
    RecordType,
    StartOfAuthority,
)
from mailguard.dns.cache import TtlCache
from mailguard.dns.flight import Flight, Landed
from mailguard.dns.servers import Server, Servers, system_servers
from mailguard.dns.transport import NetworkTransport, Transport

_HIT, _MISS, _JOINED = (metrics.DNS_CACHE.labels(result=result) for result in ("hit", "miss", "joined"))
_SECONDS = {rdtype: metrics.DNS_SECONDS.labels(type=rdtype) for rdtype in TYPE_CODES}
_TOO_LATE = Failed(Failure.TIMEOUT, "no answer by the deadline")


class Timed(NamedTuple):
    """An answer, and the seconds that it took to come."""

    answer: AnyAnswer
    seconds: float


class _Shared(Flight):
    """A question under way and who waits for it, each with the place of the answer among those that he wants.

    Attributes:
        askers: nobody any more: it is over or being called off.
        fresh: it neither gives to the cache nor may be joined.
        started: when it was sent, by the resolver's clock; None while it waits for its turn.
    """

    __slots__ = ("askers", "fresh", "started")

    askers: list[tuple[_Asker, int]]
    fresh: bool
    started: float | None


class _Asker:
    """Somebody who waits for some questions at once. ``answers``: by place, None where there is none yet."""

    __slots__ = ("_clock", "_future", "_missing", "_started", "answers")

    def __init__(self, count: int, clock: Callable[[], float]) -> None:
        self.answers: list[Timed | None] = [None] * count
        self._clock = clock
        self._started = clock()
        self._missing: dict[int, _Shared] = {}
        self._future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def waits(self) -> bool:
        """Whether an answer may still come."""
        return bool(self._missing)

    @property
    def waited(self) -> float:
        """Seconds since it asked."""
        return self._clock() - self._started

    def expect(self, place: int, question: _Shared) -> None:
        """The answer at ``place`` is to be that of ``question``."""
        self._missing[place] = question
        question.askers.append((self, place))

    def told(self, place: int, how: Landed) -> None:
        """One question ended."""
        if self._missing.pop(place, None) is None or self._future.done():
            return
        if isinstance(how, Exception):
            self._future.set_exception(how)
            return
        self.answers[place] = Timed(how, self.waited)
        if not self._missing:
            self._future.set_result(None)

    async def wait(self, deadline: float) -> None:
        """Wait until all is answered, or for the deadline (loop time).

        Raises:
            Exception: what a bug raised on the way.
        """
        timer = asyncio.get_running_loop().call_at(deadline, self._late)
        try:
            await self._future
        finally:
            timer.cancel()

    def leave(self) -> list[_Shared]:
        """Wait no more; the questions that nobody waits for now."""
        missing, self._missing = self._missing, {}
        for place, question in missing.items():
            question.askers.remove((self, place))
        return [question for question in missing.values() if not question.askers]

    def _late(self) -> None:
        if not self._future.done():
            self._future.set_result(None)


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
        self._clock = clock
        self._transport = transport or NetworkTransport()
        self._servers = Servers(servers, settings.server_retry, clock)
        self._cache: TtlCache[Question, AnyAnswer] = TtlCache(settings.cache_size, settings.max_ttl, clock)
        self._under_way: dict[Question, _Shared] = {}
        self._waiting: deque[_Shared] = deque()
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
        return (await self.resolve_all([(name, rdtype)], deadline, fresh=fresh))[0].answer

    async def resolve_all(
        self, questions: Sequence[tuple[str, RecordType]], deadline: float, *, fresh: bool = False
    ) -> list[Timed]:
        """Ask for several records at once, as :meth:`resolve` for one; the answers in the order of ``questions``."""
        asker = _Asker(len(questions), self._clock)
        try:
            for place, (name, rdtype) in enumerate(questions):
                self._ask_for(asker, place, name, rdtype, deadline, fresh)
            self._start_waiting()  # not before all are expected: a question may fail at once
            if asker.waits:
                await asker.wait(deadline)
        finally:
            for question in asker.leave():
                self._call_off(question)
        return [timed or Timed(_TOO_LATE, asker.waited) for timed in asker.answers]

    def _ask_for(self, asker: _Asker, place: int, name: str, rdtype: RecordType, deadline: float, fresh: bool) -> None:
        """See that ``asker`` gets this answer: at once, where no server needs to be asked."""
        try:
            question = Question.about(name, rdtype)
        except ValueError as error:
            asker.answers[place] = Timed(Failed(Failure.ERROR, str(error)), 0.0)
            return
        if not fresh and (cached := self._cache.get(question)) is not None:
            _HIT.inc()
            asker.answers[place] = Timed(cached, 0.0)
        elif deadline > asyncio.get_running_loop().time():
            self._join(asker, place, question, fresh)

    def _join(self, asker: _Asker, place: int, question: Question, fresh: bool) -> None:
        """Have ``asker`` wait for ``question``, that under way or a new one."""
        shared = None if fresh else self._under_way.get(question)
        if shared is not None:
            _JOINED.inc()
            asker.expect(place, shared)
            return
        shared = _Shared(question, self._settings, self._servers, self._transport, self._landed)
        shared.askers, shared.fresh, shared.started = [], fresh, None
        if not fresh:
            _MISS.inc()
            self._under_way[question] = shared
        asker.expect(place, shared)
        self._waiting.append(shared)

    def _start_waiting(self) -> None:
        """Send those that wait for their turn, as many as may be under way."""
        while self._waiting and self._sent < self._settings.max_questions:
            question = self._waiting.popleft()
            if question.askers:
                self._sent += 1
                question.started = self._clock()
                question.start()

    def _landed(self, flight: Flight, how: Landed) -> None:
        """A question ended: keep the answer, tell all who wait for it, and let the next one go."""
        question = cast(_Shared, flight)
        if not isinstance(how, Exception):
            _SECONDS[question.question.type].observe(self._clock() - (question.started or 0.0))
            if not question.fresh:
                ttl = self._settings.failure_ttl if isinstance(how, Failed) else how.ttl
                self._cache.put(question.question, how, ttl)
        self._forget(question)
        askers, question.askers = question.askers, []
        for asker, place in askers:
            asker.told(place, how)
        self._start_waiting()

    def _call_off(self, question: _Shared) -> None:
        """Nobody waits for ``question`` any more."""
        if question.started is not None:
            question.call_off()
        self._forget(question)
        self._start_waiting()

    def _forget(self, question: _Shared) -> None:
        self._sent -= question.started is not None
        question.started = None
        if self._under_way.get(question.question) is question:
            del self._under_way[question.question]
