"""Mail for tests: small messages with an id of their own, and one way to send them and read the replies."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Final

from tests.support.client import Client

_IDS = itertools.count(1)

GTUBE: Final = "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"
"""SpamAssassin's test of unsolicited bulk email: 1000 points."""
EICAR: Final = "X5O!P%@AP[4\\PZX54(P^)7CC)7}$" + "EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"
"""The test file of the anti-virus trade, in two pieces so that this file is not taken for it."""


@dataclass(frozen=True)
class Mail:
    """One message: its octets and its Message-ID, angle brackets included."""

    octets: bytes
    message_id: str


def mail(
    body: str = "Hello, this is a plain text.", *, headers: Sequence[str] = (), sender: str = "sender@example.org"
) -> Mail:
    """A message of now with a Message-ID that no other has; ``headers`` stand above the rest.

    SpamAssassin gives points for a date that is hours or days away from the one in our Received line.
    """
    message_id = f"<{next(_IDS)}.test@example.org>"
    lines = [
        *headers,
        f"From: A Sender <{sender}>",
        "To: A User <alice@example.com>",
        "Subject: A test",
        f"Message-ID: {message_id}",
        f"Date: {format_datetime(datetime.now(UTC))}",
        "",
        body,
        "",
    ]
    return Mail("\r\n".join(lines).encode(), message_id)


@dataclass(frozen=True)
class Outcome:
    """The replies to one transaction: the last line of each; ``content`` is empty where DATA was never taken."""

    mail: bytes
    rcpt: list[bytes]
    data: bytes
    content: bytes = b""


async def submit(
    client: Client,
    octets: bytes,
    *recipients: str,
    sender: str = "sender@example.org",
    helo: str = "mail.example.org",
) -> Outcome:
    """Greeting, EHLO and one transaction of ``client``; the connection stays open."""
    await client.reply()
    await client.command(b"EHLO " + helo.encode())
    return await transaction(client, octets, *recipients, sender=sender)


async def transaction(client: Client, octets: bytes, *recipients: str, sender: str = "sender@example.org") -> Outcome:
    """One transaction of a client that has said EHLO."""
    chosen = recipients or ("alice@example.com",)
    replies = await client.message(sender.encode(), [name.encode() for name in chosen], octets)
    last = [reply[-1] if reply else b"" for reply in replies]
    content = last[len(chosen) + 2] if len(last) > len(chosen) + 2 else b""
    return Outcome(last[0], last[1 : len(chosen) + 1], last[len(chosen) + 1], content)
