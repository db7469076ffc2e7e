"""One configured backend: whether it answers, what it offered when it was last seen, and how a dialogue with it begins.

Its breaker counts only what says that nobody is there: no TCP connection, or a probe that nobody answers, or that gets
no TLS as it should be. A reset, a 421 or a slow greeting may be the fault of one client (PROXY: Exim looks up *that
client's* name before it greets) or of too many connections at once; if such things opened the breaker, one client could
shut mail off for all.

Probes are connections of our own (PROXY LOCAL) that greet and quit: every ``backend_retry`` seconds, sooner after a
failure, so that a restarted backend is taken up again at once.

Where TLS is opportunistic and a handshake fails, that connection is cut, and for ``backend_retry`` seconds new ones do
without (decision 0089).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from mailguard import config, metrics
from mailguard.log import logger
from mailguard.net.breaker import Breaker, State
from mailguard.relay.answers import BackendFailed, Fault
from mailguard.relay.backend import Dialogue
from mailguard.relay.conversation import Conversation, Tls
from mailguard.relay.identity import Identity, Introduction, introduce
from mailguard.relay.offer import Offer
from mailguard.relay.open_relay import PROBE, OpenRelay, takes_anybody
from mailguard.relay.pool import Pool
from mailguard.relay.tls import BackendTls

_FIRST_RETRY: Final = 1.0
"""Seconds from a failed probe to the next; doubled up to ``backend_retry``."""


class Member:
    """A backend among those of a relay.

    Attributes:
        address: as configured.
        offer: what it offered last, None while it was never seen.
        up: whether it answered when it was last asked, and is no open relay.
        open_relay: whether it takes mail for anybody, so that it is not used; None while that was not asked.

    Raises:
        BadAuthorities: its ``tls_ca_file`` cannot be used.
    """

    def __init__(
        self, backend: config.Backend, limits: config.Limits, hostname: str, clock: Callable[[], float]
    ) -> None:
        self.address = backend.address
        self.offer: Offer | None = None
        self.up = False
        self.open_relay: bool | None = None if backend.relay_probe else False
        self._backend = backend
        self._limits = limits
        self._hostname = hostname
        self._clock = clock
        self._breaker = Breaker(limits.backend_failures, limits.backend_retry, clock)
        self._tls = BackendTls(backend) if backend.tls != "none" else None
        self._without_tls_until = float("-inf")
        reused = backend.client_identity == "none" and limits.backend_reuse_timeout > 0
        self._pool = Pool(limits.backend_reuse_timeout) if reused else None
        self._connections = 0
        self._reused = metrics.BACKEND_CONNECTIONS.labels(self.address, "reused")
        self._gauge = metrics.BACKEND_UP.labels(self.address)
        self._gauge.set(1)

    @property
    def in_turn(self) -> bool:
        """Whether it takes part when mail is shared out: it is no open relay, and its breaker is not open."""
        return not self.open_relay and self._breaker.state is not State.OPEN

    def admit(self) -> bool:
        """Whether it may be asked now; False while its breaker is open, and always for an open relay."""
        return not self.open_relay and self._breaker.admit()

    # -- connections for mail

    def waiting(self) -> Dialogue | None:
        """A dialogue that waits for another transaction; to be given back as one of :meth:`open`."""
        dialogue = self._pool.take() if self._pool is not None else None
        if dialogue is not None:
            self._reused.inc()
        return dialogue

    async def open(self, identity: Identity) -> Dialogue:
        """A new dialogue for the client ``identity``, past EHLO; to be given back by :meth:`leave`, or aborted.

        Raises:
            BackendFailed: there is none.
        """
        if self._connections >= self._backend.connections:
            raise BackendFailed("all the connections that it may have are in use")
        self._connections += 1
        try:
            dialogue = await self._open(identity, self._limits.backend_reply_timeout, {"unreachable"})
        except BaseException:
            self._connections -= 1
            raise
        dialogue.on_end = self._ended
        metrics.BACKEND_CONNECTIONS.labels(self.address, "new").inc()
        return dialogue

    def leave(self, dialogue: Dialogue) -> None:
        """Done with ``dialogue``: it ends with QUIT, or waits for another transaction."""
        more = dialogue.transactions < self._limits.max_messages_per_backend_connection
        if self._pool is not None and more and dialogue.reusable():
            self._pool.put(dialogue)
        else:
            dialogue.quit()

    def close(self) -> None:
        """End the connections that wait."""
        if self._pool is not None:
            self._pool.close()

    def _ended(self) -> None:
        self._connections -= 1

    # -- connections of our own

    async def probe(self) -> bool:
        """Greet and quit as ourselves; whether it answered as it should. Heeds no breaker, but tells it."""
        try:
            counted: set[Fault] = {"unreachable", "silent", "tls"}
            dialogue = await self._open(None, self._limits.backend_connect_timeout, counted)
        except BackendFailed as failure:
            logger.debug("backend probe failed", backend=self.address, error=str(failure))
            return False
        dialogue.quit()
        await self.vet()
        return not self.open_relay

    async def vet(self) -> None:
        """Find out, once, whether it is an open relay; without an answer that stays unknown."""
        if self.open_relay is not None:
            return
        try:
            dialogue = await self._open(PROBE, self._limits.backend_connect_timeout, {"unreachable"})
            self.open_relay = await takes_anybody(dialogue)
        except BackendFailed as failure:
            logger.debug("backend probe failed", backend=self.address, error=str(failure))
        if self.open_relay:
            self.up = False
            logger.error("backend is an open relay", backend=self.address, error=str(OpenRelay(self.address)))

    async def watch(self) -> None:
        """Probe until cancelled."""
        pause = _FIRST_RETRY
        while True:
            well = await self.probe()
            pause = self._limits.backend_retry if well else min(pause, self._limits.backend_retry)
            await asyncio.sleep(pause)
            pause = _FIRST_RETRY if well else pause * 2

    # -- any connection

    async def _open(self, identity: Identity | None, patience: float, counted: set[Fault]) -> Dialogue:
        introduction = introduce(identity, self._hostname, self._backend.client_identity)
        try:
            dialogue = await self._connect(introduction, patience)
        except BackendFailed as failure:
            if failure.fault in counted:
                self._failed(str(failure))
            raise
        self.offer = dialogue.offer
        self._answered()
        return dialogue

    async def _connect(self, introduction: Introduction, patience: float) -> Dialogue:
        if self._clock() >= self._without_tls_until:
            try:
                return await self._dial(introduction, self._backend.tls, patience)
            except BackendFailed as failure:
                if failure.fault != "tls" or self._backend.tls != "opportunistic":
                    raise
                self._without_tls_until = self._clock() + self._limits.backend_retry
                logger.warning("backend does without TLS", backend=self.address, error=str(failure))
        return await self._dial(introduction, "none", patience)

    async def _dial(self, introduction: Introduction, tls: Tls, patience: float) -> Dialogue:
        talk = Conversation(introduction, tls, self._backend.ignore_extensions)
        return await Dialogue.open(self.address, talk, self._tls, self._limits, patience=patience)

    def _answered(self) -> None:
        if self._breaker.state is not State.CLOSED:
            logger.info("backend is back", backend=self.address)
        self._breaker.succeeded()
        self._gauge.set(1)
        self.up = not self.open_relay

    def _failed(self, why: str) -> None:
        was_closed = self._breaker.state is State.CLOSED
        self._breaker.failed()
        self.up = False
        if was_closed and self._breaker.state is not State.CLOSED:
            logger.warning("backend is left alone", backend=self.address, error=why)
            self._gauge.set(0)
