"""One event loop: assembles everything below it, and nothing else does (architecture.md, "What stands where").

A worker loads the policy, refuses to start on a bad one or before an open relay, listens, watches lists and
backends, and drains when told to. ``reload`` replaces the policy by one reference; sessions keep the one that they
began with. Whatever stands in the new policy, and however long it takes to read, the sessions go on (decision 0007).
With it the certificate is loaded again; each of both may be bad without the other.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

from mailguard import __version__, metrics
from mailguard.admin import Admin, Health
from mailguard.checks.dnsbl import Dnsbl
from mailguard.config import Settings, split_address
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
from mailguard.session.spooling import Spooling
from mailguard.smtp.admission import Slots
from mailguard.smtp.identity import Identity
from mailguard.smtp.listener import SmtpListener, listen
from mailguard.spool import Folder

Started = TypeVar("Started")

_SLOT: Final = 0
"""Which worker this is."""
_RESTART_DELAY = 5.0
"""Seconds before a watcher that died of a bug is started again."""
MAX_LOGGED: Final = 20
"""Problems of a policy, and warnings about it, that are logged, a line each; `mailguard check` tells more."""


def assemble(settings: Settings, policy: CompiledPolicy, recorder: Recorder) -> Services:
    """Everything that sessions ask, made from the settings."""
    clock = time.monotonic
    resolver = Resolver(settings.dns, clock)
    spool = Folder(settings.spool_dir, settings.limits.min_spool_free)
    return Services(
        settings=settings,
        policy=policy,
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
    return datetime.now(UTC).astimezone()


def _journal(settings: Settings) -> Journal | None:
    """The journal that is to be kept, of this process.

    Raises:
        Problems: its addresses are to be covered, and the key cannot be had.
    """
    if settings.journal.directory is None:
        return None
    try:
        return Journal(settings.journal, settings.journal.directory, _SLOT, time.monotonic, _now)
    except BadKey as error:
        raise Problems([Problem(str(settings.journal.pseudonym_key), 1, 1, str(error))]) from error


class Worker:
    """The whole service in one process.

    ``start`` and ``stop`` are called once each, from the same event loop. ``settings.policy`` is an absolute path
    by now.

    Attributes:
        ports: what is listened on, in the order of ``settings.listen``.
        admin_port: the port of /metrics.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._admin = Admin(*split_address(settings.admin.address), self.health)
        self._listeners: list[SmtpListener] = []
        self._watchers: list[asyncio.Task[None]] = []
        self._draining = False
        self._aside = Aside("reload")
        self._identity: Identity | None = None
        self._journal: Journal | None = None
        self._reload_wanted = asyncio.Event()
        self.ports: list[int] = []
        self.admin_port = 0

    async def start(self) -> None:
        """Load the policy and listen; when this returns, clients are served.

        Raises:
            Problems: the policy does not load, or the journal's key.
            BadCertificate: the certificate or its key cannot be used.
            OpenRelay: a backend takes mail for anybody.
            CannotListen: an address cannot be listened on. After any of these nothing listens.
        """
        journal = _journal(self._settings)
        self._services = assemble(self._settings, load_for(self._settings), Recorder(journal))
        self._identity = Identity.load(self._settings.tls, time.time)
        await self._services.relay.refuse_open_relays()
        if journal is not None:
            journal.start()
            self._journal = journal
        try:
            await self._listen()
        except BaseException:
            await self.stop()
            raise
        services = self._services
        watches = (services.dnsbl.watch, *services.relay.watches, services.spamassassin.watch, self._reload_when_told)
        for watch in watches:
            self._watchers.append(asyncio.create_task(_watched(watch)))
        metrics.BUILD_INFO.labels(__version__).set(1)
        when_lost(metrics.LOG_LINES_LOST.inc)
        _loaded(services.policy)

    async def _listen(self) -> None:
        slots = Slots(self._settings.limits)
        admin = self._settings.admin.address
        self.admin_port = await _bound("`admin.address`", admin, self._admin.start())
        for number, wanted in enumerate(self._settings.listen, start=1):
            starting = listen(
                self._settings,
                wanted,
                lambda: Session(self._services),
                slots,
                self._identity,
                self._services.recorder,
            )
            self._listeners.append(await _bound(f"entry {number} of `listen`", wanted.address, starting))
        self.ports = [listener.port for listener in self._listeners]
        logger.info("admin listening", address=f"{admin.rpartition(':')[0]}:{self.admin_port}")
        for listener in self._listeners:
            logger.info("listening", address=listener.address, version=__version__)

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
        limit = self._settings.limits.policy_timeout
        try:
            policy = await self._aside.run(lambda: load_for(self._settings), limit)
            self._services.dnsbl.reconfigure(policy.lists)
        except Problems as problems:
            _refused([problem.in_one_line for problem in problems.problems[:MAX_LOGGED]], len(problems.problems))
            return False
        except TimeoutError:
            _refused([f"{self._settings.policy}: it was not loaded within `limits.policy_timeout`, {limit:g} s"], 1)
            return False
        except Exception:  # noqa: BLE001  a bug in what reads a policy must not end the service
            metrics.POLICY_SUCCESS.set(0)
            metrics.ERRORS.inc()
            logger.exception("internal error")
            return False
        self._services = replace(self._services, policy=policy)
        _loaded(policy)
        return True

    def health(self) -> Health:
        """For /healthz and /readyz."""
        reasons = []
        if self._draining:
            reasons.append("draining")
        if not self._services.relay.available:
            reasons.append("no backend answers")
        if trouble := self._services.spooling.trouble():
            reasons.append(f"no spool for long messages: {trouble}")
        return Health(
            not_ready=tuple(reasons), details={"version": __version__, "policy": self._services.policy.digest}
        )

    async def stop(self, drain: float = 0.0) -> None:
        """Stop listening; sessions in the middle of a message have ``drain`` seconds to finish, idle ones get 421."""
        self._draining = True
        await asyncio.gather(*(listener.drain(drain) for listener in self._listeners))
        for watcher in self._watchers:
            watcher.cancel()
        await asyncio.gather(*self._watchers, return_exceptions=True)
        await self._services.relay.finish()
        await self._admin.stop()
        if self._journal is not None:
            await asyncio.to_thread(self._journal.stop)


def _refused(problems: list[str], count: int) -> None:
    """Say that the policy is not taken; ``problems`` are the first of ``count``."""
    metrics.POLICY_SUCCESS.set(0)
    for problem in problems:
        logger.error("policy refused", error=problem)
    if count > len(problems):
        logger.error("policy refused", error=f"{count - len(problems)} more: `mailguard check` tells them", count=count)


async def _bound(setting: str, address: str, starting: Awaitable[Started]) -> Started:
    """What ``starting`` gives.

    Raises:
        CannotListen: it could not have the address.
    """
    try:
        return await starting
    except OSError as error:
        raise CannotListen(setting, address, error) from error


def _loaded(policy: CompiledPolicy) -> None:
    metrics.POLICY_SUCCESS.set(1)
    metrics.POLICY_LOADED.set_to_current_time()
    logger.info("policy loaded", path=str(policy.path), digest=policy.digest)
    for warning in policy.warnings[:MAX_LOGGED]:
        logger.warning("policy warning", error=warning.in_one_line)
    if (more := len(policy.warnings) - MAX_LOGGED) > 0:
        logger.warning("policy warning", error=f"{more} more: `mailguard check` tells them", count=more)


async def _watched(watch: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a watcher until it returns: one that dies of a bug is logged, counted, and started again."""
    while True:
        try:
            return await asyncio.create_task(watch())  # a task of its own each time: decision 0030
        except Exception:  # noqa: BLE001  a bug in a watcher must not end the service
            metrics.ERRORS.inc()
            logger.exception("internal error")
        await asyncio.sleep(_RESTART_DELAY)
