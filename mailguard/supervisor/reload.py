"""One reload, from the files to the workers: all of it, or nothing (operations.md, "Reload").

1. A loader (``mailguard.children.loader``) reads settings and policy within ``limits.policy_timeout``, and hands over
   what it read. Anything wrong there, a hang and a crash too, changes nothing.
2. Where neither settings nor version have changed, each worker compiles that snapshot beside its sessions. When all
   have, all take it; when one cannot, none does. A worker that starts meanwhile is brought up to date when it is ready.
3. Else a new generation starts with the new settings, on the same sockets. When all its workers are ready they accept,
   and the old generation drains; when one fails, nothing changes.
4. The certificate is read again by each worker that goes on, whatever became of the policy.

Settings that concern the supervisor itself take a restart (:data:`FIXED`): it cannot bind a port once it is not root
any more.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mailguard import __version__, policy_loads
from mailguard.channel import PROTOCOL, Kind, Message
from mailguard.config import Settings
from mailguard.log import logger
from mailguard.supervisor.child import Child, Role, State, launch
from mailguard.supervisor.crew import Crew, Policy
from mailguard.supervisor.reactor import Timer

if TYPE_CHECKING:
    from mailguard.supervisor.supervisor import Supervisor

FIXED: Final[Mapping[str, Callable[[Settings], object]]] = {
    "listen": lambda settings: [listener.address for listener in settings.listen],
    "admin": lambda settings: settings.admin,
    "run_dir": lambda settings: settings.run_dir,
    "user": lambda settings: settings.user,
    "workers": lambda settings: settings.workers,
    "processes": lambda settings: settings.processes.control_group,
}
"""Settings, or what of them, that only a restart changes."""


@dataclass
class Outcome:
    """What became of a reload: an exit status (sysexits.h), and what to tell, a line each."""

    status: int = os.EX_OK
    lines: list[str] = field(default_factory=list)

    def tell(self, line: str, status: int = os.EX_OK) -> None:
        """Add a line; the first failure's status stays."""
        self.lines.append(line)
        self.status = self.status or status


class Reload:
    """One reload. ``force``: start new workers even where nothing of theirs has changed.

    Attributes:
        outcome: so far.
        done: called once, when it is complete.
    """

    def __init__(self, supervisor: Supervisor, done: Callable[[Outcome], None], *, force: bool) -> None:
        self._supervisor = supervisor
        self._reactor = supervisor.reactor
        self._done = done
        self._force = force
        self.outcome = Outcome()
        self._bound: Timer | None = None
        self._loader: Child | None = None
        self._asked: set[Child] = set()
        self._prepared: set[Child] = set()
        self._certificates: list[bool] = []
        self._committing = False
        self._policy: Policy | None = None
        self._new = supervisor.settings

    @property
    def policy(self) -> Policy:
        """What was loaded.

        Raises:
            RuntimeError: nothing was.
        """
        if self._policy is None:
            raise RuntimeError("no policy is loaded")
        return self._policy

    # --- 1: the files ----------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Read the files."""
        self._within(self._supervisor.settings.limits.policy_timeout, self._too_slow)
        launched = partial(launch, Role.LOADER, [str(self._supervisor.configuration)])
        self._loader = Child(self._reactor, Role.LOADER, launched, self._loaded, self._loader_ended)
        self._loader.send(Kind.START, protocol=PROTOCOL, user=self._supervisor.settings.user)

    def _too_slow(self) -> None:
        if self._loader is not None:
            limit = self._supervisor.settings.limits.policy_timeout
            path = self._supervisor.settings.policy
            self._loader.killed = f"{path}: it was not loaded within `limits.policy_timeout`, {limit:g} s"
            self._loader.kill(self._loader.killed)

    def _loader_ended(self, loader: Child) -> None:
        """It has said what it had to, or died of something."""
        if self._loader is not None:
            self._loader = None
            why = loader.killed or f"what loads a policy ended with {loader.how_it_ended()}"
            self._policy_refused([why], os.EX_TEMPFAIL)

    def _loaded(self, _loader: Child, message: Message) -> None:
        if self._loader is None:
            return
        self._loader = None
        self._call_off()
        fields = message.fields
        if message.kind is not Kind.LOADED:
            self._policy_refused(fields["problems"], os.EX_CONFIG)
            return
        settings = Settings.model_validate(fields["settings"])
        self._policy = Policy.loaded_by(message, self._supervisor.next_number(), time.time())
        changed = changes(self._supervisor.settings, settings)
        if fixed := [name for name in changed if _is_fixed(name, self._supervisor.settings, settings)]:
            names = ", ".join(f"`{name}`" for name in fixed)
            self._refuse(f"settings refused: {names} cannot be changed while mailguard runs: restart it")
        elif changed or self._force or fields["version"] != __version__:
            self._start_generation(settings, changed, fields["version"])
        else:
            self._ask_workers()

    def _policy_refused(self, problems: list[str], status: int) -> None:
        policy_loads.refused(problems)
        for problem in problems[: policy_loads.MAX_LOGGED]:
            self.outcome.tell(problem, status)
        self.outcome.tell("nothing is changed: the policy that ran before goes on", status)
        self._reread_certificate()

    def _refuse(self, why: str, status: int = os.EX_CONFIG) -> None:
        logger.error("settings refused", error=why)
        self.outcome.tell(why, status)
        self.outcome.tell("nothing is changed: settings and policy that ran before go on", status)
        self._drop_policy()
        self._finish()

    def _drop_policy(self) -> None:
        if self._policy is not None:
            os.close(self._policy.descriptor)
            self._policy = None

    # --- 2: the same workers ---------------------------------------------------------------------------------------

    def _ask_workers(self) -> None:
        """Let every worker compile the policy."""
        crew = self._supervisor.crew
        self._asked = {worker for worker in crew.workers if worker.state is State.ACCEPTING}
        bounds = self._supervisor.settings
        self._within(bounds.limits.policy_timeout + bounds.processes.heartbeat_timeout, self._workers_too_slow)
        for worker in list(self._asked):
            worker.send(Kind.PREPARE, [self.policy.descriptor], policy=self.policy.number)
        self._all_prepared()

    def _workers_too_slow(self) -> None:
        slots = ", ".join(str(worker.slot) for worker in self._asked)
        self._worker_refused(f"workers {slots} have not compiled the policy in time", os.EX_TEMPFAIL)

    def heard(self, worker: Child, message: Message) -> None:
        """A worker says something."""
        match message.kind:
            case Kind.PREPARED if self._policy and message.fields["number"] == self._policy.number:
                self._asked.discard(worker)
                self._prepared.add(worker)
                self._all_prepared()
            case Kind.REFUSED if self._policy and message.fields["number"] == self._policy.number:
                self._worker_refused(f"worker {worker.slot}: {message.fields['why']}", os.EX_CONFIG)
            case Kind.STATE if self._committing:
                self._all_committed()
            case Kind.CERTIFICATE if worker in self._asked:
                self._asked.discard(worker)
                self._certificates.append(message.fields["ok"])
                self._all_reread()

    def lost(self, worker: Child) -> None:
        """A worker has ended: nothing is awaited of it any more."""
        if worker not in self._asked and worker not in self._prepared:
            return
        self._asked.discard(worker)
        self._prepared.discard(worker)
        if self._committing:
            self._all_committed()
        elif self._policy is not None:
            self._all_prepared()
        else:
            self._all_reread()

    def _worker_refused(self, why: str, status: int) -> None:
        self._call_off()
        self._asked.clear()
        self._drop_policy()
        self._policy_refused([why], status)

    def _all_prepared(self) -> None:
        """When all have compiled it, all take it."""
        if self._asked or self._policy is None or self._committing:
            return
        self._call_off()
        self._committing = True
        self._supervisor.take(self._policy)
        for worker in self._supervisor.crew.workers:
            if worker in self._prepared:
                worker.send(Kind.COMMIT, policy=self._policy.number)
            elif worker.state is State.ACCEPTING:  # only since the others were asked
                self._supervisor.bring_up_to_date(worker)
        self._within(self._supervisor.settings.processes.heartbeat_timeout, self._all_committed_by_now)
        self._all_committed()

    def _all_committed(self) -> None:
        if all(worker.said.get("policy") == self.policy.number for worker in self._prepared):
            self._all_committed_by_now()

    def _all_committed_by_now(self) -> None:
        """They run it, but for those that hang and are killed for it."""
        self._call_off()
        self._committing = False
        self._taken(self.policy)
        self._policy = None
        self._prepared.clear()
        self._reread_certificate()

    def _taken(self, policy: Policy) -> None:
        policy_loads.loaded(Path(policy.path), policy.digest, policy.warnings)
        self.outcome.tell(f"policy {policy.path} loaded, digest {policy.digest[:12]}")
        for warning in policy.warnings[: policy_loads.MAX_LOGGED]:
            self.outcome.tell(f"warning: {warning}")

    # --- 3: new workers --------------------------------------------------------------------------------------------

    def _start_generation(self, settings: Settings, changed: list[str], version: str) -> None:
        if not self._supervisor.has_room():
            sessions = sum(worker.said.get("connections", 0) for worker in self._supervisor.crews[0].workers)
            self._refuse(
                f"the generation before still drains ({sessions} sessions), and there are two at the most: try again",
                os.EX_TEMPFAIL,
            )
            return
        why = "settings changed: " + ", ".join(changed) if changed else f"version {version}"
        logger.info("generation starting", error=why)
        self._new = settings
        self._supervisor.start_crew(settings, self.policy)

    def crew_is_ready(self, crew: Crew) -> None:
        """The new generation accepts clients from now on, and the old one drains."""
        old = self._supervisor.crew
        self._supervisor.succeed(crew, self._new, self.policy)
        old.drain(self._new.processes.generation_drain_timeout, old.grace)
        self.outcome.tell(f"generation {crew.number} serves clients; the one before ends when its sessions do")
        self._taken(self.policy)
        self._policy = None
        self._finish()

    def crew_failed(self, status: int, why: str) -> None:
        """The new generation does not start."""
        self._refuse(f"the new generation does not start: {why}", status)

    # --- 4: the certificate ----------------------------------------------------------------------------------------

    def _reread_certificate(self) -> None:
        self._call_off()
        if self._supervisor.settings.tls.certificate is None:
            self._finish()
            return
        self._asked = {worker for worker in self._supervisor.crew.workers if worker.state is State.ACCEPTING}
        bounds = self._supervisor.settings
        self._within(bounds.limits.policy_timeout + bounds.processes.heartbeat_timeout, self._certificate_too_slow)
        for worker in list(self._asked):
            worker.send(Kind.CERTIFICATE)
        self._all_reread()

    def _certificate_too_slow(self) -> None:
        self.outcome.tell("certificate: not read in time", os.EX_TEMPFAIL)
        self._finish()

    def _all_reread(self) -> None:
        if self._asked:
            return
        if all(self._certificates):
            self.outcome.tell("certificate loaded")
        else:
            self.outcome.tell("certificate refused, the one before is shown on: the log says why", os.EX_CONFIG)
        self._finish()

    # --- the end ---------------------------------------------------------------------------------------------------

    def abandon(self) -> None:
        """The service ends."""
        self._call_off()
        if (loader := self._loader) is not None:
            self._loader = None
            loader.kill("the service ends")
        self.outcome.tell("the service ends", os.EX_TEMPFAIL)
        self._finish()

    def _within(self, seconds: float, otherwise: Callable[[], None]) -> None:
        self._call_off()
        self._bound = self._reactor.after(seconds, otherwise)

    def _call_off(self) -> None:
        if self._bound is not None:
            self._bound.cancel()
            self._bound = None

    def _finish(self) -> None:
        self._call_off()
        self._asked.clear()
        self._done(self.outcome)


def changes(old: Settings, new: Settings) -> list[str]:
    """The settings at the top of the file that differ."""
    return [name for name in type(old).model_fields if getattr(old, name) != getattr(new, name)]


def _is_fixed(name: str, old: Settings, new: Settings) -> bool:
    fixed: Callable[[Settings], Any] | None = FIXED.get(name)
    return fixed is not None and fixed(old) != fixed(new)
