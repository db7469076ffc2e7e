"""One question under way: server after server, until one answers, all have failed, or nobody waits for it any more.

It is made of callbacks and has no task but for TCP: a question to a DNS list is mostly one datagram out and one in, and
a task would cost more than both. A server that is silent for ``timeout`` or fails gives way to the next; those that
were silent are asked again, ``attempts`` times in all, since a datagram can get lost.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from functools import partial
from typing import TypeAlias

from mailguard import config
from mailguard.dns import wire
from mailguard.dns.answers import AnyAnswer, Failed, Failure, Question
from mailguard.dns.ids import Ids
from mailguard.dns.servers import Server, Servers
from mailguard.dns.transport import Transport

Landed: TypeAlias = AnyAnswer | Exception
"""How a question ended; an exception is a bug of ours, for nothing that the network does raises one."""


class Flight:
    """``question`` under way from :meth:`start` on, until ``landed`` is told how it ended or :meth:`call_off`.

    Attributes:
        question: what is asked.
    """

    __slots__ = (
        "_call_off", "_failures", "_ids", "_landed", "_loop", "_query", "_server", "_servers", "_settings", "_silent",
        "_task", "_timer", "_transport", "_tries", "question",
    )  # fmt: skip

    def __init__(
        self,
        question: Question,
        settings: config.Dns,
        servers: Servers,
        transport: Transport,
        ids: Ids,
        landed: Callable[[Flight, Landed], None],
    ) -> None:
        self.question = question
        self._settings = settings
        self._servers = servers
        self._transport = transport
        self._ids = ids
        self._landed = landed
        self._loop = asyncio.get_running_loop()
        self._tries = self._each_try()
        self._silent: list[Server] = []
        self._failures: list[tuple[Server, Failed]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._call_off: Callable[[], None] | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Ask the first server."""
        self._next()

    def call_off(self) -> None:
        """Nobody waits any more: what is under way ends, and ``landed`` is told nothing."""
        self._end_try()

    def _each_try(self) -> Iterator[Server]:
        servers = self._servers.in_order()
        for _ in range(self._settings.attempts):
            self._silent = []
            yield from servers
            servers = self._silent

    def _next(self) -> None:
        """Ask the next server; where none is left the question has failed."""
        for server in self._tries:
            self._server = server
            try:
                self._ask(server)
            except OSError as error:
                self._note_failure(error)
            except Exception as bug:  # noqa: BLE001  whoever waits is told, and defers
                self._land(bug)
                return
            else:
                return
        whys = dict.fromkeys(f"{server} {failure.why}" for server, failure in self._failures)
        self._land(Failed(self._failures[-1][1].kind, "; ".join(whys)))

    def _ask(self, server: Server) -> None:
        query = self._query = wire.encode(self.question, self._ids.draw())
        self._call_off = self._transport.ask(server, query, partial(wire.echoes, query), self._replied)
        self._timer = self._loop.call_later(self._settings.timeout, self._broken, TimeoutError())

    def _replied(self, reply: bytes | Exception) -> None:
        """A datagram is here, or the network's refusal."""
        self._call_off = None
        if not isinstance(reply, bytes):
            self._broken(reply)
            return
        try:
            if wire.truncated(reply):
                self._task = self._loop.create_task(self._by_tcp())
            else:
                self._answered(reply)
        except Exception as bug:  # noqa: BLE001  see _next
            self._land(bug)

    async def _by_tcp(self) -> None:
        """Ask the same server again by TCP, for UDP could not hold the reply."""
        try:
            reply = await self._transport.tcp(self._server, self._query)
            if not wire.echoes(self._query, reply) or wire.truncated(reply):
                raise ConnectionError("the reply by TCP does not fit the question")
        except Exception as error:  # noqa: BLE001  the network's, or a bug: _broken tells them apart
            self._task = None
            self._broken(error)
        else:
            self._task = None
            self._answered(reply)

    def _answered(self, reply: bytes) -> None:
        """``reply`` fits the question; what it says may still be a failure of this server."""
        self._servers.answered(self._server)
        answer = wire.decode(self.question, reply)
        if not isinstance(answer, Failed):
            self._land(answer)
            return
        self._end_try()
        self._failures.append((self._server, answer))
        self._next()

    def _broken(self, error: Exception) -> None:
        """This server said nothing, or the network refused."""
        self._end_try()
        if isinstance(error, OSError | EOFError):
            self._note_failure(error)
            self._next()
        else:
            self._land(error)

    def _note_failure(self, error: OSError | EOFError) -> None:
        server = self._server
        if isinstance(error, TimeoutError):
            self._silent.append(server)
            self._servers.silent(server)
            failed = Failed(Failure.TIMEOUT, f"silent for {self._settings.timeout:g} s")
        else:
            self._servers.unreachable(server)
            failed = Failed(Failure.ERROR, str(error) or type(error).__name__)
        self._failures.append((server, failed))

    def _end_try(self) -> None:
        """Nothing of the present try goes on."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._call_off is not None:
            self._call_off()
            self._call_off = None
        if self._task is not None:
            self._task.cancel()
            self._task = None

    def _land(self, how: Landed) -> None:
        self._end_try()
        self._landed(self, how)
