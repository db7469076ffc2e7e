"""A connection rehearsed: what a session would find out about a client, its envelope and its message, were it here.

The questions are those of :mod:`mailguard.session.questions`, the message is read and shown to the scanners by
:mod:`mailguard.session.arrived`, and each has the bound that it has there. Nothing is said to a backend, nothing is
written down. Whether the client would speak before the greeting cannot be rehearsed: it counts as one that waits.

Failure: an answer that does not come is unknown, as in a session; :class:`mailguard.spool.SpoolError` where the message
cannot be kept.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from mailguard import message
from mailguard.commands import Path
from mailguard.facts import Answer, Client, ClientAddress, Helo, Known, Message, Source
from mailguard.replies import Reply
from mailguard.session.arrived import origin, read, shown
from mailguard.session.questions import Questions
from mailguard.session.services import Services
from mailguard.smtp.admission import is_trusted
from mailguard.spool import Content, Spool

REFERENCE: Final = "REFERENCE-1"
"""What stands where a real reply has its reference, and is as long."""


@dataclass(frozen=True, slots=True)
class Said:
    """What the client would say.

    Attributes:
        address: it.
        helo: its name in EHLO; None where nobody says, so that nobody is asked about it.
        sender: likewise its reverse-path.
        content: the message as it comes, its lines ending in CR LF; None: it is not sent.
        spared: scanners that are not asked.
    """

    address: ClientAddress
    helo: str | None = None
    sender: Path | None = None
    content: bytes | None = None
    spared: frozenset[Source] = frozenset()


@dataclass(frozen=True, slots=True)
class Heard:
    """What was found out.

    Attributes:
        client: the client.
        helo: its name.
        sender_resolves: whether the sender's domain takes mail.
        message: what the scanners say; None where there is none, or it is refused before they are asked.
        refusal: what the message is refused with whatever the policy says, for the form of its header section.
        own_relay: whether the client is a relay of ours, about which nobody is asked.
        seconds: how long each list took, by its name.
    """

    client: Client
    helo: Helo
    sender_resolves: Answer[bool]
    message: Message | None = None
    refusal: Reply | None = None
    own_relay: bool = False
    seconds: dict[str, float] = field(default_factory=dict)


async def rehearse(services: Services, said: Said) -> Heard:
    """Ask all that a session would ask about ``said``.

    Raises:
        SpoolError: the message could not be kept.
    """
    questions = Questions(services, said.address)
    try:
        questions.about_client()
        questions.early_talker(Known(False))
        if said.helo is not None:
            questions.about_helo(said.helo)
        if said.sender is not None:
            questions.about_sender(said.sender)
        await questions.answered()
        client, helo, resolves = questions.client(), questions.helo(), questions.sender_resolves()
        seconds = dict(questions.dnsbl_seconds)
    finally:
        questions.close()
    found, refusal = await _scanned(services, said, client)
    return Heard(client, helo, resolves, found, refusal, questions.own_relay, seconds)


async def _scanned(services: Services, said: Said, client: Client) -> tuple[Message | None, Reply | None]:
    if said.content is None:
        return None, None
    with _kept(services.spooling.begin(), said.content) as content:
        arrived = await read(content, services.settings)
        if isinstance(arrived, Reply):
            return None, arrived
        way = transmission(services, client, said.helo or "")
        return await shown(services, arrived, way, said.sender or Path(), said.spared), None


def _kept(spool: Spool, octets: bytes) -> Content:
    try:
        spool.write(octets)
        return spool.finish()
    except BaseException:
        spool.close()
        raise


def transmission(services: Services, client: Client, helo: str) -> message.Transmission:
    """How the message would have come to us."""
    own_relay = is_trusted(client.address, services.settings.own_relays)
    came_from = origin(services, client, helo, own_relay=own_relay)
    return message.Transmission(came_from, REFERENCE, message.protocol(extended=True), services.now())
