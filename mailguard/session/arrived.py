"""A message that is here whole: its header section within the bounds or refused, stripped, and shown to the scanners.

A session does this with what a client sent (``story``), a rehearsal with what it would send.

The scanners see the message under our Return-Path and Received and without forged header fields, so that SpamAssassin's
last external relay is the connecting client (smtp.md, "Headers"). A scanner that is not configured, or does not answer
within ``scan_deadline``, is unknown; what unknown means is the policy's word. Where none is configured no copy is made.

Failure: :class:`mailguard.spool.SpoolLost` where the content cannot be read back. Units: octets.
"""

from __future__ import annotations

import asyncio
from collections.abc import Set as AbstractSet
from typing import Final

from mailguard import message
from mailguard.commands import Path
from mailguard.config import Settings
from mailguard.facts import NOT_ASKED, Client, Message, Source, TlsSession, Unknown
from mailguard.net.together import both
from mailguard.replies import Reply, reply
from mailguard.session.services import Services
from mailguard.spool import Content
from mailguard.value import value

_LONG_HEAD: Final = 65_536
"""Octets of a header section from which on it is read in a thread: 1 MiB of fields takes up to a third of a second, in
which other sessions would wait (decision 0066). A usual one takes less than a thread costs.
"""


@value(frozen=True, slots=True)
class Arrived:
    """A message within its bounds.

    Attributes:
        content: as it came.
        stripped: its header section without fields that only we write.
        head_size: octets of ``content`` that the header section took.
        size: octets as it came, but for its Received fields: a fact that may refuse counts none.
        message_id: for the log.
    """

    content: Content
    stripped: message.Head
    head_size: int
    size: int
    message_id: str

    def under(self, above: bytes) -> Content:
        """The message with ``above`` in place of its header section; to be closed."""
        return self.content.with_head(above, self.head_size)


def origin(
    services: Services, client: Client, helo: str, *, own_relay: bool, tls: TlsSession | None = None
) -> message.Origin:
    """Where the messages of ``client``, called ``helo`` by itself, come from; of our own relays nothing was asked."""
    return message.Origin(
        hostname=services.settings.hostname,
        address=client.address,
        helo=helo,
        reverse=None if own_relay else client.reverse_dns,
        dnswl=() if own_relay else services.policy.white_lists(client),
        tls=tls,
    )


async def read(content: Content, settings: Settings) -> Arrived | Reply:
    """``content`` as a message, or what it is refused with for the form of its header section."""
    limits = settings.limits
    beginning = content.prefix(limits.max_header_size + 2)
    if len(beginning) <= _LONG_HEAD or b"\r\n\r\n" in beginning[:_LONG_HEAD]:
        head = message.parse_head(beginning)
    else:
        head = await asyncio.to_thread(message.parse_head, beginning)
    if head.size > limits.max_header_size:
        return reply("header_too_large", limit=limits.max_header_size)
    received = head.named(message.RECEIVED)
    if len(received) > limits.max_received:  # a loop (RFC 5321 6.3)
        return reply("loop", limit=limits.max_received)
    stripped = message.strip_forged(head, settings.hostname)
    return Arrived(content, stripped, head.size, content.size - len(b"".join(received)), head.message_id)


async def shown(
    services: Services,
    arrived: Arrived,
    way: message.Transmission,
    sender: Path,
    spared: AbstractSet[Source] = frozenset(),
) -> Message:
    """What the scanners say, but for those ``spared``.

    Args:
        way: how the message came to us, from the client that it is scored for.
        sender: the envelope sender.
    """
    clamav = services.clamav.configured and Source.CLAMAV not in spared
    spamassassin = services.spamassassin.configured and Source.SPAMASSASSIN not in spared
    if not (clamav or spamassassin):
        return Message(arrived.size)
    deadline = asyncio.get_running_loop().time() + services.settings.limits.scan_deadline
    with arrived.under(message.for_scanners(arrived.stripped, way, sender)) as scanned:
        virus, spam = await both(
            services.clamav.scan(scanned, deadline) if clamav else _nobody(),
            services.spamassassin.score(scanned, deadline, way.origin.address) if spamassassin else _nobody(),
        )
    return Message(arrived.size, virus, spam)


async def _nobody() -> Unknown:
    return NOT_ASKED
