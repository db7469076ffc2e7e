"""What a question to the DNS can come to: records, none, or no answer; never anything in between.

"There is none" is a fact about the name and may be kept as long as its zone says (RFC 2308 5). "No answer" is a fact
about the way there, and says nothing about the name: whoever asked must treat it as unknown.
"""

from __future__ import annotations

from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address
from typing import Generic, TypeAlias, TypeVar

from mailguard.value import value


@value(frozen=True, slots=True)
class MailExchange:
    """An MX record (RFC 1035 3.3.9): ``host`` in lower case without the final dot, ``"."`` for the root (RFC 7505)."""

    preference: int
    host: str


@value(frozen=True, slots=True)
class StartOfAuthority:
    """What is of use in a SOA record (RFC 1035 3.3.13); ``minimum`` is the negative TTL in seconds (RFC 2308 4)."""

    primary: str
    contact: str
    serial: int
    minimum: int


R_co = TypeVar("R_co", covariant=True)


@value(frozen=True, slots=True)
class Found(Generic[R_co]):
    """The records of the type asked for, at least one, in the order of the reply; ``ttl`` in seconds, as given."""

    records: tuple[R_co, ...]
    ttl: float


class Absence(StrEnum):
    """The two ways of not being there (RFC 2308 2)."""

    NXDOMAIN = "nxdomain"
    """There is no such name, nor any below it (RFC 8020): no type of it needs to be asked for."""
    NODATA = "nodata"
    """The name may have records, but none of this type."""


@value(frozen=True, slots=True)
class NotFound:
    """An answer that says: none. ``ttl`` in seconds, from the SOA of its zone; 0 where it sent none (RFC 2308 5)."""

    absence: Absence
    ttl: float


class Failure(StrEnum):
    """Why there is no answer."""

    TIMEOUT = "timeout"
    """Nothing came back in time."""
    SERVFAIL = "servfail"
    """The resolver could not find out (RFC 1035 4.1.1, RCODE 2)."""
    REFUSED = "refused"
    """The resolver will not tell us (RCODE 5)."""
    ERROR = "error"
    """Everything else: network errors, other codes, replies that cannot be read."""


@value(frozen=True, slots=True)
class Failed:
    """No answer; ``why`` is one short private sentence for log and journal."""

    kind: Failure
    why: str


AnyRecord: TypeAlias = IPv4Address | IPv6Address | str | MailExchange | bytes | StartOfAuthority
AnyAnswer: TypeAlias = Found[AnyRecord] | NotFound | Failed
