"""Every reply that mailguard gives of its own, declared once.

A :class:`Reply` is a value: its code (RFC 5321 4.2) and its enhanced code (RFC 3463) cannot disagree, its text is
what the client sees, and its ``cause`` is what only the log sees. ``docs/reference/replies.md`` is generated from
:data:`REPLIES`.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from typing import Final

from mailguard.value import value

MAX_REPLY_TEXT: Final = 480
"""Octets of text in one reply line: 512 with code, enhanced code and CR LF (RFC 5321 4.5.3.1.5)."""


def printable(text: str) -> str:
    """``text`` as it may stand in a reply line: ASCII graphics and spaces, anything else as ``?`` (RFC 5321 4.2)."""
    if not (text.isascii() and text.isprintable()):
        text = "".join(c if " " <= c <= "~" else "?" for c in text)
    return text[:MAX_REPLY_TEXT]


class Origin(StrEnum):
    """Who says a reply."""

    __hash__ = str.__hash__  # an enum's own is a function in Python

    MAILGUARD = "mailguard"
    POLICY = "policy"
    BACKEND = "backend"


@value(frozen=True, slots=True)
class Reply:
    """One SMTP reply.

    Attributes:
        code: three digits, 200 to 599 (RFC 5321 4.2.1).
        enhanced: ``class.subject.detail`` (RFC 3463), or empty where none may stand: greeting, EHLO, 354.
        lines: the public text, one entry a reply line, made printable.
        cause: the private cause, for the log alone.
        origin: who says it, for the log alone.
        positive: whether the command was taken: 2yz or 3yz.
        closes: whether the connection ends after this reply: 421, and 221 to QUIT (RFC 5321 3.8).

    Raises:
        ValueError: the code is out of range, or the classes of the two codes differ.
    """

    code: int
    enhanced: str
    lines: tuple[str, ...]
    cause: str = ""
    origin: Origin = Origin.MAILGUARD
    positive: bool = field(init=False, repr=False, compare=False)
    closes: bool = field(init=False, repr=False, compare=False)
    _octets: bytes = field(default=b"", init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not 200 <= self.code <= 599:
            raise ValueError(f"{self.code} is no SMTP reply code (200 to 599)")
        if self.enhanced and self.enhanced[0] != str(self.code)[0]:
            raise ValueError(f"reply code {self.code} and enhanced code {self.enhanced} are of different classes")
        if not self.lines:
            raise ValueError("a reply has at least one line of text")
        object.__setattr__(self, "positive", self.code < 400)
        object.__setattr__(self, "closes", self.code in (221, 421))

    @property
    def text(self) -> str:
        """The public text on one line."""
        return " ".join(self.lines)

    def because(self, cause: str) -> Reply:
        """The same reply with a private cause for the log."""
        return Reply(self.code, self.enhanced, self.lines, cause, self.origin)

    def said_by(self, origin: Origin) -> Reply:
        """The same reply as that of ``origin``."""
        return Reply(self.code, self.enhanced, self.lines, self.cause, origin)

    def with_reference(self, reference: str) -> Reply:
        """The same reply ending in ``reference``: what blocked is always explained (architecture.md)."""
        last = f"{printable(self.lines[-1])[: MAX_REPLY_TEXT - len(reference) - 3]} ({reference})"
        return self.saying((*self.lines[:-1], last))

    def saying(self, lines: tuple[str, ...]) -> Reply:
        """The same reply with other text."""
        return Reply(self.code, self.enhanced, lines, self.cause, self.origin)

    def encode(self) -> bytes:
        """The octets on the wire, CR LF included (RFC 5321 4.2.1, RFC 2034 4: the enhanced code on every line)."""
        if not self._octets:
            prefix = f"{self.enhanced} " if self.enhanced else ""
            text = "".join([f"{self.code}-{prefix}{printable(line)}\r\n" for line in self.lines[:-1]])
            text += f"{self.code} {prefix}{printable(self.lines[-1])}\r\n"
            object.__setattr__(self, "_octets", text.encode("ascii"))
        return self._octets

    def __str__(self) -> str:
        return f"{self.code} {self.enhanced} {self.text}".replace("  ", " ")


@dataclass(frozen=True, slots=True)
class ReplySpec:
    """The declaration of one reply: what it says, and when and by which source it is given."""

    code: int
    enhanced: str
    text: str
    when: str
    source: str


REPLIES: Final[Mapping[str, ReplySpec]] = {
    "greeting": ReplySpec(220, "", "{hostname} ESMTP mailguard", "a client has connected", "RFC 5321 4.3.1"),
    "helo": ReplySpec(
        250, "", "{hostname}", "HELO or EHLO; the extensions follow on lines of their own", "RFC 5321 4.1.1.1"
    ),
    "mail_ok": ReplySpec(250, "2.1.0", "Sender ok", "MAIL FROM was taken; nothing is decided yet", "RFC 5321 4.1.1.2"),
    "rcpt_ok": ReplySpec(
        250, "2.1.5", "Recipient ok", "RCPT TO was taken without a text from the backend", "RFC 5321 4.1.1.3"
    ),
    "data_go": ReplySpec(354, "", "End data with <CR><LF>.<CR><LF>", "DATA", "RFC 5321 4.1.1.4"),
    "chunk_ok": ReplySpec(250, "2.0.0", "{octets} octets received", "BDAT, not the last one", "RFC 3030 2"),
    "reset": ReplySpec(250, "2.0.0", "Reset", "RSET", "RFC 5321 4.1.1.5"),
    "noop": ReplySpec(250, "2.0.0", "Ok", "NOOP", "RFC 5321 4.1.1.9"),
    "tls_go": ReplySpec(220, "2.0.0", "Ready to start TLS", "STARTTLS; the handshake follows", "RFC 3207 4"),
    "bye": ReplySpec(221, "2.0.0", "{hostname} closing connection", "QUIT", "RFC 5321 4.1.1.10"),
    "vrfy": ReplySpec(252, "2.5.0", "Cannot verify; send a message and it will be tried", "VRFY", "RFC 5321 3.5.3"),
    "expn": ReplySpec(502, "5.5.1", "EXPN is not offered", "EXPN", "RFC 5321 3.5.3"),
    "help": ReplySpec(214, "2.0.0", "See RFC 5321", "HELP", "RFC 5321 4.1.1.8"),
    "unknown_command": ReplySpec(
        500, "5.5.2", "Command not recognised", "an unknown or malformed command line", "RFC 5321 4.2.4"
    ),
    "line_too_long": ReplySpec(
        500, "5.5.2", "Command line too long", "a command line over the bound", "RFC 5321 4.5.3.1.4"
    ),
    "bare_line_end": ReplySpec(
        500, "5.5.2", "Command lines end in <CR><LF>", "a bare LF or CR in a command line", "RFC 5321 2.3.8"
    ),
    "nul": ReplySpec(500, "5.5.2", "Command line holds NUL", "a NUL in a command line", "RFC 5321 4.1.2"),
    "syntax": ReplySpec(
        501, "5.5.4", "Syntax: {expected}", "a command whose argument does not follow the grammar", "RFC 5321 4.1.2"
    ),
    "bad_sender": ReplySpec(
        501, "5.1.7", "Bad sender address: {problem}", "a reverse-path outside the grammar", "RFC 5321 4.1.2"
    ),
    "bad_address": ReplySpec(501, "5.1.3", "Bad address: {problem}", "a path outside the grammar", "RFC 5321 4.1.2"),
    "bad_parameter": ReplySpec(
        555, "5.5.4", "Parameter not recognised: {parameter}", "an unknown MAIL or RCPT parameter", "RFC 5321 4.1.1.11"
    ),
    "bad_sequence": ReplySpec(
        503, "5.5.1", "Bad sequence of commands: {expected}", "a command out of order", "RFC 5321 4.1.4"
    ),
    "not_implemented": ReplySpec(
        502, "5.5.1", "Command not implemented", "a known command that mailguard does not offer", "RFC 5321 4.2.4"
    ),
    "tls_is_on": ReplySpec(503, "5.5.1", "TLS is on already", "STARTTLS in TLS", "RFC 3207 4.2"),
    "non_ascii_path": ReplySpec(
        553, "5.6.7", "Address needs SMTPUTF8", "a UTF-8 path without SMTPUTF8", "RFC 6531 3.5"
    ),
    "too_many_recipients": ReplySpec(
        452, "4.5.3", "Too many recipients in one transaction", "recipients over the bound", "RFC 5321 4.5.3.1.10"
    ),
    "other_profile": ReplySpec(
        452,
        "4.5.3",
        "Recipient needs a transaction of its own",
        "policy may block, tag or file for the recipient otherwise than for an earlier one",
        "policy.md",
    ),
    "too_large": ReplySpec(
        552, "5.3.4", "Message exceeds the maximum size of {limit} octets", "SIZE declared or found out", "RFC 1870 6"
    ),
    "too_many_errors": ReplySpec(421, "4.7.0", "Too many errors", "errors over the bound", "smtp.md"),
    "too_many_commands": ReplySpec(
        421, "4.7.0", "Too many commands without mail", "commands without mail over the bound", "smtp.md"
    ),
    "too_many_messages": ReplySpec(
        421, "4.7.0", "Too many messages in one session", "MAIL commands over the bound, MAILMAX", "RFC 9422 4.1"
    ),
    "too_many_connections": ReplySpec(
        421, "4.7.0", "Too many connections from your address", "connections of one client over the bound", "smtp.md"
    ),
    "overloaded": ReplySpec(421, "4.3.2", "Too busy, try again later", "no slot free", "smtp.md"),
    "shutting_down": ReplySpec(421, "4.3.2", "Service closing, try again later", "mailguard drains", "RFC 5321 3.8"),
    "timeout": ReplySpec(
        421, "4.4.2", "Timeout waiting for the client", "a time bound of the session ran out", "RFC 5321 4.5.3.2"
    ),
    "proxy_error": ReplySpec(
        421, "4.3.0", "PROXY protocol error", "a listed peer sent no valid PROXY header", "PROXY protocol 2"
    ),
    "not_our_domain": ReplySpec(
        550,
        "5.7.1",
        "Relaying to {domain} is not permitted",
        "the recipient's domain is not in relay_domains",
        "RFC 5321 3.6.2",
    ),
    "policy_reject": ReplySpec(554, "5.7.1", "Refused by policy", "a rule said reject and gave no text", "policy.md"),
    "policy_defer": ReplySpec(
        451, "4.7.1", "Deferred by policy, try again later", "a rule said defer and gave no text", "policy.md"
    ),
    "unavailable": ReplySpec(
        451, "4.3.0", "A check could not be done, try again later", "`unavailable` said defer", "policy.md"
    ),
    "backend_down": ReplySpec(
        451, "4.3.0", "Mail server not reachable, try again later", "no backend answers, or it was lost", "smtp.md"
    ),
    "client_gone": ReplySpec(
        451,
        "4.4.2",
        "Connection lost before the message was handed on",
        "the client left before the backend had the whole message; for the log",
        "RFC 1047",
    ),
    "too_many_transactions": ReplySpec(
        451,
        "4.7.0",
        "Too many messages at a time from your address, try again later",
        "connections to backends for one client over the bound",
        "smtp.md",
    ),
    "internal": ReplySpec(
        451, "4.3.0", "Internal error, try again later", "any unexpected exception", "architecture.md"
    ),
    "internal_close": ReplySpec(
        421,
        "4.3.0",
        "Internal error, try again later",
        "an unexpected exception that ends the connection",
        "architecture.md",
    ),
    "no_space": ReplySpec(
        452,
        "4.3.1",
        "Not enough room to hold the message, try again later",
        "the spool cannot be written",
        "RFC 5321 4.2.3",
    ),
    "header_too_large": ReplySpec(
        552,
        "5.3.4",
        "Header section longer than {limit} octets",
        "a header section that does not end within the bound",
        "RFC 5321 4.5.3.1",
    ),
    "loop": ReplySpec(
        554, "5.4.6", "Routing loop: more than {limit} Received lines", "too many Received lines", "RFC 5321 6.3"
    ),
    "content_line_too_long": ReplySpec(
        554,
        "5.6.0",
        "Message holds a line of over {limit} octets",
        "a line of content over the bound",
        "RFC 5321 4.5.3.1.6",
    ),
    "bare_line_ends_refused": ReplySpec(
        550, "5.5.2", "Message holds bare CR or LF", "bare line ends, when `bare_line_ends: refuse`", "RFC 5321 2.3.8"
    ),
    "no_recipients": ReplySpec(
        554,
        "5.5.1",
        "No valid recipients",
        "DATA or BDAT where every recipient was refused (pipelined)",
        "RFC 2920 3.1",
    ),
    "data_ok": ReplySpec(
        250, "2.0.0", "Message accepted", "the backend took the message without a text", "RFC 5321 4.2.5"
    ),
}
"""Every reply by name."""


def reply(name: str, **values: Hashable) -> Reply:
    """The reply ``name`` with its placeholders filled; where it was just made it is the same object.

    Raises:
        KeyError: no such reply, or a placeholder without a value.
    """
    return _reply(name, **values) if values else _PLAIN[name]


@lru_cache(maxsize=16)
def named(name: str, hostname: str) -> Reply:
    """The reply ``name``, which says what we are called and nothing else: found by two words, for each session's three.

    Raises:
        KeyError: as :func:`reply`.
    """
    return _reply(name, hostname=hostname)


@lru_cache(maxsize=256, typed=True)  # clients choose some of the values
def _reply(name: str, **values: Hashable) -> Reply:
    spec = REPLIES[name]
    return Reply(spec.code, spec.enhanced, (printable(spec.text.format_map({k: str(v) for k, v in values.items()})),))


_PLAIN: Final = {name: _reply(name) for name, spec in REPLIES.items() if "{" not in spec.text}
"""The replies that have no placeholders."""
