"""The five messages of the demo, each with what must become of it."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime

from mailguard.lab import world
from mailguard.lab.clamd import EICAR
from mailguard.lab.exim import INBOX
from mailguard.lab.spamd import GTUBE

SENDER = "newsletter@example.org"
RECIPIENT = "alice@example.com"


@dataclass(frozen=True)
class Letter:
    """One message.

    Attributes:
        title: what it is, for the table.
        client: the address that it comes from.
        codes: the replies that are right, by their code.
        folders: where it may be found; empty where it must not be delivered.
        body: its text.
        trail: header lines that other hosts left, of its own top.
    """

    title: str
    client: str
    codes: tuple[int, ...]
    folders: tuple[str, ...]
    body: str
    trail: str = ""
    message_id: str = field(default_factory=lambda: f"<{secrets.token_hex(12)}@example.org>")

    @property
    def helo(self) -> str:
        """The client's true name."""
        return world.host_name(self.client)

    def encode(self) -> bytes:
        """The octets to send, CR LF at the end of each line."""
        fields: Mapping[str, str] = {
            "From": f"Newsletter <{SENDER}>",
            "To": f"Alice <{RECIPIENT}>",
            "Subject": self.title,
            "Date": format_datetime(datetime.now(UTC)),
            "Message-ID": self.message_id,
            "MIME-Version": "1.0",
            "Content-Type": "text/plain; charset=us-ascii",
        }
        head = self.trail + "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        return (head + "\r\n" + self.body + "\r\n").encode("ascii")


def _received(host: str, address: str, by: str) -> str:
    """A Received line as relays write it (RFC 5321 4.4)."""
    date = format_datetime(datetime.now(UTC))
    return f"Received: from {host} ({host} [{address}])\r\n\tby {by} with ESMTPS id q7Rt2;\r\n\t{date}\r\n"


_GREETING = "Dear Alice,\r\n\r\nthe meeting is on Thursday at ten, as we said. I look forward to it.\r\n\r\nBob"


def five() -> tuple[Letter, ...]:
    """The five messages, each with a Message-ID of its own."""
    relayed = "smtp.example.org"
    return (
        Letter("A clean message", "198.18.1.10", (250,), (INBOX,), _GREETING),
        Letter("From a client on two lists", world.LISTED_TWICE, (554,), (), _GREETING),
        Letter("Spam (GTUBE)", "198.18.1.11", (250,), ("Junk",), GTUBE),
        Letter("A virus (EICAR)", "198.18.1.12", (554,), (), EICAR.decode("ascii")),
        Letter(
            "Clean client, listed hosts in Received",
            "198.18.1.13",
            (250,),
            (INBOX, "Junk"),
            _GREETING,
            trail=_received(relayed, "198.18.1.25", "mail.example.org")
            + _received("dialup.example.net", world.LISTED_TWICE, relayed)
            + _received("another.example.net", world.LISTED_SBL, relayed)
            + _received("snowshoe.example.net", world.LISTED_CSS, relayed),
        ),
    )
