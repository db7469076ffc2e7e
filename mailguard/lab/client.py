"""A mail client of the test world: one message over SMTP, the client's address named by a PROXY header.

A plain, polite sender on the standard library's ``smtplib``; it stops at the first refusal. (The tests have a client of
their own that can also be impolite.)
"""

from __future__ import annotations

import re
import smtplib
import socket
from dataclasses import dataclass
from typing import Any

TIMEOUT = 120.0
"""Seconds for one reply: more than mailguard's scanners may take together."""

_REFERENCE = re.compile(r"\(([0-9A-Z]{6,}(?:-\d+)?)\)$")


@dataclass(frozen=True, slots=True)
class Outcome:
    """The reply that settled a message: to the first command that was refused, or to its end."""

    command: str
    code: int
    text: str

    @property
    def said(self) -> str:
        """The text without the reference."""
        return _REFERENCE.sub("", self.text).rstrip()

    @property
    def reference(self) -> str:
        """The reference id at the end of a reply of mailguard's own; empty where there is none."""
        found = _REFERENCE.search(self.text)
        return found[1] if found else ""


class _ProxiedSMTP(smtplib.SMTP):
    """``smtplib.SMTP`` whose first octets are a PROXY v1 header (PROXY protocol 2.1) naming ``client``."""

    def __init__(self, client: str, **settings: Any) -> None:
        self._client = client
        super().__init__(**settings)

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        connection = socket.create_connection((host, port), timeout)
        family = 6 if ":" in self._client else 4
        ours = "::1" if family == 6 else "127.0.0.1"
        connection.sendall(f"PROXY TCP{family} {self._client} {ours} 40000 25\r\n".encode())
        return connection


def send(port: int, client: str, helo: str, sender: str, recipient: str, message: bytes) -> Outcome:
    """Send ``message`` as the client ``client`` to mailguard's PROXY port on loopback.

    Raises:
        OSError: no connection, or it was lost; also for a refused greeting (smtplib.SMTPException).
    """
    with _ProxiedSMTP(client, host="127.0.0.1", port=port, timeout=TIMEOUT) as session:
        steps = (("EHLO", helo), ("MAIL", f"FROM:<{sender}>"), ("RCPT", f"TO:<{recipient}>"), ("DATA", ""))
        for command, argument in steps:
            code, text = session.docmd(command, argument)
            if code >= 400:
                return Outcome(command, code, text.decode(errors="replace"))
        session.send(_stuffed(message) + b".\r\n")
        code, text = session.getreply()
        return Outcome("content", code, text.decode(errors="replace"))


def _stuffed(message: bytes) -> bytes:
    """With every leading dot doubled (RFC 5321 4.5.2); ``message`` ends in CR LF."""
    return message.replace(b"\r\n.", b"\r\n..")
