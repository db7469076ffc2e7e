"""Something to find out by questions to the DNS, in steps: carried on by callbacks, with no task where nobody waits.

The *steps* are a generator: it yields the questions that it wants answered next, is sent their answers, and returns its
conclusion; so what to ask, and what the answers mean, is told as one function without I/O. Where every answer is there
already, the conclusion is there when the inquiry begins.

Each has a deadline (loop time). At it, what is missing becomes :data:`TOO_LATE`, and so does at once whatever a later
step asks for that is not in the cache. An exception out of the steps is a bug; whoever wants the conclusion gets it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Hashable, Sequence
from typing import Any, Final, Generic, Protocol, Self, TypeAlias, TypeVar

from mailguard.dns.answers import AnyAnswer, Failed, Failure
from mailguard.dns.flight import Flight
from mailguard.dns.question import Question
from mailguard.net.deadlines import Deadlines

T = TypeVar("T")
TOO_LATE: Final = Failed(Failure.TIMEOUT, "no answer by the deadline")
_EVER: Final = float("inf")


Timed: TypeAlias = tuple[AnyAnswer, float]
"""An answer, and the seconds that it took to come."""
Asked: TypeAlias = Sequence[Question]
Steps: TypeAlias = Generator[Asked, Sequence[Timed], T]


class Desk(Protocol):
    """Where inquiries ask, and are kept."""

    clock: Callable[[], float]
    """For the age of answers, and how long they took."""
    deadlines: Deadlines

    def take(self, inquiry: Inquiry[Any], asked: Asked) -> None:
        """See that ``inquiry`` is told the answers: at once, as far as they are known."""

    def abandon(self, flight: Flight) -> None:
        """Nobody waits for ``flight`` any more."""

    def keep(self, inquiry: Inquiry[Any]) -> None:
        """``inquiry`` is done, and what it rests on is good for a while."""


class Inquiry(Generic[T]):
    """One inquiry, from :meth:`begin` on. Awaiting it gives the conclusion; who is cancelled then has called it off.

    Args:
        desk: where to ask.
        key: what is found out, for the same to be known again; None: it is not kept.
        steps: see the head of the module.
        deadline: loop time.
        fresh: answers shall be neither old nor kept.

    Attributes:
        done: nothing more comes.
        expires: by the desk's clock, when the first of the answers is no longer good.
        questions: how many were asked.
        started: by the desk's clock, when the last of them were.
    """

    __slots__ = (
        "_answers", "_bug", "_conclusion", "_desk", "_flights", "_missing", "_steps", "_waiter", "deadline", "done",
        "expires", "fresh", "key", "questions", "started",
    )  # fmt: skip

    _conclusion: T

    def __init__(self, desk: Desk, key: Hashable, steps: Steps[T], deadline: float, fresh: bool) -> None:
        self.key, self.deadline, self.fresh = key, deadline, fresh
        self.done, self.expires, self.questions = False, _EVER, 0
        self._desk = desk
        self._steps = steps
        self._flights: list[Flight] = []
        self._bug: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None

    def begin(self) -> Self:
        """Take the first step, and all that follow without a wait."""
        self._go_on(None)
        return self

    def result(self) -> T:
        """The conclusion; to be asked for when it is done, and was not called off.

        Raises:
            Exception: what a bug raised.
        """
        if self._bug is not None:
            raise self._bug
        return self._conclusion

    async def settled(self) -> None:
        """Wait until it is done, which its deadline bounds. Who is cancelled here leaves it as it is."""
        if not self.done:
            if self._waiter is None or self._waiter.done():
                self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter

    def __await__(self) -> Generator[Any, None, T]:
        try:
            yield from self.settled().__await__()
        finally:
            self.call_off()
        return self.result()

    def call_off(self) -> None:
        """Nobody wants to know any more; where it is done already, this does nothing."""
        if not self.done:
            self._leave()
            self._steps.close()
            self._end()

    def expect(self, place: int, flight: Flight) -> None:
        """The answer at ``place`` is to be that of ``flight``."""
        self._missing += 1
        self._flights.append(flight)
        flight.askers.append((self, place))

    def known(self, place: int, answer: AnyAnswer, expires: float) -> None:
        """The answer at ``place`` was known before; it is good until ``expires``."""
        self._missing += 1
        self.told(place, answer, self.started, expires)

    def told(self, place: int, answer: AnyAnswer, now: float, expires: float) -> None:
        """What was expected at ``place`` is here, good until ``expires``; it is ``now`` by the desk's clock."""
        if self.done:
            return
        self._answers[place] = answer, now - self.started
        if expires < self.expires:
            self.expires = expires
        self._missing -= 1
        if not self._missing:
            self._answered()

    def _answered(self) -> None:
        answers = self._answers
        if None in answers:
            self.expires = -_EVER
            late = TOO_LATE, self._desk.clock() - self.started
            answers = [timed or late for timed in answers]
        self._go_on(answers)  # type: ignore[arg-type]  # none is None any more

    def _go_on(self, answers: list[Timed] | None) -> None:
        """Take the next step with ``answers`` to the one before, if any: it asks for more, or is the last."""
        try:
            asked = self._steps.send(answers)  # type: ignore[arg-type]  # to begin a generator is to send it None
        except StopIteration as end:
            self._conclude(end.value)
        except Exception as bug:  # noqa: BLE001  whoever wants the conclusion is told, and defers
            self.crashed(bug)
        else:
            self._ask(asked)

    def _ask(self, asked: Asked) -> None:
        desk = self._desk
        self._answers: list[Timed | None] = [None] * len(asked)
        self._missing = 1  # until all are asked for: the last of them may be known, or fail, at once
        self.questions += len(asked)
        self.started = desk.clock()
        desk.take(self, asked)
        if self.done:
            return
        self._missing -= 1
        if self._missing:
            desk.deadlines.set(self, self.deadline)
        else:
            self._answered()

    def late(self) -> None:
        """What is missing comes too late, and so will be all that is asked from now on."""
        self.deadline = -_EVER
        self._leave()
        self._answered()

    def _leave(self) -> None:
        """Wait no more for what is missing."""
        flights, self._flights = self._flights, []
        for flight in flights:
            flight.askers = [asker for asker in flight.askers if asker[0] is not self]
        for flight in flights:  # not before: it lets another go, which may fail at once
            if not flight.askers:
                self._desk.abandon(flight)

    def _conclude(self, conclusion: T) -> None:
        self._conclusion = conclusion
        self._end()
        if self.key is not None and self.questions:
            self._desk.keep(self)

    def crashed(self, bug: Exception) -> None:
        """There will be no conclusion: a bug is in the way."""
        if not self.done:
            self._bug = bug
            self.call_off()

    def _end(self) -> None:
        self.done = True
        self._answers, self._flights = [], []
        self._desk.deadlines.clear(self)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
