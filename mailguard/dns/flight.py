"""One question under way: server after server, until one answers, all have failed, or nobody waits for it any more.

It is made of callbacks and has no task but for TCP: a question to a DNS list is mostly one datagram out and one in, and
a task would cost more than both. A server that is silent for ``timeout`` or fails gives way to the next; those that
were silent are asked again, ``attempts`` times in all, since a datagram can get lost.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from mailguard import config
from mailguard.dns import wire
from mailguard.dns.answers import AnyAnswer, Failed, Failure
from mailguard.dns.ids import Ids
from mailguard.dns.question import Question
from mailguard.dns.servers import Server, Servers
from mailguard.dns.transport import Line, Transport
from mailguard.net.deadlines import Deadlines

if TYPE_CHECKING:
    from mailguard.dns.inquiry import Inquiry


@dataclass(frozen=True, slots=True)
class Airport:
    """What all flights of one resolver have: their bounds, whom and how they ask, and who is told how they ended.

    Attributes:
        landed: told the answer.
        crashed: told of a bug of ours, for nothing that the network does raises an exception.
    """

    settings: config.Dns
    servers: Servers
    transport: Transport
    ids: Ids
    deadlines: Deadlines
    landed: Callable[[Flight, AnyAnswer], None]
    crashed: Callable[[Flight, Exception], None]

    def patience(self) -> float:
        """Loop time until which a server that is asked now may be silent."""
        return asyncio.get_running_loop().time() + self.settings.timeout


def _each_try(servers: Sequence[Server], attempts: int, silent: list[Server]) -> Iterator[Server]:
    """Whom to ask, one after the other; whoever asks notes in ``silent`` which of them say nothing."""
    for _ in range(attempts):
        silent.clear()
        yield from servers
        servers = tuple(silent)


class _Trouble:
    """The tries of one question that failed, and whom to ask after them; most questions have none.

    Attributes:
        failures: what came of each.
        silent: the servers among them that said nothing.
        tries: whom to ask next.
    """

    def __init__(self, servers: Sequence[Server], attempts: int) -> None:
        self.failures: Final[list[tuple[Server, Failed]]] = []
        self.silent: Final[list[Server]] = []
        self.tries: Final = _each_try(servers, attempts, self.silent)
        next(self.tries)  # the first was asked


class Flight:
    """``question`` under way from :meth:`start` on, until it has landed or :meth:`call_off`.

    Attributes:
        question: what is asked.
        query: as it was sent last.
        fresh: the answer is neither to be kept nor shared.
        askers: who waits for the answer, each with its place among those that he wants.
        started: when it was sent, by the resolver's clock; None: not yet, or it is over.
    """

    __slots__ = (
        "_airport", "_line", "_server", "_servers", "_task", "_trouble", "askers", "fresh", "query", "question",
        "started",
    )  # fmt: skip

    def __init__(self, question: Question, airport: Airport, fresh: bool) -> None:
        self.question: Final = question
        self.fresh: Final = fresh
        self.askers: list[tuple[Inquiry[Any], int]] = []
        self.started: float | None = None
        self._airport = airport
        self._trouble: _Trouble | None = None
        self._line: Line | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self, now: float, patience: float) -> None:
        """Ask the first server; it is ``now`` by the resolver's clock, and see :class:`Airport`."""
        self.started = now
        self._servers = self._airport.servers.in_order()
        if not self._under_way_to(self._servers[0], patience):
            self._next()

    def call_off(self) -> None:
        """Nobody waits any more: what is under way ends, and nobody is told."""
        self._end_try()

    def late(self) -> None:
        """The server is silent for as long as it may be."""
        self._broken(TimeoutError())

    def _next(self) -> None:
        """Ask the next server; where none is left the question has failed."""
        trouble = self._so_far()
        for server in trouble.tries:
            if self._under_way_to(server, self._airport.patience()):
                return
        whys = dict.fromkeys(f"{server} {failure.why}" for server, failure in trouble.failures)
        self._airport.landed(self, Failed(trouble.failures[-1][1].kind, "; ".join(whys)))

    def _under_way_to(self, server: Server, patience: float) -> bool:
        """Ask ``server``; false where the network refuses at once, so that it is the next one's turn."""
        airport = self._airport
        self._server = server
        try:
            self.query = wire.encode(self.question, airport.ids.draw())
            self._line = airport.transport.ask(server, self)
        except OSError as error:
            self._note_failure(error)
            return False
        except Exception as bug:  # noqa: BLE001  whoever waits is told, and defers
            airport.crashed(self, bug)
        else:
            airport.deadlines.set(self, patience)
        return True

    def refused(self, error: Exception) -> None:
        """See :class:`Asker`."""
        self._line = None
        self._broken(error)

    def replied(self, reply: bytes) -> None:
        """See :class:`Asker`."""
        self._line = None
        if wire.truncated(reply):
            self._task = asyncio.get_running_loop().create_task(self._by_tcp())
        else:
            self._answered(reply)

    async def _by_tcp(self) -> None:
        """Ask the same server again by TCP, for UDP could not hold the reply."""
        try:
            reply = await self._airport.transport.tcp(self._server, self.query)
            if not wire.echoes(self.query, reply) or wire.truncated(reply):
                raise ConnectionError("the reply by TCP does not fit the question")
        except Exception as error:  # noqa: BLE001  the network's, or a bug: _broken tells them apart
            self._task = None
            self._broken(error)
        else:
            self._task = None
            self._answered(reply)

    def _answered(self, reply: bytes) -> None:
        """``reply`` fits the question; what it says may still be a failure of this server."""
        airport = self._airport
        airport.deadlines.clear(self)
        airport.servers.answered(self._server)
        try:
            answer = wire.decode(self.question, reply)
        except Exception as bug:  # noqa: BLE001  see _under_way_to
            airport.crashed(self, bug)
            return
        if isinstance(answer, Failed):
            self._so_far().failures.append((self._server, answer))
            self._next()
        else:
            airport.landed(self, answer)

    def _broken(self, error: Exception) -> None:
        """This server said nothing, or the network refused."""
        self._end_try()
        if isinstance(error, OSError | EOFError):
            self._note_failure(error)
            self._next()
        else:
            self._airport.crashed(self, error)

    def _note_failure(self, error: OSError | EOFError) -> None:
        server, trouble = self._server, self._so_far()
        if isinstance(error, TimeoutError):
            trouble.silent.append(server)
            self._airport.servers.silent(server)
            failed = Failed(Failure.TIMEOUT, f"silent for {self._airport.settings.timeout:g} s")
        else:
            self._airport.servers.unreachable(server)
            failed = Failed(Failure.ERROR, str(error) or type(error).__name__)
        trouble.failures.append((server, failed))

    def _so_far(self) -> _Trouble:
        """What went wrong so far."""
        if self._trouble is None:
            self._trouble = _Trouble(self._servers, self._airport.settings.attempts)
        return self._trouble

    def _end_try(self) -> None:
        """Nothing of the present try goes on."""
        self._airport.deadlines.clear(self)
        if self._line is not None:
            self._line.call_off(self)
            self._line = None
        if self._task is not None:
            self._task.cancel()
            self._task = None
