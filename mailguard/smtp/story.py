"""What the SMTP server asks of whoever decides: one :class:`Story` a connection, told in the order of what happens.

The server makes a story by its factory, calls its methods one at a time (never two at once), sends what they answer.
Refusals by syntax, order and bounds never reach the story: the conversation gives them itself.

Every call may take its time within the story's own bounds; meanwhile nothing more is read from the client. No call is
cancelled because the client vanished: ``Peer.gone`` is set, and the story decides what that means (a transaction past
its final dot goes on). A call is cancelled only when a drain runs out of time.

An exception out of a call is a bug: it is logged with its traceback and counted; the client gets 451 4.3.0 with
``reference`` (421 before the greeting, and where state could leak: ``reset``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import field
from typing import Final, Protocol, TypeAlias

from mailguard.commands import Extensions, MailFrom, RcptTo
from mailguard.facts import Answer, ClientAddress, ReverseDns, TlsSession
from mailguard.replies import Reply
from mailguard.smtp.events import End, EndOfData, HeloGiven
from mailguard.value import value


@value(frozen=True, slots=True)
class Told:
    """What a trusted peer says of the client that it relays for, and the connection does not show (XCLIENT).

    Attributes:
        helo: what the client called itself; empty: what is said in EHLO holds.
        extended: it did so with EHLO; None where nobody said.
        reverse: its name; None where nobody said, so that it is to be asked for.
    """

    helo: str = ""
    extended: bool | None = None
    reverse: Answer[ReverseDns] | None = None

    def hello(self, said: HeloGiven) -> HeloGiven:
        """The client's own greeting, where the peer greets us with ``said``."""
        if not self.helo and self.extended is None:
            return said
        extended = said.extended if self.extended is None else self.extended
        return HeloGiven(self.helo or said.name, extended)


NOTHING_TOLD: Final = Told()


@value(frozen=True, slots=True)
class Peer:
    """Who connected; after a PROXY header or XCLIENT from a trusted peer, whom that names.

    Attributes:
        address: the client's address.
        port: the client's port, 0 where unknown.
        local: our address and port that the client connected to.
        told: what else is known of it.
        gone: set when the client is known to have left: reset, or end of input with nothing left to process.
    """

    address: ClientAddress
    port: int
    local: tuple[ClientAddress, int]
    told: Told = NOTHING_TOLD
    gone: asyncio.Event = field(default_factory=asyncio.Event, compare=False, repr=False)


@value(frozen=True, slots=True)
class ConnectionEnd:
    """How a connection ended, for the log: ``seconds`` from accept, ``commands`` and ``errors`` as counted."""

    how: End
    seconds: float
    commands: int = 0
    errors: int = 0


class Story(Protocol):
    """One connection as its decider sees it."""

    @property
    def reference(self) -> str:
        """The id under which log and journal hold what happens now; ends each of the server's own 4xx and 5xx."""

    async def connected(self, peer: Peer) -> Reply | None:
        """A client is here: start what is to be asked about it. A reply (421) refuses it at once."""

    def greeting_wait(self) -> float:
        """Seconds to listen for an early talker before the greeting; 0 for not at all. Asked after ``connected``."""

    async def greeting(self, early_talker: Answer[bool]) -> Reply:
        """The greeting: 220, or 421 or 554 to refuse. ``early_talker`` is unknown where nothing was waited."""

    async def secured(self, tls: TlsSession) -> None:
        """TLS is on. What the client said in EHLO is void (RFC 3207 4.2); who it is, and when it spoke, is not.

        Not called where the client is behind a peer that named it by XCLIENT: how it came to that peer nobody knows.
        """

    async def helo(self, event: HeloGiven) -> Reply:
        """EHLO or HELO: a refusal, or the 250 whose only line is ours; the server adds the keywords.

        A transaction in progress is dropped only if this is taken, by a ``reset`` that follows (RFC 5321 4.1.4).
        """

    def extensions(self) -> Extensions:
        """The end-to-end extensions to offer in the EHLO that is being answered."""

    async def mail(self, command: MailFrom) -> Reply:
        """MAIL: a transaction begins if this is positive."""

    async def rcpt(self, command: RcptTo) -> Reply:
        """RCPT: one more recipient if this is positive."""

    async def data(self) -> Reply:
        """DATA, at least one recipient was taken: 354, or a refusal; the transaction stays as it is then."""

    async def content(self, chunk: bytes) -> None:
        """The next octets of the message: unstuffed, line ends CR LF, never empty."""

    async def end_of_data(self, end: EndOfData) -> Reply:
        """The message is whole: the reply to it. The transaction is over, no ``reset`` follows."""

    async def reset(self) -> None:
        """The transaction is dropped: RSET, EHLO, content too large or malformed. ``mail`` may follow."""

    async def closed(self, end: ConnectionEnd) -> None:
        """The connection is over; always the last call, once, also after ``connected`` refused or raised."""


StoryFactory: TypeAlias = Callable[[], Story]
"""Makes the story of a new connection; cheap, never raises."""
