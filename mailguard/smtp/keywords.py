"""What the answer to EHLO offers, as one table in the order of its lines (RFC 5321 4.1.1.1); pure.

Hop-local extensions are ours and always offered. End-to-end ones are promises that the backends must keep, and stand in
:class:`~mailguard.commands.Extensions`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from mailguard.commands import Extensions
from mailguard.config import Limits


@dataclass(frozen=True, slots=True)
class Offer:
    """What an answer to EHLO depends on."""

    end_to_end: Extensions
    limits: Limits


def _always(_offer: Offer) -> str:
    return ""


def _where(offered: bool, parameters: str = "") -> str | None:
    return parameters if offered else None


KEYWORDS: Final[Mapping[str, Callable[[Offer], str | None]]] = {
    "PIPELINING": _always,
    "ENHANCEDSTATUSCODES": _always,
    "CHUNKING": _always,
    "LIMITS": lambda offer: f" RCPTMAX={offer.limits.max_recipients} MAILMAX={offer.limits.max_messages}",
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
