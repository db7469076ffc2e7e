"""Mail octets, pure: read a header section, remove what only we may write, put ours on top. Nothing else changes."""

from mailguard.message.compose import Origin, Transmission, for_backend, for_scanners
from mailguard.message.fields import protocol
from mailguard.message.filing import filing
from mailguard.message.forged import strip_forged
from mailguard.message.head import Head, parse_head
from mailguard.message.sought import RECEIVED

__all__ = [
    "RECEIVED",
    "Head",
    "Origin",
    "Transmission",
    "filing",
    "for_backend",
    "for_scanners",
    "parse_head",
    "protocol",
    "strip_forged",
]
