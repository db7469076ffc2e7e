"""Whether a client is let in is asked before anything is made for it: who is turned away costs neither a task nor a
conversation, less than half of what a greeting does.

Where the peer is to send a PROXY header the client is not known yet: then it is asked behind that, in the connection.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from mailguard import metrics
from mailguard.facts import ClientAddress
from mailguard.reference import new_reference
from mailguard.smtp.admission import Held, TurnedAway, endpoint, is_trusted
from mailguard.smtp.events import End

if TYPE_CHECKING:
    from mailguard.smtp.listener import SmtpListener


class Door(asyncio.Protocol):
    """What every transport has until its client is let in; then a connection takes its place."""

    __slots__ = ("_listener",)

    def __init__(self, listener: SmtpListener) -> None:
        self._listener = listener

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client connected: let it in, with its slot, or say 421 and close."""
        made: asyncio.Transport = transport  # type: ignore[assignment]  # cast() is a call
        name = made.get_extra_info("peername")
        peer = endpoint(name) if name else None  # which is gone already
        try:
            held = self._slot(peer[0]) if peer else None
        except TurnedAway as refusal:
            self._turn_away(made, refusal, peer[0].text if peer else "")
            return
        connection = self._listener.connection(peer, held)
        made.set_protocol(connection)
        connection.connection_made(made)

    def _slot(self, client: ClientAddress) -> Held | None:
        """The slot of ``client``; None where it is one that will say in a PROXY header who the client is.

        Raises:
            TurnedAway: there is none for it.
        """
        if is_trusted(client, self._listener.config.proxy_protocol_from):
            return None
        return self._listener.slots.client(client)

    def _turn_away(self, transport: asyncio.Transport, refusal: TurnedAway, client: str) -> None:
        answer = self._listener.turned_away(refusal, new_reference(), client)
        metrics.CONNECTIONS.labels(End.REFUSED).inc()
        metrics.REPLIES.labels("4", "connect").inc()
        transport.write(answer.encode())
        transport.close()
