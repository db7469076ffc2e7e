"""Who a backend is told that its client is: the PROXY header and the EHLO name of one connection to it.

With the PROXY header the backend takes the connecting client for its own, so it gets the client's EHLO name too: its
log, its Received header and its SPF check (RFC 7208 2.3) then speak of the same host. A name that is no domain and no
address literal (RFC 5321 4.1.2), which a strict server like Exim would answer with 501, is replaced by the client's
address literal, as RFC 5321 4.1.4 asks of a client without a name. Without the PROXY header we are the client, under
our own name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from mailguard.facts import ClientAddress
from mailguard.net.proxy_header import LOCAL, proxy_header

_LABEL: Final = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_DOMAIN: Final = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(?:\.{_LABEL})*")


@dataclass(frozen=True, slots=True)
class Identity:
    """A client and the connection on which it came.

    Attributes:
        address, port: the client, as the backend is to see it.
        local_address, local_port: where the client connected to.
        helo: what the client called itself, as sent; empty where it said nothing.
    """

    address: ClientAddress
    port: int
    local_address: ClientAddress
    local_port: int
    helo: str

    @property
    def header(self) -> bytes:
        """The PROXY v2 header naming this client."""
        return proxy_header(self.address, self.port, self.local_address, self.local_port)

    @property
    def ehlo(self) -> str:
        """The EHLO name for a backend that takes this client for its own."""
        if _DOMAIN.fullmatch(self.helo) or _is_literal(self.helo):
            return self.helo
        return self.address.literal


@dataclass(frozen=True, slots=True)
class Introduction:
    """How a connection to a backend begins: the PROXY header, maybe empty, and the name in EHLO."""

    header: bytes
    ehlo: str


def introduce(identity: Identity | None, hostname: str, *, proxy_protocol: bool) -> Introduction:
    """How to begin for ``identity``, or with None for ourselves; ``hostname`` is our name."""
    if not proxy_protocol:
        return Introduction(b"", hostname)
    if identity is None:
        return Introduction(LOCAL, hostname)
    return Introduction(identity.header, identity.ehlo)


def _is_literal(text: str) -> bool:
    """Whether ``text`` is an address literal as :attr:`ClientAddress.literal` writes them (RFC 5321 4.1.3)."""
    inner = text.lower().removeprefix("[").removesuffix("]")
    try:
        address = ClientAddress.parse(inner.removeprefix("ipv6:"))
    except ValueError:
        return False
    return address.literal.lower() == text.lower()
