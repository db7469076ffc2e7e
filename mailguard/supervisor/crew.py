"""A generation of workers: one settings, one policy, N seats, each with a worker or waiting for its next.

A generation starts by getting all its workers ready; only when all are do they accept clients, so that one that cannot
work serves nobody for a moment. From then on a worker that dies is replaced behind a delay (``supervisor.backoff``).
Of a generation that drains nobody is replaced.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from mailguard.channel import Kind, Message
from mailguard.config import Settings
from mailguard.log import logger
from mailguard.supervisor.backoff import Backoff
from mailguard.supervisor.child import Child, State
from mailguard.supervisor.reactor import Reactor, Timer


@dataclass(eq=False)
class Policy:
    """A policy that workers run: its snapshot, and what is to be said of it.

    Attributes:
        number: counted up with each that is taken.
        descriptor: the snapshot (``mailguard.snapshot``).
        loaded: when, as Unix time.
        sources: every path that was looked at for it.
    """

    number: int
    descriptor: int
    path: str
    digest: str
    loaded: float
    warnings: list[str] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)

    @classmethod
    def loaded_by(cls, message: Message, number: int, now: float) -> Policy:
        """What a loader hands over."""
        fields = message.fields
        return cls(
            number,
            message.descriptors[0],
            fields["path"],
            fields["digest"],
            now,
            fields["warnings"],
            fields["sources"],
        )


@dataclass(eq=False)
class Seat:
    """A place for one worker."""

    backoff: Backoff
    worker: Child | None = None
    restart: Timer | None = None


class Employer(Protocol):
    """Who starts workers, and is told of them."""

    def hire(self, crew: Crew) -> Child:
        """Start a worker for ``crew``."""

    def crew_is_ready(self, crew: Crew) -> None:
        """All its workers are ready for the first time."""

    def crew_failed(self, crew: Crew, status: int, why: str) -> None:
        """One of its workers could not get ready the first time."""

    def crew_is_gone(self, crew: Crew) -> None:
        """It drained, and its last worker has ended."""


class Crew:
    """The workers of one generation.

    Attributes:
        policy: what its workers get, while it is not the one that all get.
        serving: whether it accepts clients, so that its dead are replaced.
        served: whether it ever did.
        draining: whether it is to end.
    """

    def __init__(self, reactor: Reactor, employer: Employer, number: int, settings: Settings, seats: int) -> None:
        self._reactor = reactor
        self._employer = employer
        bounds = settings.processes
        self.number = number
        self.settings = settings
        self.seats = [
            Seat(Backoff(bounds.restart_delay, bounds.max_restart_delay, bounds.healthy_after)) for _ in range(seats)
        ]
        self.policy: Policy | None = None
        self.serving = self.served = False
        self.draining = False
        self.restarts = 0
        self._deadline: Timer | None = None

    @property
    def workers(self) -> list[Child]:
        """Those that live."""
        return [seat.worker for seat in self.seats if seat.worker is not None]

    @property
    def grace(self) -> float:
        """Seconds that a process may take to end, behind the time that messages in flight have."""
        return self.settings.limits.close_timeout + self.settings.processes.stop_grace

    def start(self) -> None:
        """Start all workers, which have ``start_timeout`` to get ready."""
        for seat in self.seats:
            seat.worker = self._employer.hire(self)
        seconds = self.settings.processes.start_timeout
        self._deadline = self._reactor.after(seconds, lambda: self.fail(75, f"not ready within {seconds:g} s"))

    def ready(self, worker: Child) -> None:
        """``worker`` is ready: it may accept if the crew serves; if it was the last one, the crew is ready."""
        worker.state = State.READY
        if self.serving:
            self.accept(worker)
        elif all(each.state is State.READY for each in self.workers) and len(self.workers) == len(self.seats):
            self._call_off()
            self._employer.crew_is_ready(self)

    def serve(self) -> None:
        """Let all accept clients."""
        self.serving = self.served = True
        for worker in self.workers:
            self.accept(worker)

    def accept(self, worker: Child) -> None:
        """Let ``worker`` accept clients, on the seat that is its own as long as it lives."""
        worker.state = State.ACCEPTING
        seat = next(number for number, seat in enumerate(self.seats) if seat.worker is worker)
        worker.send(Kind.ACCEPT, seat=seat, seats=len(self.seats))

    def drain(self, seconds: float, grace: float, *, last: bool = False) -> None:
        """Accept nobody; messages in flight have ``seconds``, and processes ``grace`` more before they are killed.

        ``last``: nobody goes on with the sockets.
        """
        self.draining, self.serving = True, False
        self._call_off()
        for seat in self.seats:
            if seat.restart is not None:
                seat.restart.cancel()
        for worker in self.workers:
            if worker.state is State.STARTING:
                worker.kill("not needed any more")
                continue
            worker.state = State.DRAINING
            worker.send(Kind.DRAIN, seconds=seconds, last=last)
        self._deadline = self._reactor.after(seconds + grace, self._kill_late)
        self._gone()

    def hurry(self, grace: float) -> None:
        """End at once: messages in flight are given up, and answered 421 or not at all."""
        self._call_off()
        for worker in self.workers:
            worker.send(Kind.STOP)
        self._deadline = self._reactor.after(grace, self._kill_late)

    def _kill_late(self) -> None:
        for worker in self.workers:
            worker.kill("it did not end within its time")

    def _call_off(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def lost(self, worker: Child) -> None:
        """``worker`` has ended."""
        seat = next(seat for seat in self.seats if seat.worker is worker)
        seat.worker = None
        if self.draining:
            self._gone()
        elif not self.serving:
            status, why = worker.failure or (70, f"a worker ended while it started: {worker.how_it_ended()}")
            self.fail(status, why)
        else:
            self._replace(seat, worker)

    def _replace(self, seat: Seat, worker: Child) -> None:
        wait = seat.backoff.delay(self._reactor.clock() - worker.started)
        self.restarts += 1
        logger.error(
            "worker lost", slot=worker.slot, pid=worker.pid, error=worker.how_it_ended(), seconds=round(wait, 3)
        )
        seat.restart = self._reactor.after(wait, lambda: self._refill(seat))

    def _refill(self, seat: Seat) -> None:
        if not self.draining:
            seat.restart = None
            seat.worker = self._employer.hire(self)

    def fail(self, status: int, why: str) -> None:
        """The crew never gets ready: end its workers.

        The employer is told first: one of them may have ended by itself, and then it is noticed here and now that the
        last one has gone, which must not be told before why.
        """
        if self.draining:
            return
        self.draining = True
        self._call_off()
        self._employer.crew_failed(self, status, why)
        for worker in self.workers:
            worker.kill("its generation does not start")

    def _gone(self) -> None:
        if self.draining and not self.workers:
            self._call_off()
            self._employer.crew_is_gone(self)
