"""One configured backend: whether it answers, what it offered when it was last seen, and how a dialogue with it begins.

Its breaker counts only what says that nobody is there: no TCP connection, or a probe that nobody answers. A reset, a
421 or a slow greeting may be the fault of one client (PROXY: Exim looks up *that client's* name before it greets) or
of too many connections at once; if such things opened the breaker, one client could shut mail off for all.

Probes are connections of our own (PROXY LOCAL) that greet and quit: every ``backend_retry`` seconds, sooner after a
failure, so that a restarted backend is taken up again at once.
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
from mailguard.relay.conversation import Conversation
from mailguard.relay.identity import Identity, introduce
from mailguard.relay.offer import Offer
from mailguard.relay.open_relay import PROBE, OpenRelay, takes_anybody

_FIRST_RETRY: Final = 1.0
"""Seconds from a failed probe to the next; doubled up to ``backend_retry``."""


class Member:
    """A backend among those of a relay.

    Attributes:
        address: as configured.
        offer: what it offered last, None while it was never seen.
        up: whether it answered when it was last asked, and is no open relay.
        open_relay: whether it takes mail for anybody, so that it is not used; None while that was not asked.
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
        self._breaker = Breaker(limits.backend_failures, limits.backend_retry, clock)
        self._gauge = metrics.BACKEND_UP.labels(self.address)
        self._gauge.set(1)

    def admit(self) -> bool:
        """Whether it may be asked now; False while its breaker is open, and always for an open relay."""
        return not self.open_relay and self._breaker.admit()

    async def open(self, identity: Identity) -> Dialogue:
        """A dialogue for the client ``identity``, past EHLO.

        Raises:
            BackendFailed: there is none.
        """
        return await self._open(identity, self._limits.backend_reply_timeout, {"unreachable"})

    async def probe(self) -> bool:
        """Greet and quit as ourselves; whether it answered as it should. Heeds no breaker, but tells it."""
        try:
            dialogue = await self._open(None, self._limits.backend_connect_timeout, {"unreachable", "silent"})
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

    async def _open(self, identity: Identity | None, patience: float, counted: set[Fault]) -> Dialogue:
        talk = Conversation(introduce(identity, self._hostname, self._backend.client_identity))
        try:
            dialogue = await Dialogue.open(self.address, talk, self._limits, patience=patience)
        except BackendFailed as failure:
            if failure.fault in counted:
                self._failed(str(failure))
            raise
        self.offer = dialogue.offer
        self._answered()
        return dialogue

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
