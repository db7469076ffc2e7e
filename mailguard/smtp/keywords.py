"""What the answer to EHLO offers, as one table in the order of its lines (RFC 5321 4.1.1.1); pure.

Hop-local extensions are ours: most are always offered, those in :class:`Hop` where the connection is fit for them.
End-to-end ones are promises that the backends must keep, and stand in :class:`~mailguard.commands.Extensions`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache, lru_cache
from typing import Final, NamedTuple

from mailguard.commands import Extensions
from mailguard.replies import Reply
from mailguard.smtp import xclient


class Hop(NamedTuple):
    """What is offered on one connection and not on another.

    Attributes:
        starttls: a TLS handshake may follow (RFC 3207); ``tls``: one has.
        xclient: the client may say by XCLIENT whom it relays for.
    """

    starttls: bool = False
    tls: bool = False
    xclient: bool = False


hop: Final = cache(Hop)
"""One of the few, which are all there are."""


class Offer(NamedTuple):
    """What an answer to EHLO depends on; ``max_recipients`` and ``max_messages`` of the configured limits."""

    end_to_end: Extensions
    max_recipients: int
    max_messages: int
    hop: Hop = Hop()


def _always(_offer: Offer) -> str:
    return ""


def _where(offered: bool, parameters: str = "") -> str | None:
    return parameters if offered else None


KEYWORDS: Final[Mapping[str, Callable[[Offer], str | None]]] = {
    "PIPELINING": _always,
    "ENHANCEDSTATUSCODES": _always,
    "CHUNKING": _always,
    "LIMITS": lambda offer: f" RCPTMAX={offer.max_recipients} MAILMAX={offer.max_messages}",
    "STARTTLS": lambda offer: _where(offer.hop.starttls and not offer.hop.tls),
    "XCLIENT": lambda offer: _where(offer.hop.xclient, f" {' '.join(xclient.NAMES)}"),
    "SIZE": lambda offer: _where(offer.end_to_end.size > 0, f" {offer.end_to_end.size}"),
    "8BITMIME": lambda offer: _where(offer.end_to_end.eightbitmime),
    "SMTPUTF8": lambda offer: _where(offer.end_to_end.smtputf8),
    "DSN": lambda offer: _where(offer.end_to_end.dsn),
}
"""By keyword: its parameters with a space in front, or None where it is not offered."""


def keywords(offer: Offer) -> tuple[str, ...]:
    """The lines of the answer, behind the first."""
    found = ((keyword, parameters(offer)) for keyword, parameters in KEYWORDS.items())
    return tuple(keyword + parameters for keyword, parameters in found if parameters is not None)


@lru_cache(maxsize=64)
def with_keywords(answer: Reply, end_to_end: Extensions, max_recipients: int, max_messages: int, hop: Hop) -> Reply:
    """The 250 to EHLO with what is offered (:class:`Offer`); hardly ever another one than the last time."""
    return answer.saying((*answer.lines, *keywords(Offer(end_to_end, max_recipients, max_messages, hop))))
