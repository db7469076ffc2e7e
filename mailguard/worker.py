"""One event loop: assembles everything below it, and nothing else does (architecture.md, "What stands where").

A worker loads the policy, refuses to start on a bad one or before an open relay, listens, watches lists and
backends, and drains when told to. ``reload`` replaces the policy by one reference; sessions keep the one that they
began with. Whatever stands in the new policy, and however long it takes to read, the sessions go on (decision 0007).
With it the certificate is loaded again; each of both may be bad without the other.

One worker can be the whole service, with its own admin pages (:meth:`Worker.start`); or it is one of several, to which
a supervisor gives sockets and policy, step by step (``mailguard.children.worker``).
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import socket
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

from mailguard import __version__, metrics, policy_loads
from mailguard.admin.health import Health
from mailguard.checks.dnsbl import Dnsbl
from mailguard.config import Settings, bare, split_address
from mailguard.dns.resolver import Resolver
from mailguard.journal.journal import Journal
from mailguard.journal.key import BadKey
from mailguard.journal.recorder import Recorder
from mailguard.log import logger, when_lost
from mailguard.net.aside import Aside
from mailguard.net.local import CannotListen
from mailguard.policy.engine import CompiledPolicy
from mailguard.policy_files import load_for
from mailguard.positions import Problem, Problems
from mailguard.relay import Relay
from mailguard.scanners.clamav import Clamav
from mailguard.scanners.spamassassin import Spamassassin
from mailguard.scanners.taint_source import load_taint
from mailguard.session import Services, Session
from mailguard.session.observing import Switch
from mailguard.session.spooling import Spooling
from mailguard.smtp.admission import Slots
from mailguard.smtp.identity import Identity
from mailguard.smtp.listener import SmtpListener, listen
from mailguard.smtp.overload import Overload
from mailguard.smtp.shared_counts import SharedCounts
from mailguard.snapshot import DISK, Files
from mailguard.spool import Folder

if TYPE_CHECKING:
    from mailguard.admin.server import Admin

Started = TypeVar("Started")

_RESTART_DELAY = 5.0
"""Seconds before a watcher that died of a bug is started again."""


def assemble(settings: Settings, policy: CompiledPolicy, recorder: Recorder, switch: Switch) -> Services:
    """Everything that sessions ask, made from the settings."""
    settings, clock = bare(settings), time.monotonic
    resolver = Resolver(settings.dns, clock)
    spool = Folder(settings.spool_dir, settings.limits.min_spool_free)
    return Services(
        settings=settings,
        loaded=policy,
        switch=switch,
        resolver=resolver,
        dnsbl=Dnsbl(resolver, policy.lists, settings.dns, clock),
        relay=Relay(settings.backends, settings.limits, settings.hostname, clock),
        clamav=Clamav(settings.clamav, clock),
        spamassassin=Spamassassin(settings.spamassassin, load_taint(settings.spamassassin), clock),
        spooling=Spooling(settings.limits.max_message_memory, spool, clock),
        recorder=recorder,
        now=_now,
    )


def _now() -> datetime:
    return _local(int(time.time()))


@lru_cache(maxsize=1)
def _local(second: int) -> datetime:
    """``second`` since the epoch in our zone; looked up once for all messages of that second."""
    return datetime.fromtimestamp(second, UTC).astimezone()


def _journal(settings: Settings, slot: int) -> Journal | None:
    """The journal that is to be kept, of the worker ``slot``.

    Raises:
        Problems: its addresses are to be covered, and the key cannot be had.
    """
    if settings.journal.directory is None:
        return None
    try:
        return Journal(settings.journal, settings.journal.directory, slot, time.monotonic, time.time_ns)
    except BadKey as error:
        raise Problems([Problem(str(settings.journal.pseudonym_key), 1, 1, str(error))]) from error


class Worker:
    """One event loop that serves clients.

    ``start``, or ``prepare`` and ``accept``, are called once, from one event loop. ``settings.policy`` is an absolute
    path by now.

    Args:
        settings: all of them.
        slot: which worker this is: no other living one has the same.
        files: where the policy is read at the start.
        counts: connections of all workers together; None where this is the only one.

    Attributes:
        ports: what is listened on, in the order of ``settings.listen``.
        admin_port: the port of /metrics; 0 where the pages are another process's.
    """

    def __init__(
        self, settings: Settings, *, slot: int = 0, files: Files = DISK, counts: SharedCounts | None = None
    ) -> None:
        self._settings = settings
        self._slot = slot
        self._files = files
        self._counts = counts
        self._overload = Overload(settings.limits)
        self._admin: Admin | None = None
        self._listeners: list[SmtpListener] = []
        self._watchers: list[asyncio.Task[None]] = []
        self._draining = False
        self._stopped = asyncio.Event()
        self._owed: asyncio.Timeout | None = None
        self._deadline = math.inf
        self._switch = Switch(time.time)
        self._aside = Aside("reload")
        self._identity: Identity | None = None
        self._journal: Journal | None = None
        self._reload_wanted = asyncio.Event()
        self.ports: list[int] = []
        self.admin_port = 0

    async def start(self) -> None:
        """Be the whole service: load the policy and listen; when this returns, clients are served.

        Raises:
            Problems: the policy does not load, or the journal's key.
            BadCertificate: the certificate or its key cannot be used.
            OpenRelay: a backend takes mail for anybody.
            CannotListen: an address cannot be listened on. After any of these nothing listens.
        """
        from mailguard.admin.server import Admin  # here: one of several workers has no use for it, and it takes 0.1 s

        await self.prepare()
        self._admin = Admin(*split_address(self._settings.admin.address), self.health)
        address = self._settings.admin.address
        try:
            self.admin_port = await _bound("`admin.address`", address, self._admin.start())
            await self.accept()
        except BaseException:
            await self.stop()
            raise
        logger.info("admin listening", address=f"{address.rpartition(':')[0]}:{self.admin_port}")
        for listener in self._listeners:
            logger.info("listening", address=listener.address, version=__version__)
        self._tell_loaded()

    async def prepare(self) -> None:
        """Do all that can fail, but for listening.

        Raises:
            Problems: the policy does not load, or the journal's key.
            BadCertificate: the certificate or its key cannot be used.
            OpenRelay: a backend takes mail for anybody.
        """
        journal = _journal(self._settings, self._slot)
        recorder = Recorder(journal, self._settings.limits.max_refusals_recorded)
        self._services = assemble(self._settings, load_for(self._settings, self._files), recorder, self._switch)
        self._identity = Identity.load(self._settings.tls, time.time)
        await self._services.relay.refuse_open_relays()
        if journal is not None:
            journal.start()
            self._journal = journal

    async def accept(self, sockets: Sequence[socket.socket] | None = None) -> None:
        """Serve clients, on ``sockets``, one for each entry of ``settings.listen``, where they are bound already.

        Raises:
            CannotListen: an address cannot be listened on.
        """
        await self._listen(sockets or [None] * len(self._settings.listen))
        services = self._services
        watches = (services.dnsbl.watch, *services.relay.watches, services.spamassassin.watch, self._reload_when_told)
        for watch in (*watches, self._overload.watch):
            self._watchers.append(asyncio.create_task(_watched(watch)))
        metrics.BUILD_INFO.labels(__version__).set(1)
        when_lost(metrics.LOG_LINES_LOST.inc)

    async def _listen(self, sockets: Sequence[socket.socket | None]) -> None:
        slots = self._slots()
        for number, (wanted, bound) in enumerate(zip(self._settings.listen, sockets, strict=True), start=1):
            starting = listen(
                self._settings,
                wanted,
                lambda: Session(self._services),
                slots,
                self._identity,
                self._services.recorder,
                bound,
            )
            self._listeners.append(await _bound(f"entry {number} of `listen`", wanted.address, starting))
        self.ports = [listener.port for listener in self._listeners]

    def _slots(self) -> Slots:
        settings = self._settings
        return Slots(settings.limits, settings.own_relays, self._counts, self._overload)

    def reload_soon(self) -> None:
        """Load policy and certificate again; once more after a load that is under way, however often this is called."""
        self._reload_wanted.set()

    async def _reload_when_told(self) -> None:
        while True:
            await self._reload_wanted.wait()
            self._reload_wanted.clear()
            await self.reload()
            await self.reload_certificate()

    async def reload_certificate(self) -> bool:
        """Load the certificate again, where there is one; a bad one changes nothing. Whether the new one is shown."""
        if self._identity is None:
            return False
        return await self._identity.reload(self._aside, self._settings.limits.policy_timeout)

    async def reload(self) -> bool:
        """Load the policy again; one that is bad or takes too long changes nothing, is logged, and a metric says so.

        Returns:
            Whether the new policy is the running one.
        """
        try:
            self.adopt(await self.load(DISK))
        except Problems as problems:
            policy_loads.refused([problem.in_one_line for problem in problems.problems])
            return False
        except TimeoutError as error:
            policy_loads.refused([str(error)])
            return False
        except Exception:  # noqa: BLE001  a bug in what reads a policy must not end the service
            metrics.POLICY_SUCCESS.set(0)
            metrics.ERRORS.inc()
            logger.exception("internal error")
            return False
        self._tell_loaded()
        return True

    def _tell_loaded(self) -> None:
        policy = self._services.policy
        policy_loads.loaded(policy.path, policy.digest, [warning.in_one_line for warning in policy.warnings])

    async def load(self, files: Files) -> CompiledPolicy:
        """The policy as it is in ``files``, compiled beside the event loop; nothing is changed by it.

        Raises:
            Problems: it does not load.
            TimeoutError: it takes too long; the text says so.
        """
        limit = self._settings.limits.policy_timeout
        try:
            return await self._aside.run(lambda: load_for(self._settings, files), limit)
        except TimeoutError as error:
            message = f"{self._settings.policy}: it was not loaded within `limits.policy_timeout`, {limit:g} s"
            raise TimeoutError(message) from error

    def adopt(self, policy: CompiledPolicy) -> None:
        """Let sessions that begin from now on have ``policy``."""
        self._services.dnsbl.reconfigure(policy.lists)
        self._services = replace(self._services, loaded=policy)

    def observe(self, until: float) -> None:
        """Until then (Unix time) only observe, in sessions that are open already too; 0: enforce the policy again."""
        self._switch.until = until

    @property
    def connections(self) -> int:
        """How many clients are connected now."""
        return sum(listener.connections for listener in self._listeners)

    @property
    def digest(self) -> str:
        """Of the policy that new sessions get."""
        return self._services.policy.digest

    def reasons(self) -> list[str]:
        """Why clients should go elsewhere."""
        reasons = []
        if self._draining:
            reasons.append("draining")
        if not self._services.relay.available:
            reasons.append("no backend answers")
        if trouble := self._services.spooling.trouble():
            reasons.append(f"no spool for long messages: {trouble}")
        return reasons

    def health(self) -> Health:
        """For /healthz and /readyz."""
        return Health(not_ready=tuple(self.reasons()), details={"version": __version__, "policy": self.digest})

    async def stop(self, drain: float = 0.0, *, last: bool = False) -> None:
        """Stop listening; sessions in the middle of a message have ``drain`` seconds to finish, idle ones get 421.

        ``last``: nobody goes on with the sockets, so who waits there to be accepted hears 421, too.
        It takes ``drain`` and ``limits.close_timeout`` at the most: who has not read his 421 by then is cut, and for
        what stands between content and reply at a backend nobody waits longer either. Called again meanwhile, it takes
        no longer than the shorter of both; whichever call returns, all is done, and the journal is closed.
        """
        loop, first = asyncio.get_running_loop(), not self._draining
        self._draining = True
        self._deadline = min(self._deadline, loop.time() + drain + self._settings.limits.close_timeout)
        if self._owed is not None and not self._owed.expired():
            self._owed.reschedule(self._deadline)
        await asyncio.gather(*(listener.drain(drain, last=last) for listener in self._listeners))
        if not first:
            await self._stopped.wait()
            return
        try:
            await self._finish()
        finally:
            self._stopped.set()

    async def _finish(self) -> None:
        """All but the listeners."""
        for watcher in self._watchers:
            watcher.cancel()
        await asyncio.gather(*self._watchers, return_exceptions=True)
        if unanswered := await self._replies_owed():
            logger.warning("messages without a reply", count=unanswered)
        if self._admin is not None:
            await self._admin.stop()
        self._services.recorder.finish()
        if self._journal is not None:
            await asyncio.to_thread(self._journal.stop)

    async def _replies_owed(self) -> int:
        """Wait until the deadline, which may come nearer, for what backends owe; how many replies are missing."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(self._deadline) as self._owed:
                await self._services.relay.finish()
        self._owed = None
        return await self._services.relay.finish(0.0)


async def _bound(setting: str, address: str, starting: Awaitable[Started]) -> Started:
    """What ``starting`` gives.

    Raises:
        CannotListen: it could not have the address.
    """
    try:
        return await starting
    except OSError as error:
        raise CannotListen(setting, address, error) from error


async def _watched(watch: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a watcher until it returns: one that dies of a bug is logged, counted, and started again."""
    while True:
        try:
            return await asyncio.create_task(watch())  # a task of its own each time: decision 0030
        except Exception:  # noqa: BLE001  a bug in a watcher must not end the service
            metrics.ERRORS.inc()
            logger.exception("internal error")
        await asyncio.sleep(_RESTART_DELAY)
