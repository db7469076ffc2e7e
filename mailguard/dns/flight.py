"""One question under way: server after server, until one answers, all have failed, or nobody waits for it any more.

It is made of callbacks and has no task but for TCP: a question to a DNS list is mostly one datagram out and one in, and
a task would cost more than both. A server that is silent for ``timeout`` or fails gives way to the next; those that
were silent are asked again, ``attempts`` times in all, since a datagram can get lost.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from mailguard import config
from mailguard.dns import wire
from mailguard.dns.answers import AnyAnswer, Failed, Failure, Question
from mailguard.dns.deadlines import Deadlines
from mailguard.dns.ids import Ids
from mailguard.dns.servers import Server, Servers
from mailguard.dns.transport import Transport

if TYPE_CHECKING:
    from mailguard.dns.inquiry import Inquiry

Landed: TypeAlias = AnyAnswer | Exception
"""How a question ended; an exception is a bug of ours, for nothing that the network does raises one."""


@dataclass(frozen=True, slots=True)
class Airport:
    """What all flights of one resolver have: their bounds, whom and how they ask, and who is told how they ended."""

    settings: config.Dns
    servers: Servers
    transport: Transport
    ids: Ids
    deadlines: Deadlines
    landed: Callable[[Flight, Landed], None]


def _each_try(servers: Sequence[Server], attempts: int, silent: list[Server]) -> Iterator[Server]:
    """Whom to ask, one after the other; whoever asks notes in ``silent`` which of them say nothing."""
    for _ in range(attempts):
        silent.clear()
        yield from servers
        servers = tuple(silent)


class Flight:
    """``question`` under way from :meth:`start` on, until it has landed or :meth:`call_off`.

    Attributes:
        question: what is asked.
        fresh: the answer is neither to be kept nor shared.
        askers: who waits for the answer, each with its place among those that he wants.
        started: when it was sent, by the resolver's clock; None: not yet, or it is over.
    """

    __slots__ = (
        "_airport", "_call_off", "_failures", "_query", "_server", "_silent", "_task", "_tries", "askers", "fresh",
        "question", "started",
    )  # fmt: skip

    def __init__(self, question: Question, airport: Airport, fresh: bool) -> None:
        self.question: Final = question
        self.fresh: Final = fresh
        self.askers: list[tuple[Inquiry[Any], int]] = []
        self.started: float | None = None
        self._airport = airport
        self._silent: list[Server] = []
        self._tries = _each_try(airport.servers.in_order(), airport.settings.attempts, self._silent)
        self._failures: list[tuple[Server, Failed]] = []
        self._call_off: Callable[[], None] | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self, now: float) -> None:
        """Ask the first server; it is ``now`` by the resolver's clock."""
        self.started = now
        self._next()

    def call_off(self) -> None:
        """Nobody waits any more: what is under way ends, and nobody is told."""
        self._end_try()

    def late(self) -> None:
        """The server is silent for as long as it may be."""
        self._broken(TimeoutError())

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
        airport = self._airport
        self._query = wire.encode(self.question, airport.ids.draw())
        self._call_off = airport.transport.ask(server, self._query, self._replied)
        airport.deadlines.set(self, asyncio.get_running_loop().time() + airport.settings.timeout)

    def _replied(self, reply: bytes | Exception) -> None:
        """A datagram is here, or the network's refusal."""
        self._call_off = None
        if not isinstance(reply, bytes):
            self._broken(reply)
            return
        try:
            if wire.truncated(reply):
                self._task = asyncio.get_running_loop().create_task(self._by_tcp())
            else:
                self._answered(reply)
        except Exception as bug:  # noqa: BLE001  see _next
            self._land(bug)

    async def _by_tcp(self) -> None:
        """Ask the same server again by TCP, for UDP could not hold the reply."""
        try:
            reply = await self._airport.transport.tcp(self._server, self._query)
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
        self._airport.servers.answered(self._server)
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
            self._airport.servers.silent(server)
            failed = Failed(Failure.TIMEOUT, f"silent for {self._airport.settings.timeout:g} s")
        else:
            self._airport.servers.unreachable(server)
            failed = Failed(Failure.ERROR, str(error) or type(error).__name__)
        self._failures.append((server, failed))

    def _end_try(self) -> None:
        """Nothing of the present try goes on."""
        self._airport.deadlines.clear(self)
        if self._call_off is not None:
            self._call_off()
            self._call_off = None
        if self._task is not None:
            self._task.cancel()
            self._task = None

    def _land(self, how: Landed) -> None:
        self._end_try()
        self._airport.landed(self, how)
