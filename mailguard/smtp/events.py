"""What a client does in a conversation, as values; pure.

``smtp.conversation`` makes them from octets, ``smtp.server`` carries each to the :class:`~mailguard.smtp.story.Story`.
An event that is a :class:`Question` waits for one reply, and nothing that follows it is looked at before.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TypeAlias

from mailguard.commands import MailFrom, RcptTo
from mailguard.smtp.xclient import Xclient
from mailguard.value import value


class End(StrEnum):
    """How a connection ended: the label ``end`` of ``metrics.CONNECTIONS``."""

    __hash__ = str.__hash__  # an enum's own is a function in Python

    QUIT = "quit"
    """The client said QUIT."""
    LOST = "lost"
    """The client went without QUIT: end of input, reset."""
    TIMEOUT = "timeout"
    """A bound of time ran out: 421 4.4.2."""
    REFUSED = "refused"
    """Too many connections, or messages in one; no PROXY header where one is due; or the story's own 421."""
    ERRORS = "errors"
    """Too many errors, or too many commands without mail: 421 4.7.0."""
    SHUTDOWN = "shutdown"
    """We drain: 421 4.3.2."""
    TLS = "tls"
    """No TLS handshake behind STARTTLS: closed without a word, for there is no language left to say it in."""
    RENAMED = "renamed"
    """The peer named a client by XCLIENT; of it is told from now on. Ends a story, never a connection."""
    INTERNAL = "internal"
    """A bug of ours: 421 4.3.0."""


class Question:
    """What waits for one reply of the story."""

    __slots__ = ()


@value(frozen=True, slots=True)
class HeloGiven(Question):
    """EHLO (``extended``) or HELO (RFC 5321 4.1.1.1).

    ``name`` is as sent and unverified: letters, digits, ``.-_:[]``, at most 255 characters.
    """

    name: str
    extended: bool


@value(frozen=True, slots=True)
class MailGiven(Question):
    """MAIL with a valid reverse-path and valid parameters of extensions that were offered."""

    command: MailFrom


@value(frozen=True, slots=True)
class RcptGiven(Question):
    """RCPT with a valid forward-path, below the bound of recipients."""

    command: RcptTo


@value(frozen=True, slots=True)
class DataAsked(Question):
    """DATA with at least one recipient taken: 354, or a refusal that leaves the transaction as it is."""


@value(frozen=True, slots=True)
class Content:
    """The next octets of the message: unstuffed, every line end CR LF. Needs no reply."""

    chunk: bytes


@value(frozen=True, slots=True)
class EndOfData(Question):
    """The message is whole and within its bounds; whatever the reply, the transaction is over with it.

    Attributes:
        size: octets of the content, as handed on.
        bare_line_ends: a bare CR or LF was made CR LF in it; refusing that is for the story.
    """

    size: int
    bare_line_ends: bool = False


@value(frozen=True, slots=True)
class TransactionDropped:
    """The transaction is gone, all that was said since MAIL with it. Needs no reply: the conversation gave or gives it.

    By RSET, by a new EHLO, or because the content is too large or malformed (it is drained and then refused).
    """


@value(frozen=True, slots=True)
class TlsAsked:
    """STARTTLS was taken: behind the replies still to send comes the handshake, then a new conversation.

    What else was received is void (RFC 3207 4.2), and this conversation is over.
    """


@value(frozen=True, slots=True)
class ClientNamed:
    """XCLIENT was taken: the client is another one, to be greeted in a new conversation, and this one is over."""

    attributes: Xclient


@value(frozen=True, slots=True)
class Closed:
    """Nothing more will be read; the replies still to send are the last."""

    end: End


Event: TypeAlias = Question | Content | TransactionDropped | TlsAsked | ClientNamed | Closed
