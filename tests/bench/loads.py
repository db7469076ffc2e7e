"""What is done to a server in one round, as values that travel to the load generator's process as JSON."""

from __future__ import annotations

from argparse import ArgumentTypeError
from contextlib import suppress
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network
from typing import Final

LISTED: Final = IPv4Network("198.18.128.0/17")
"""Clients on two lists (:data:`tests.bench.subjects.LISTS`)."""
CLEAN: Final = IPv4Network("198.19.0.0/16")
"""Clients on no list."""

NEW_CLIENTS: Final = 550
"""New addresses of one round at the most."""

SENDER: Final = b"sender@example.org"
RECIPIENT: Final = b"alice@example.com"
HELO: Final = b"mail.example.org"

HEAD: Final = b"""\
Received: from mail-7.example.org (mail-7.example.org [198.19.3.7])
\tby relay.example.org (Postfix) with ESMTPS id 4ZsR2k1ZzLz9sW
\tfor <alice@example.com>; Sat, 21 Nov 2026 10:00:02 +0000 (UTC)
Received: from [10.1.2.3] (unknown [10.1.2.3])
\tby mail-7.example.org (Postfix) with ESMTPSA id 4ZsR2j0XyKz7Qf;
\tSat, 21 Nov 2026 10:00:01 +0000 (UTC)
DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.org; s=s1;
\th=from:to:subject:date:message-id:mime-version:content-type;
\tbh=frcCV1k9oG9oKj3dpUqdJg1PxRT2RSN/XKdLCPjaYaY=;
\tb=dGhpcyBpcyBubyBzaWduYXR1cmUsIGl0IG9ubHkgbG9va3MgbGlrZSBvbmUgYW5kIGhhcyB0
\t aGUgbGVuZ3RoIG9mIG9uZSwgd2hpY2ggaXMgYWxsIHRoYXQgaXMgbWVhc3VyZWQgaGVyZQ==
From: A Sender <sender@example.org>
To: A User <alice@example.com>
Subject: A message of an ordinary kind
Message-ID: <20261121100000.1.bench@example.org>
Date: Sat, 21 Nov 2026 10:00:00 +0000
MIME-Version: 1.0
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: 7bit
User-Agent: Bench/1.0

""".replace(b"\n", b"\r\n")
"""The header section of every message sent here, its empty line included."""

_LINE: Final = b"The quick brown fox jumps over the lazy dog, and sixty-nine columns are.\r\n"


def message(size: int) -> bytes:
    """A message of about ``size`` octets (whole lines), never shorter than its head; no line begins with a dot."""
    return HEAD + _LINE * ((size - len(HEAD)) // len(_LINE))


@dataclass(frozen=True)
class Load:
    """The work of one round.

    Attributes:
        name: for the report.
        refused: every recipient is to be refused; else every message is to be taken.
        connections: how many, one after the other; at the most (:func:`tests.bench.rounds.enough`).
        at_once: how many of them at a time.
        messages: in each connection.
        size: of a message, in octets.
        clients: how many addresses take turns; 0 for a new one with each connection, over all rounds.
        alone: run with mailguard alone, all questions asked: no peer has anything like it.
        rate: connections begun a second; 0: each as soon as one ends.
        chunk: octets of each BDAT by which the content comes; 0: it comes by DATA.
        recipients: of each message, all of them the same domain's.
    """

    name: str
    refused: bool = False
    connections: int = 1000
    at_once: int = 20
    messages: int = 1
    size: int = 4096
    clients: int = 200
    alone: bool = False
    rate: float = 0
    chunk: int = 0
    recipients: int = 1

    @property
    def work(self) -> int:
        """Refusals, or messages taken, in one round."""
        return self.connections * self.messages

    @property
    def octets(self) -> int:
        """Of one message, exactly."""
        return len(message(self.size))

    @property
    def by_volume(self) -> bool:
        """Whether its figure is megabytes (10^6 octets) and not messages."""
        return self.size >= 1_000_000

    @property
    def unit(self) -> str:
        """Of :meth:`amount`."""
        return "refusals" if self.refused else "MB" if self.by_volume else "messages"

    @property
    def amount(self) -> float:
        """The work of one round in :attr:`unit`."""
        return self.work * self.octets / 1e6 if self.by_volume else self.work

    def addresses(self, turn: int) -> list[str]:
        """The client addresses of round ``turn``, counted over all servers: new ones where ``clients`` is 0."""
        network = LISTED if self.refused else CLEAN
        count = self.clients or self.connections
        first = 256 + (0 if self.clients else turn * NEW_CLIENTS)
        if count > NEW_CLIENTS or first + count >= network.num_addresses:
            raise ValueError(f"{self.name}: {network} has no new addresses for round {turn}")
        return [str(IPv4Address(int(network.network_address) + first + offset)) for offset in range(count)]

    def scaled(self, share: float) -> Load:
        """The same with a ``share`` of its connections, one at least."""
        return replace(self, connections=max(1, round(self.connections * share)))


def read_share(text: str) -> float:
    """The share of a round that an argument names: more would ask for more new clients than there are addresses.

    Raises:
        ArgumentTypeError: it is none.
    """
    with suppress(ValueError):
        if 0 < (number := float(text)) <= 1:
            return number
    raise ArgumentTypeError(f"{text!r} is no number over 0 and up to 1")


LOADS: Final = (
    Load("refuse a listed client, a new one each", refused=True, connections=500, at_once=40, clients=0),
    Load("refuse a listed client, seen before", refused=True, connections=2000, at_once=40),
    Load("relay 4 KB, a connection each", connections=1200),
    Load("relay 4 KB, 20 a connection", connections=120, messages=20),
    Load("relay 5 MB", connections=40, at_once=6, size=5_000_000),
    Load("relay 4 KB, a new client each, all questions", connections=550, clients=0, alone=True),
)
