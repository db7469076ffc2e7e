"""The backends together: what all of them offer, and a transaction with one of them.

They are tried in the order of their priority, and in turn by weight within one, those left out whose breaker is open. A
backend is never retried for mail behind the sender's back: there is no queue here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from mailguard import config
from mailguard.commands import Extensions, MailFrom
from mailguard.net.together import together
from mailguard.relay.identity import Identity
from mailguard.relay.member import Member
from mailguard.relay.offer import Offer
from mailguard.relay.open_relay import OpenRelay
from mailguard.relay.shares import Shares
from mailguard.relay.transaction import Finishing, Transaction
from mailguard.relay.turns import Turns


class Relay:
    """All configured backends.

    Args:
        backends: at least one.
        limits: time and size bounds.
        hostname: our name in EHLO where no client is named.
        clock: seconds that only grow, for the breakers.

    Raises:
        BadAuthorities: the ``tls_ca_file`` of a backend cannot be used.
    """

    def __init__(
        self,
        backends: Sequence[config.Backend],
        limits: config.Limits,
        hostname: str,
        clock: Callable[[], float],
    ) -> None:
        self._members = tuple(Member(backend, limits, hostname, clock) for backend in backends)
        shares = zip(self._members, backends, strict=True)
        self._turns = Turns((member, backend.priority, backend.weight) for member, backend in shares)
        self._limits = limits
        self._finishing: Finishing = set()
        self._shares = Shares(limits.max_backend_connections_per_client)
        self._seen: list[Offer | None] = []
        self._extensions = Extensions()

    @property
    def extensions(self) -> Extensions:
        """What every backend offers, as last seen; nothing but SIZE while one of them was never seen (smtp.md)."""
        offers = [member.offer for member in self._members]
        if offers != self._seen:
            self._seen, self._extensions = offers, self._common(offers)
        return self._extensions

    def _common(self, offers: Sequence[Offer | None]) -> Extensions:
        sizes = [offer.size for offer in offers if offer and offer.size]
        return Extensions(
            size=min([self._limits.max_message_size, *sizes]),
            eightbitmime=all(offer is not None and offer.eightbitmime for offer in offers),
            smtputf8=all(offer is not None and offer.smtputf8 for offer in offers),
            dsn=all(offer is not None and offer.dsn for offer in offers),
        )

    @property
    def available(self) -> bool:
        """Whether a backend answered when it was last asked; False until the first probe."""
        return any(member.up for member in self._members)

    async def probe(self) -> bool:
        """Ask every backend once, at the same time; whether one answered as it should."""
        return any(await together(member.probe() for member in self._members))

    async def refuse_open_relays(self) -> None:
        """Ask every backend once whether it takes mail for anybody; to be called before clients are served.

        Raises:
            OpenRelay: one does.
        """
        await together(member.vet() for member in self._members)
        for member in self._members:
            if member.open_relay:
                raise OpenRelay(member.address)

    @property
    def watches(self) -> list[Callable[[], Coroutine[Any, Any, None]]]:
        """One for each backend: it probes until cancelled; :attr:`extensions` and :attr:`available` live by it."""
        return [member.watch for member in self._members]

    def transaction(self, identity: Identity, mail: MailFrom) -> Transaction:
        """A transaction for one client's MAIL; nothing is sent before its first :meth:`Transaction.rcpt`."""
        members = self._turns.order(lambda member: member.in_turn)
        return Transaction(members, self._limits, self._finishing, self._shares, identity, mail)

    async def finish(self, seconds: float | None = None) -> int:
        """Wait for the transactions that stand between content and reply though nobody waits for them any more.

        To be called once no client is served any more. Connections that wait for another message end here. Without
        ``seconds`` it takes as long as ``backend_final_timeout`` lets them.

        Returns:
            How many have no reply after ``seconds``: whether their messages were taken nobody knows (RFC 1047).
        """
        if self._finishing:
            await asyncio.wait(self._finishing, timeout=seconds)
        for member in self._members:
            member.close()
        return len(self._finishing)
