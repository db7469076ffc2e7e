"""The parent of all: it holds the sockets, and keeps N workers and the admin process (operations.md, "Process").

It neither accepts a client nor reads a policy, has no event loop and no threads, and little in it can fail; what can,
happens in a child. Where it is killed even so, its children see their channels close, drain and end.

A reload is :mod:`mailguard.supervisor.reload`, a generation :mod:`mailguard.supervisor.crew`; here is what holds them
together. Units: seconds.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from mailguard import __version__, log, metric_store, metrics, policy_loads
from mailguard.channel import PROTOCOL, Kind, Message
from mailguard.config import Settings
from mailguard.log import logger
from mailguard.net.local import CannotListen
from mailguard.smtp import shared_counts
from mailguard.supervisor.backoff import Backoff
from mailguard.supervisor.child import Child, Launched, Role, State, launch
from mailguard.supervisor.crew import Crew, Policy
from mailguard.supervisor.failures import StartFailed
from mailguard.supervisor.first_load import FirstLoad
from mailguard.supervisor.reactor import Reactor
from mailguard.supervisor.reload import Outcome, Reload
from mailguard.supervisor.sockets import Sockets, told
from mailguard.supervisor.systemd import Notifier
from mailguard.supervisor.watch import FileWatch

_ABORTED: Final = 2.0
"""From SIGABRT, which has a hanging process print where it hangs, to SIGKILL."""


@dataclass
class Resources:
    """What the supervisor holds for its children, and gives them.

    Attributes:
        metrics: folder of ``metric_store``.
        counts: descriptor of ``shared_counts``.
        slots: how many there are for workers: two generations.
    """

    sockets: Sockets
    metrics: Path
    counts: int
    slots: int


class Supervisor:
    """All processes of the service; :meth:`run` until it has ended.

    Args:
        configuration: the file of the settings.
        settings: what was read there.
        given: the same as workers get them, by what this machine lets them have.

    Attributes:
        crew: the workers that serve clients.
        crews: all generations, the oldest first.
        policy: what they run.
    """

    def __init__(
        self,
        configuration: Path,
        settings: Settings,
        given: Callable[[Settings], Settings],
        resources: Resources,
        reactor: Reactor,
        notifier: Notifier,
    ) -> None:
        self.configuration = configuration
        self.settings = settings
        self._given = given
        self._resources = resources
        self.reactor = reactor
        self._notifier = notifier
        self._children: set[Child] = set()
        self._phase = "starting"
        self._began = reactor.clock()
        self._admin: Child | None = None
        self._admin_backoff = _backoff(settings)
        self._first: FirstLoad | None = None
        self._reload: Reload | None = None
        self._waiting: list[tuple[bool, Callable[[Outcome], None]]] = []
        self._failed: StartFailed | None = None
        self._restarts = 0
        self._told = ""
        self._unstarted: list[Child] = []
        self.observing_until = 0.0
        self._policies = 0
        self._started_policy: Policy | None = None
        self.crew = Crew(reactor, self, 1, settings, settings.workers or cores())
        self.crews = [self.crew]

    # --- start -----------------------------------------------------------------------------------------------------

    @property
    def policy(self) -> Policy:
        """What workers run."""
        if self._started_policy is None:
            raise RuntimeError("no policy yet")
        return self._started_policy

    def next_number(self) -> int:
        """A number for a policy; none comes twice, so that nobody is misheard who still compiles one given up."""
        self._policies = max(self._policies, self.policy.number) + 1
        return self._policies

    def hatch(self) -> None:
        """Start the first processes; they wait for the policy, and meanwhile import what they need."""
        numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)
        self.reactor.signals(numbers, self._signalled)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)  # before there are children, who would inherit it
        self.crew.start()

    def load(self, loader: Callable[[], Launched]) -> None:
        """Have ``loader`` load the policy that the first processes are to :meth:`begin` with, beside their start."""
        left = self._began + self.settings.processes.start_timeout - self.reactor.clock()
        self._first = FirstLoad(
            self.reactor, self.configuration, self.settings, loader, left, self.begin, self.crew.fail
        )

    def begin(self, policy: Policy) -> None:
        """Give the first processes their policy."""
        self._started_policy = policy
        self._files = FileWatch(policy.sources)
        for worker in self._unstarted:
            self._instruct(worker, self.crew, policy)
        self._unstarted.clear()

    def run(self) -> int:
        """Until all have ended; the exit status.

        Raises:
            StartFailed: the first generation does not start. Nobody has been served, and all children have ended.
        """
        self._tick()
        self._watchdog()
        self._watch_files()
        while self._phase != "ended" or self._children:
            self.reactor.turn()
        if self._failed is not None:
            raise self._failed
        return os.EX_OK

    def abandon(self) -> None:
        """End all children now: the start failed before clients were served."""
        self._phase = "ended"
        if self._first is not None:
            self._first.abandon()
        for child in list(self._children):
            child.kill("the start failed")
        for child in list(self._children):
            child.wait()

    def _spawn(self, role: Role, arguments: list[str], slot: int = -1, generation: int = 0) -> Child:
        launched = partial(launch, role, arguments)
        child = Child(self.reactor, role, launched, self._heard, self._ended, slot, generation)
        self._children.add(child)
        return child

    # --- workers: what a crew asks for -----------------------------------------------------------------------------

    def hire(self, crew: Crew) -> Child:
        """Start a worker for ``crew``, in the lowest slot that no living worker has."""
        taken = {child.slot for child in self._children}
        slot = next(slot for slot in range(self._resources.slots) if slot not in taken)
        worker = self._spawn(Role.WORKER, [str(slot), str(self._resources.metrics)], slot, crew.number)
        if self._started_policy is None:
            self._unstarted.append(worker)
        else:
            self._instruct(worker, crew, crew.policy or self.policy)
        return worker

    def _instruct(self, worker: Child, crew: Crew, policy: Policy) -> None:
        """Tell a worker what it is to serve."""
        resources = self._resources
        listening = [each.fileno() for each in resources.sockets.smtp]
        worker.send(
            Kind.START,
            [policy.descriptor, resources.counts, *listening],
            protocol=PROTOCOL,
            settings=self._given(crew.settings).model_dump(mode="json"),
            slot=worker.slot,
            sockets_are_ours=resources.sockets.ours,
            policy=policy.number,
            observe_until=self.observing_until,
        )

    def start_crew(self, settings: Settings, policy: Policy) -> None:
        """Start a generation beside the one that serves."""
        crew = Crew(self.reactor, self, self.crews[-1].number + 1, settings, len(self.crew.seats))
        crew.policy = policy
        self.crews.append(crew)
        crew.start()

    def crew_is_ready(self, crew: Crew) -> None:
        """All its workers are ready for the first time."""
        if crew is not self.crew:
            if self._reload is not None:
                self._reload.crew_is_ready(crew)
            return
        try:
            self._resources.sockets.listen(self.settings)
        except CannotListen as error:
            self.crew_failed(crew, os.EX_UNAVAILABLE, f"mailguard: {error}")
            return
        crew.serve()
        self._phase = "running"
        self._start_admin()  # not before: it would take time from those whom clients wait for
        self._tell_started()
        self._tick_now()
        self._notifier.tell(READY=1, STATUS=self._summary(), MAINPID=os.getpid())
        self._next_reload()

    def _tell_started(self) -> None:
        sockets, policy = self._resources.sockets, self.policy
        logger.info("admin listening", address=told(sockets.admin))
        for each in sockets.smtp:
            logger.info("listening", address=told(each), version=__version__)
        metrics.BUILD_INFO.labels(__version__).set(1)
        metrics.GENERATION.set(self.crew.number)
        policy_loads.loaded(Path(policy.path), policy.digest, policy.warnings)

    def succeed(self, crew: Crew, settings: Settings, policy: Policy) -> None:
        """``crew`` serves from now on, in the place of the one that did."""
        self.crew, self.settings = crew, settings
        crew.policy = None
        self.take(policy)
        crew.serve()
        metrics.GENERATION.set(crew.number)

    def take(self, policy: Policy) -> None:
        """Workers that start from now on get ``policy``."""
        if self._started_policy is not None:
            os.close(self._started_policy.descriptor)
        self._started_policy = policy

    def has_room(self) -> bool:
        """Whether there are slots for another generation: the last has gone, to its last process."""
        workers = [child for child in self._children if child.role is Role.WORKER]
        return len(self.crews) == 1 and len(workers) + len(self.crew.seats) <= self._resources.slots

    def crew_failed(self, crew: Crew, status: int, why: str) -> None:
        """A generation does not start."""
        if crew is self.crew:
            self._failed = StartFailed(status, why)
            self._end()
        else:
            self.crews.remove(crew)
            if self._reload is not None:
                self._reload.crew_failed(status, why)

    def crew_is_gone(self, crew: Crew) -> None:
        """A generation has drained."""
        if crew in self.crews:
            self.crews.remove(crew)
            if crew.served:
                logger.info("generation ended", count=crew.number)
        if not self.crews:
            self._end()

    def _end(self) -> None:
        """No worker is left: the admin process goes too."""
        self._phase = "ended"
        self._next_reload()
        for child in list(self._children):
            if child.role is Role.ADMIN:
                child.send(Kind.STOP)
                self.reactor.after(_ABORTED, lambda child=child: child.kill("the service ends"))  # type: ignore[misc]

    # --- what children say, and their ends -------------------------------------------------------------------------

    def _heard(self, child: Child, message: Message) -> None:
        if child.role is Role.ADMIN:
            child.state = State.READY
        if child.role is not Role.WORKER:
            return
        crew = self._crew_of(child)
        if message.kind is Kind.READY and crew is not None and not crew.draining:
            crew.ready(child)
        elif message.kind is Kind.PREPARED and message.fields["number"] == self.policy.number:
            child.send(Kind.COMMIT, policy=self.policy.number)  # it was behind, and has caught up
        elif message.kind is Kind.REFUSED and message.fields["number"] == self.policy.number:
            child.kill(f"it could not compile the policy that the others run: {message.fields['why']}")
        if self._reload is not None:
            self._reload.heard(child, message)
        if message.kind is Kind.READY and child.generation == self.crew.number:
            self.bring_up_to_date(child)

    def bring_up_to_date(self, worker: Child) -> None:
        """A worker that was not ready when all were asked to compile a policy has the one before it."""
        if worker.said.get("policy", 0) < self.policy.number:
            worker.send(Kind.PREPARE, [self.policy.descriptor], policy=self.policy.number)

    def _crew_of(self, worker: Child) -> Crew | None:
        return next((crew for crew in self.crews if crew.number == worker.generation), None)

    def _ended(self, child: Child) -> None:
        self._children.discard(child)
        if child.role is Role.ADMIN:
            self._admin_ended(child)
        if child.role is not Role.WORKER:
            return
        metric_store.slot_ended(self._resources.metrics, child.slot)
        shared_counts.clear(self._resources.counts, child.slot)
        if self._reload is not None:
            self._reload.lost(child)
        crew = self._crew_of(child)
        if crew is not None and child in crew.workers:
            if crew.serving:
                metrics.RESTARTS.labels(Role.WORKER).inc()
                self._restarts += 1
            crew.lost(child)

    def _start_admin(self) -> None:
        if self._phase in ("draining", "ended"):
            return
        self._admin = self._spawn(Role.ADMIN, [str(self._resources.metrics)])
        self._admin.send(
            Kind.START,
            [self._resources.sockets.admin.fileno()],
            protocol=PROTOCOL,
            settings=self.settings.model_dump(mode="json"),
        )
        self._admin.send(Kind.HEALTH, **self.status())

    def _admin_ended(self, admin: Child) -> None:
        self._admin = None
        if self._phase == "ended":
            return
        wait = self._admin_backoff.delay(self.reactor.clock() - admin.started)
        metrics.RESTARTS.labels(Role.ADMIN).inc()
        logger.error("admin process lost", pid=admin.pid, error=admin.how_it_ended(), seconds=round(wait, 3))
        self.reactor.after(wait, self._start_admin)

    # --- signals and times -----------------------------------------------------------------------------------------

    def _signalled(self, number: int) -> None:
        if number == signal.SIGCHLD:
            for child in list(self._children):
                child.reap()
        elif number == signal.SIGHUP:
            self.reload(force=False, done=lambda _outcome: None)
        else:
            self.drain()

    def _tick(self) -> None:
        """Every ``heartbeat_interval``: who is silent for too long, what is to be told."""
        self._tick_now()
        self.reactor.after(self.settings.processes.heartbeat_interval, self._tick)

    def _tick_now(self) -> None:
        log.flush()
        now, bounds = self.reactor.clock(), self.settings.processes
        for child in list(self._children):
            bound = bounds.start_timeout if child.state is State.STARTING else bounds.heartbeat_timeout
            silent = now - (child.started if child.state is State.STARTING else child.last_heard)
            if silent > bound and not child.killed:
                self._abort(child, silent)
        if self.observing_until and time.time() >= self.observing_until:
            self.observe(0.0)
        if self._admin is not None:
            self._admin.send(Kind.HEALTH, **self.status())
        if self._phase == "running" and (summary := self._summary()) != self._told:
            self._told = summary
            self._notifier.tell(STATUS=summary)

    def _abort(self, child: Child, silent: float) -> None:
        child.killed = f"no sign of life for {silent:.0f} s"
        child.terminate(signal.SIGABRT)
        self.reactor.after(_ABORTED, lambda: child.kill(child.killed))

    def _watch_files(self) -> None:
        """Every ``watch_interval``, where it is set: load a policy whose files have changed."""
        if (interval := self.settings.processes.watch_interval) <= 0:
            return
        if self._reload is None and self._phase == "running" and self._files.settled_change():
            logger.info("policy files changed", path=self.policy.path)
            self.reload(force=False, done=lambda _outcome: None)
        self.reactor.after(interval, self._watch_files)

    def _watchdog(self) -> None:
        if self._notifier.watchdog:
            self._notifier.tell(WATCHDOG=1)
            self.reactor.after(self._notifier.watchdog, self._watchdog)

    # --- what is asked from outside --------------------------------------------------------------------------------

    def reload(self, *, force: bool, done: Callable[[Outcome], None]) -> None:
        """Load settings, policy and certificate again; behind the start, or a reload that is under way."""
        self._waiting.append((force, done))
        if self._phase == "starting":
            logger.info("reload waits for the start")
        self._next_reload()

    def _next_reload(self) -> None:
        """Begin the next reload, for all who wait for one."""
        if self._reload is not None or not self._waiting or self._phase == "starting":
            return
        if self._phase != "running":
            waiting, self._waiting = self._waiting, []
            for _, each in waiting:
                each(Outcome(os.EX_TEMPFAIL, [f"mailguard is {self._phase}"]))
            return
        force = any(forced for forced, _ in self._waiting)
        asked = [done for _, done in self._waiting]
        self._waiting.clear()
        self._files = FileWatch(self.policy.sources)  # as they are read now, whatever comes of it
        self._notifier.tell(RELOADING=1, MONOTONIC_USEC=int(time.monotonic() * 1e6))

        def done(outcome: Outcome) -> None:
            self._reload = None
            if self._phase == "running":
                self._notifier.tell(READY=1, STATUS=self._summary())
            for each in asked:
                each(outcome)
            self._tick_now()
            self._next_reload()

        self._reload = Reload(self, done, force=force)
        self._reload.start()

    def drain(self) -> None:
        """Accept no more, and end when messages in flight have; asked again, end at once."""
        if self._phase == "draining":
            logger.info("ending at once")
            for crew in list(self.crews):
                crew.hurry(crew.grace)
        elif self._phase != "ended":
            self._phase = "draining"
            logger.info("draining")
            self._notifier.tell(STOPPING=1, STATUS="draining")
            self._resources.sockets.stop()
            self._tick_now()
            if self._first is not None:
                self._first.abandon()
            if self._reload is not None:
                self._reload.abandon()
            self._next_reload()
            for crew in list(self.crews):
                crew.drain(self.settings.limits.drain_timeout, crew.grace, last=self._resources.sockets.ours)

    def observe(self, until: float) -> None:
        """Only observe until then (Unix time); 0: no longer. The log says so once all workers have been told."""
        self.observing_until = until
        for child in list(self._children):  # a worker that proves to be dead leaves them
            if child.role is Role.WORKER and child not in self._unstarted:
                child.send(Kind.OBSERVE, until=until)
        metrics.OBSERVING.set(until)
        if until:
            when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(until))
            logger.warning("only observing", expires=when)
        else:
            logger.warning("enforcing again")

    def status(self) -> dict[str, Any]:
        """What there is to know, for the admin process and ``mailguard status``."""
        policy = self._started_policy
        return {
            "version": __version__,
            "pid": os.getpid(),
            "phase": self._phase if self._reload is None else "reloading",
            "uptime": round(self.reactor.clock() - self._began, 1),
            "generation": self.crew.number,
            "policy": policy.digest if policy else None,
            "policy_loaded": policy.loaded if policy else None,
            "observing_until": self.observing_until or None,
            "restarts": self._restarts,
            "processes": [self._told_of(child) for child in sorted(self._children, key=lambda child: child.started)],
        }

    def _told_of(self, child: Child) -> dict[str, Any]:
        return {
            "role": child.role,
            "pid": child.pid,
            "slot": child.slot if child.slot >= 0 else None,
            "generation": child.generation or None,
            "state": child.state if child.role is Role.WORKER else "running",
            "seconds": round(self.reactor.clock() - child.started, 1),
            "connections": child.said.get("connections", 0),
            "policy": child.said.get("digest"),
            "reasons": child.said.get("reasons", []),
        }

    def _summary(self) -> str:
        """One line for systemctl status."""
        workers = [child for child in self._children if child.role is Role.WORKER]
        sessions = sum(child.said.get("connections", 0) for child in workers)
        observing = ", only observing" if self.observing_until else ""
        return f"{len(workers)} workers, {sessions} sessions, policy {self.policy.digest[:12]}{observing}"


def cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0))


def _backoff(settings: Settings) -> Backoff:
    bounds = settings.processes
    return Backoff(bounds.restart_delay, bounds.max_restart_delay, bounds.healthy_after)
