"""Our fields put together, top first (smtp.md, "Headers"): once for the scanners, once for the backend.

Both take the head that the client sent, stripped, and give the octets that replace its ``Head.size`` first octets:
``content.with_head(for_backend(...), head.size)``. The scanners' copy is never delivered.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from mailguard.commands import Path
from mailguard.facts import Answer, ClientAddress, Codes, Known, Message, ReverseDns, TlsSession
from mailguard.message import fields
from mailguard.message.head import Head
from mailguard.message.sought import ENVELOPE
from mailguard.value import value


@dataclass(frozen=True, slots=True)
class Origin:
    """Where messages come from: what our fields tell alike of all that one client sends.

    Attributes:
        hostname: ours, also the authserv-id.
        address: the client's.
        helo: what the client called itself.
        reverse: the client's name; None where nobody asked.
        dnswl: zone and answer of each white list that was asked.
        tls: what the client's connection is encrypted with; None where it is not.
        clause: the FROM clause of Received.
        results: our Authentication-Results field.
    """

    hostname: str
    address: ClientAddress
    helo: str
    reverse: Answer[ReverseDns] | None = None
    dnswl: Sequence[tuple[str, Answer[Codes]]] = ()
    tls: TlsSession | None = None
    clause: str = field(init=False, repr=False, compare=False)
    results: bytes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        clause = fields.from_clause(helo=self.helo, reverse=self.reverse, address=self.address)
        results = fields.authentication_results(
            hostname=self.hostname, address=self.address, reverse=self.reverse, dnswl=self.dnswl
        )
        object.__setattr__(self, "clause", clause)
        object.__setattr__(self, "results", results)


@value(frozen=True, slots=True)
class Transmission:
    """One message's way to us: what Received and Authentication-Results tell.

    Attributes:
        origin: where it comes from.
        reference: the message's reference id.
        with_: the keyword from :func:`mailguard.message.fields.protocol`.
        at: when the content was taken, with a time zone.
    """

    origin: Origin
    reference: str
    with_: str
    at: datetime

    def received(self) -> bytes:
        """Our Received field: the same octets in both compositions."""
        origin = self.origin
        return fields.received(origin.clause, origin.hostname, self.with_, self.reference, self.at, origin.tls)


def for_scanners(head: Head, transmission: Transmission, sender: Path) -> bytes:
    """Return-Path and Received above ``head``, so that SpamAssassin's last external relay is the connecting client.

    The client's own Return-Path and the like are left out of this copy: below a Received line they make SpamAssassin
    distrust ours too (its ``get_envelope_from``), and a spammer could so switch SPF off.
    """
    head = head.without({field for field in head.sought if field[0] in ENVELOPE})
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
        transmission.origin.results,
        fields.mailguard_id(transmission.reference),
    ]
    if isinstance(message.spam, Known):
        ours.append(fields.spam_fields(message.spam.value))
    if isinstance(message.virus, Known):
        ours.append(fields.virus_scanned(message.virus.value, transmission.origin.hostname))
    if tags:
        ours.append(fields.mailguard_tags(tags))
    if folder:
        ours.append(fields.mailguard_folder(folder))
    return b"".join(ours) + head.octets + head.separator
