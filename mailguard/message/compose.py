"""Our fields put together, top first (smtp.md, "Headers"): once for the scanners, once for the backend.

Both take the head that the client sent, stripped, and give the octets that replace its ``Head.size`` first octets:
``content.with_head(for_backend(...), head.size)``. The scanners' copy is never delivered.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from mailguard.commands import Path
from mailguard.facts import Answer, ClientAddress, Codes, Known, Message, ReverseDns, TlsSession
from mailguard.message import fields
from mailguard.message.head import Head
from mailguard.message.sought import ENVELOPE


@dataclass(frozen=True, slots=True)
class Transmission:
    """One message's way to us: what Received and Authentication-Results tell.

    Attributes:
        hostname: ours, also the authserv-id.
        reference: the message's reference id.
        address: the client's.
        helo: what the client called itself.
        with_: the keyword from :func:`mailguard.message.fields.protocol`.
        at: when the content was taken, with a time zone.
        reverse: the client's name; None where nobody asked.
        dnswl: zone and answer of each white list that was asked.
        tls: what the client's connection was encrypted with; None where it was not.
    """

    hostname: str
    reference: str
    address: ClientAddress
    helo: str
    with_: str
    at: datetime
    reverse: Answer[ReverseDns] | None = None
    dnswl: Sequence[tuple[str, Answer[Codes]]] = ()
    tls: TlsSession | None = None

    def received(self) -> bytes:
        """Our Received field: the same octets in both compositions."""
        return fields.received(
            helo=self.helo,
            reverse=self.reverse,
            address=self.address,
            hostname=self.hostname,
            with_=self.with_,
            tls=self.tls,
            reference=self.reference,
            now=self.at,
        )

    def authentication_results(self) -> bytes:
        """Our Authentication-Results field."""
        return fields.authentication_results(
            hostname=self.hostname, address=self.address, reverse=self.reverse, dnswl=self.dnswl
        )


def for_scanners(head: Head, transmission: Transmission, sender: Path) -> bytes:
    """Return-Path and Received above ``head``, so that SpamAssassin's last external relay is the connecting client.

    The client's own Return-Path and the like are left out of this copy: below a Received line they make SpamAssassin
    distrust ours too (its ``get_envelope_from``), and a spammer could so switch SPF off.
    """
    head = head.without(lambda piece: piece.name in ENVELOPE)
    return fields.return_path(sender) + transmission.received() + head.octets + head.separator


def for_backend(
    head: Head, transmission: Transmission, message: Message, *, folder: str | None = None, tags: Sequence[str] = ()
) -> bytes:
    """Everything that recipients get to see, above ``head``: the scanners' answers only where they are known.

    Args:
        head: from ``strip_forged``.
        transmission: the way to us.
        message: what the scanners said.
        folder: where it is to be filed, as :func:`mailguard.message.filing` says it; None for nowhere in particular.
        tags: symbols that rules gave.
    """
    ours = [
        transmission.received(),
        transmission.authentication_results(),
        fields.mailguard_id(transmission.reference),
    ]
    if isinstance(message.spam, Known):
        ours.append(fields.spam_fields(message.spam.value))
    if isinstance(message.virus, Known):
        ours.append(fields.virus_scanned(message.virus.value, transmission.hostname))
    if tags:
        ours.append(fields.mailguard_tags(tags))
    if folder:
        ours.append(fields.mailguard_folder(folder))
    return b"".join(ours) + head.octets + head.separator
