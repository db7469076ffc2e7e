"""The stub resolver: one question at a time, however many ask it, within the asker's deadline, answered in three ways.

- *Deadline.* Each asker gives an absolute time of the event loop; at it, he has :class:`Failed`, whatever goes on
  below.
- *Coalescing.* Who asks what is already under way joins. A question ends when it is answered, when all attempts have
  failed, or when nobody waits for it any more; that one asker goes (deadline, cancellation) does not touch it.
- *Cache.* Answers for their TTL, "none" for its zone's negative TTL (RFC 2308 5), failures for ``failure_ttl`` (RFC
  9520 3.2 wants at least a second), all within ``max_ttl`` and ``cache_size``.
- *Servers.* In order; one that is silent for ``timeout`` or fails gives way to the next. Those that were silent are
  asked again, ``attempts`` times in all: a datagram can get lost.

On failure: never an exception for anything that the network or a reply can do.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, IPv6Address
from typing import Literal, overload

from mailguard import config, metrics
from mailguard.dns import wire
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
from mailguard.dns.servers import Server, Servers, system_servers
from mailguard.dns.transport import NetworkTransport, Transport

_HIT, _MISS, _JOINED = (metrics.DNS_CACHE.labels(result=result) for result in ("hit", "miss", "joined"))
_SECONDS = {rdtype: metrics.DNS_SECONDS.labels(type=rdtype) for rdtype in TYPE_CODES}


class _Flight:
    """A question under way and how many wait for it."""

    def __init__(self, task: asyncio.Task[AnyAnswer]) -> None:
        self._task = task
        self._askers = 0

    @property
    def joinable(self) -> bool:
        """Whether somebody still waits: otherwise the question is being called off."""
        return self._askers > 0

    async def answer(self, deadline: float) -> AnyAnswer:
        """The answer, or the failure to be there by ``deadline`` (loop time)."""
        self._askers += 1
        try:
            await asyncio.wait({self._task}, timeout=max(0.0, deadline - asyncio.get_running_loop().time()))
        finally:
            self._askers -= 1
            if not self._askers:
                self._task.cancel()
        if not self._task.done() or self._task.cancelled():
            return _too_late()
        return self._task.result()


def _too_late() -> Failed:
    return Failed(Failure.TIMEOUT, "no answer by the deadline")


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
        self._flights: dict[Question, _Flight] = {}
        self._slots = asyncio.Semaphore(settings.max_questions)

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
            question = Question.about(name, rdtype)
        except ValueError as error:
            return Failed(Failure.ERROR, str(error))
        if not fresh and (cached := self._cache.get(question)) is not None:
            _HIT.inc()
            return cached
        if deadline <= asyncio.get_running_loop().time():
            return _too_late()
        if fresh:
            return await _Flight(asyncio.create_task(self._ask(question))).answer(deadline)
        return await self._flight(question).answer(deadline)

    def _flight(self, question: Question) -> _Flight:
        """The question under way, or a new one."""
        flight = self._flights.get(question)
        if flight is not None and flight.joinable:
            _JOINED.inc()
            return flight
        _MISS.inc()
        task = asyncio.create_task(self._ask_and_keep(question))
        self._flights[question] = flight = _Flight(task)
        task.add_done_callback(lambda _: self._landed(question, flight))
        return flight

    def _landed(self, question: Question, flight: _Flight) -> None:
        if self._flights.get(question) is flight:
            del self._flights[question]

    async def _ask_and_keep(self, question: Question) -> AnyAnswer:
        answer = await self._ask(question)
        ttl = self._settings.failure_ttl if isinstance(answer, Failed) else answer.ttl
        self._cache.put(question, answer, ttl)
        return answer

    async def _ask(self, question: Question) -> AnyAnswer:
        async with self._slots:
            started = self._clock()
            answer = await self._ask_servers(question)
            _SECONDS[question.type].observe(self._clock() - started)
        return answer

    async def _ask_servers(self, question: Question) -> AnyAnswer:
        failures: list[tuple[Server, Failed]] = []
        servers: Sequence[Server] = self._servers.in_order()
        for _ in range(self._settings.attempts):
            silent = []
            for server in servers:
                answer = await self._ask_one(server, question)
                if not isinstance(answer, Failed):
                    return answer
                failures.append((server, answer))
                if answer.kind is Failure.TIMEOUT:
                    silent.append(server)
            servers = silent
        whys = dict.fromkeys(f"{server} {failure.why}" for server, failure in failures)
        return Failed(failures[-1][1].kind, "; ".join(whys))

    async def _ask_one(self, server: Server, question: Question) -> AnyAnswer:
        try:
            async with asyncio.timeout(self._settings.timeout):
                reply = await self._exchange(server, wire.encode(question, secrets.randbits(16)))
        except TimeoutError:
            self._servers.silent(server)
            return Failed(Failure.TIMEOUT, f"silent for {self._settings.timeout:g} s")
        except (OSError, EOFError) as error:
            self._servers.unreachable(server)
            return Failed(Failure.ERROR, str(error) or type(error).__name__)
        self._servers.answered(server)
        return wire.decode(question, reply)

    async def _exchange(self, server: Server, query: bytes) -> bytes:
        """The reply to ``query``, by TCP where UDP could not hold it.

        Raises:
            OSError, EOFError: as the transport.
        """
        reply = await self._transport.udp(server, query, lambda datagram: wire.echoes(query, datagram))
        if not wire.truncated(reply):
            return reply
        reply = await self._transport.tcp(server, query)
        if not wire.echoes(query, reply) or wire.truncated(reply):
            raise ConnectionError("the reply by TCP does not fit the question")
        return reply
