"""Who a backend is told that its client is: the PROXY header, XCLIENT and the EHLO name of one connection to it. Pure.

Where the client is named (``client_identity: proxy`` or ``xclient``), the backend takes it for its own, so it gets the
client's EHLO name too: its log, its Received header and its SPF check (RFC 7208 2.3) then speak of the same host. A
name that is no domain and no address literal (RFC 5321 4.1.2), which a strict server like Exim would answer with 501,
is replaced by the client's address literal, as RFC 5321 4.1.4 asks of a client without a name. Where it is not named,
we are the client, under our own name.
"""

from __future__ import annotations

import re
from typing import Final, Literal, TypeAlias

from mailguard.facts import NOT_ASKED, Answer, ClientAddress, ReverseDns
from mailguard.net.proxy_header import LOCAL, proxy_header
from mailguard.value import value

_LABEL: Final = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_DOMAIN: Final = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(?:\.{_LABEL})*")

Naming: TypeAlias = Literal["proxy", "xclient", "none"]
"""How clients are named to a backend."""


@value(frozen=True, slots=True)
class Identity:
    """A client and the connection on which it came.

    Attributes:
        address, port: the client, as the backend is to see it.
        local_address, local_port: where the client connected to.
        helo: what the client called itself, as sent; empty where it said nothing.
        extended: by EHLO, and not by HELO.
        reverse: its name by reverse DNS.
    """

    address: ClientAddress
    port: int
    local_address: ClientAddress
    local_port: int
    helo: str
    extended: bool = True
    reverse: Answer[ReverseDns] = NOT_ASKED

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


@value(frozen=True, slots=True)
class Introduction:
    """How a connection to a backend begins.

    Attributes:
        header: the PROXY header; maybe empty.
        ehlo: the name in EHLO, until the client is named by XCLIENT.
        client: whom XCLIENT is to name; None: it is not used.
    """

    header: bytes
    ehlo: str
    client: Identity | None = None


def introduce(identity: Identity | None, hostname: str, naming: Naming) -> Introduction:
    """How to begin for ``identity``, or with None for ourselves; ``hostname`` is our name."""
    if naming == "proxy":
        return Introduction(identity.header, identity.ehlo) if identity else Introduction(LOCAL, hostname)
    return Introduction(b"", hostname, identity if naming == "xclient" else None)


def _is_literal(text: str) -> bool:
    """Whether ``text`` is an address literal as :attr:`ClientAddress.literal` writes them (RFC 5321 4.1.3)."""
    inner = text.lower().removeprefix("[").removesuffix("]")
    try:
        address = ClientAddress.parse(inner.removeprefix("ipv6:"))
    except ValueError:
        return False
    return address.literal.lower() == text.lower()
