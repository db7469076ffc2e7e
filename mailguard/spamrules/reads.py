"""What header fields, tags and arguments of rules give access to.

Reviewed against ``PerMsgStatus::_get`` and ``put_metadata`` of SpamAssassin 4.0.1. ``X-Spam-*`` fields of the message
itself are removed before any rule runs, so what a rule sees under such a name is metadata that SpamAssassin made.
"""

from __future__ import annotations

import re
from typing import Final

from mailguard.spamrules.evidence import Evidence

_DERIVED: Final = ("x-spam-", "x-relay-countr", "x-asn")
"""Metadata about the relays: X-Spam-Relays-Untrusted and its like, X-Relay-Countries*, X-ASN*."""

_ALL: Final = frozenset({"all", "all-trusted", "all-untrusted", "all-internal", "all-external"})
"""Pseudo-headers that hold every field, Received lines among them."""

_HOST: Final = re.compile(r"(?:^|[-_.])ip(?:-?addr(?:ess)?)?$")
"""Fields such as X-Originating-IP, in which a webmail service names the host of its user: a Received line in all but
name, and SpamAssassin treats them so (``originating_ip_headers``)."""

_ENVELOPE: Final = frozenset({"envelopefrom", "x-senderdomain"})

_HEADER: Final = re.compile(r"(?:exists:)?([\w.-]+)((?::[a-z]+)*):?\s*(?:$|[=!]~)")

_TAGS: Final = {
    "AUTHORDOMAIN": Evidence.CONTENT,
    "LANGUAGES": Evidence.WHOLE,
    "SENDERDOMAIN": Evidence.ENVELOPE,
    "LASTEXTERNALIP": Evidence.CLIENT,
    "LASTEXTERNALREVIP": Evidence.CLIENT,
}
"""Tags of askdns templates that were reviewed. LASTEXTERNALHELO and -RDNS are not granted: only the address is checked
against the client's, and names may come from another line that claims the same address."""

_TAG: Final = re.compile(r"_([A-Z][A-Z\d]*(?:_[A-Z\d]+)*)(?:\([^)]*\))?_")


def header_evidence(name: str) -> Evidence:
    """What a rule sees that reads the header field or pseudo-header ``name``, modifiers (``:addr``) or not."""
    plain = name.lower().split(":")[0]
    if plain in _ALL or "received" in plain or plain.startswith(_DERIVED) or _HOST.search(plain):
        return Evidence.RECEIVED
    return Evidence.ENVELOPE if plain in _ENVELOPE else Evidence.CONTENT


def header_read(argument: str) -> str | None:
    """The field that the argument of a ``header`` or ``mimeheader`` rule reads; None where it is no such rule."""
    found = _HEADER.match(argument)
    return found[1] if found else None


def template_evidence(template: str) -> Evidence:
    """What the tags of an ``askdns`` template hold."""
    found = Evidence.CONTENT
    for tag in _TAG.findall(template):
        found |= _TAGS.get(tag, Evidence.RECEIVED)
    return found
